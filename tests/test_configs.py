"""Every preset loads, is what its name says, and its header is a command that would run."""

import ast
import re
import shlex

import pytest

from jaxreid.cli.configuration import load
from jaxreid.cli.presets import folder
from jaxreid.data.catalogue import DATASETS
from jaxreid.training.agreement import as_json, differences

NAMES = sorted(path.stem for path in folder().glob("*.py") if path.stem != "recipes")
DERIVED = [name for name in NAMES if name != "default"]


def header(name):
    return ast.get_docstring(ast.parse((folder() / f"{name}.py").read_text(encoding="utf-8")))


def commands(name):
    """The indented lines of a header, as words."""
    lines = re.findall(r"^    (.*)$", header(name).replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_grid_is_complete():
    for dataset in ("market1501", "dukemtmc_reid", "msmt17"):
        for head in ("", "_triplet"):
            for kind in ("", "_goat_sma", "_goat_fna"):
                assert dataset + head + kind in NAMES
                assert not kind or f"{dataset}{head}{kind}_reference" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_its_header_is_a_command_that_would_run(name):
    train = next(words for words in commands(name) if words[:2] == ["jaxreid", "train"])
    assert train[2:5] == ["--config", f"configs/{name}.py", "--workdir"]
    config = load(name, train[6:])
    if name in DERIVED:
        assert train[5] == f"runs/{name}"
        prepare = next(words for words in commands(name) if words[1:3] == ["data", "prepare"])
        assert prepare[3] == config.dataset.name
        told = header(name)
        assert "Hardware: " in told
        assert "Expected" in told
    assert config.dataset.name.partition("/")[0] in DATASETS


@pytest.mark.parametrize("name", DERIVED)
def test_its_name_says_what_it_is(name):
    config = load(name, [])
    assert name.startswith(config.dataset.name.removesuffix("_reid"))
    assert config.goat.enabled == ("_goat_" in name)
    assert (config.model.head == "triplet") == ("_triplet" in name)
    assert config.loss.name == {"triplet": "triplet"}.get(config.model.head, "cross_entropy")
    pushes_and_pulls = (0, 0) if "_goat_" not in name or "_sma" in name else (4, 1)
    assert (config.goat.push, config.goat.pull) == pushes_and_pulls
    # Drawn people are hardened on a CPU: fewer and longer steps than the paper takes.
    drawn = name.startswith("synthetic_goat_")
    eps = 3.5 if drawn else 5.0
    steps, size = (1, 1.25 * eps) if "_fast" in name else (2, 2.5) if drawn else (7, 1.0)
    assert (config.goat.eps, config.goat.steps, config.goat.step_size) == (eps, steps, size)
    assert (config.goat.eps_unit == "normalized") == name.endswith("_reference")


def test_the_papers_numbers():
    config = load("market1501", [])
    assert (config.epochs, config.batch.size, config.batch.sampler) == (60, 32, "shuffled")
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 3.5e-4)
    assert (config.optimizer.weight_decay, config.schedule.name) == (5e-4, "steps")
    assert (config.schedule.boundaries, config.schedule.factor) == ((20, 40), 0.1)
    config = load("market1501_triplet", [])
    assert (config.epochs, config.batch.size, config.batch.sampler) == (100, 72, "identities")
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (3e-4, 0.0)
    assert (config.schedule.name, config.schedule.decay_start) == ("exponential", 50.0)
    assert (config.schedule.decay_epochs, config.schedule.final_fraction) == (100.0, 0.001)
    assert (config.model.dimensions, config.loss.margin) == (128, -1.0)


@pytest.mark.parametrize("kind", ["goat_sma", "goat_fna", "triplet_goat_sma", "triplet_goat_fna"])
def test_where_the_reference_differs(kind):
    ours, reference = load(f"msmt17_{kind}", []), load(f"msmt17_{kind}_reference", [])
    assert {line.partition(":")[0] for line in differences(as_json(ours), as_json(reference))} == {
        "dataset.split",
        "evaluation.every_epochs",
        "goat.batch_norm",
        "goat.eps_unit",
        "goat.pad_with_self",
    }


def test_bfloat16_is_all_that_differs():
    for kind in ("", "_triplet", "_goat_sma", "_triplet_goat_fna"):
        plain, half = load(f"market1501{kind}", []), load(f"market1501{kind}_bfloat16", [])
        told = differences(as_json(plain), as_json(half))
        assert [line.partition(":")[0] for line in told] == ["model.dtype"]
