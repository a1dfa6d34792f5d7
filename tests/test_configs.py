"""Every preset loads, is what it was, and its header's commands would run."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from jaxreid.cli.configuration import load, preset_folder
from jaxreid.data.catalogue import DATASETS
from jaxreid.errors import InputError
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import differences, fields_of

NAMES = sorted(path.stem for path in preset_folder().glob("*.py"))
# What each file of version 0.1 held: all fields of `default`, and where the others differ from it.
OLD = json.loads((Path(__file__).parent / "golden" / "presets.json").read_text(encoding="utf-8"))
# Fields that came later, which leave what was there as it was.
LATER = {
    "dataset.more": "",
    "augmentation.noise": 0.0,
    "goat.pull_from": "furthest",
    "goat.objective": "guides",
    "goat.mining": "softhard",
    "goat.destination": "gradual",
    "goat.sharpness": 10.0,
    "goat.restart_every": 0,
    "goat.diversity": 0.0,
    "goat.blur": 0.0,
    "goat.step_schedule": "constant",
    "loss.triplet_weight": 0.0,
    "loss.precision_weight": 0.0,
    "optimizer.swa_from_epoch": 0.0,
    **{
        name: field.default
        for name, field in fields_of(TrainConfig).items()
        if name.startswith(("defense.", "mixup."))
    },
}


def flat(fields, prefix=""):
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_there_is_one_file_per_dataset():
    assert NAMES == ["dukemtmc_reid", "market1501", "msmt17", "synthetic"]
    assert len(OLD) == 43


@pytest.mark.parametrize("name", OLD)
def test_a_preset_of_old_says_how_it_is_written_now_and_is_the_same(name):
    spelled = name
    if name not in NAMES:
        with pytest.raises(InputError, match=f"no preset {name}; write ") as refused:
            load(name, [])
        spelled = re.search(r"; write (\S+) \(", str(refused.value))[1]
    assert dict(flat(load(spelled, []).as_json())) == {
        **OLD["default"],
        **OLD[name],
        **LATER,
    }


@pytest.mark.parametrize("name", NAMES)
def test_its_header_is_commands_that_would_run(name):
    text = (preset_folder() / f"{name}.py").read_text(encoding="utf-8")
    header = ast.get_docstring(ast.parse(text))
    lines = re.findall(r"^    (jaxreid .*)$", header.replace("\\\n", " "), re.MULTILINE)
    commands = [shlex.split(line)[1:] for line in lines]
    trained = [load(words[2], words[5:]) for words in commands if words[0] == "train"]
    prepared = next(words[2] for words in commands if words[:2] == ["data", "prepare"])
    assert [config.goat.enabled for config in trained] == [False, True]
    assert {config.dataset.name for config in trained} == {prepared}
    assert prepared in DATASETS
    for word in re.findall(r"^    ((?:head|goat|defense|dtype)=[a-z\d]+) ", header, re.MULTILINE):
        assert load(f"{name}:{word}", []) != load(name, [])


OF_TRIPLETS = {
    "hm": ("hardness", "triplets", 0.5),
    "act": ("collapse", "candidates", 0.0),
    "amd": ("misorder", "triplets", 0.0),
    "catride": ("decoupled", "decoupled", 0.0),
}


@pytest.mark.parametrize("preset", ["synthetic:", "market1501:", "msmt17:head=triplet,"])
def test_a_defense_of_triplets_learns_from_batches_of_people(preset):
    plain = load(preset.rstrip(":,"), [])
    for name, (objective, consistency, structure) in OF_TRIPLETS.items():
        config = load(f"{preset}defense={name}", [])
        goat, defense = config.goat, config.defense
        assert (goat.enabled, goat.objective, goat.clean_fraction) == (True, objective, 0)
        assert (defense.consistency, defense.structure_weight) == (consistency, structure)
        assert config.batch.sampler == "identities"
        longer = config.epochs / (16 if preset == "synthetic:" else plain.epochs)
        assert longer == (1 if "triplet" in preset else 4)
        # Half of what is learned is clean, as with the GOAT of drawn people.
        half = preset == "synthetic:"
        weights = (defense.attacked_weight, defense.clean_weight)
        assert weights == ((0.5, 0.5) if half else (1, 0))


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("beside", ["", "goat=fna,", "defense=awp,"])
def test_noise_is_on_images_and_changes_nothing_else(preset, beside):
    without, noisy = (load(f"{preset}:{beside}{word}", []).as_json() for word in ("", "noise"))
    assert differences(without, noisy) == ["augmentation.noise: was 0.0, is 0.1"]


@pytest.mark.parametrize("preset", NAMES)
def test_a_defense_is_goat_and_what_it_changes(preset):
    def changes(word, than):
        before, after = (load(f"{preset}:{w}", []).as_json() for w in (than, f"defense={word}"))
        return {line.partition(":")[0] for line in differences(before, after)}

    clean = {"goat.clean_fraction"} if preset == "synthetic" else set()
    assert changes("est", "goat=sma") == set()
    assert changes("ranking", "goat=sma") == {"goat.objective"}
    assert changes("awp", "goat=fna") == {"defense.weight_perturbation"}
    assert changes("fnes", "goat=fna") == clean | {"mixup.stretch", "mixup.guide_label"}
    recommended = {"goat.eps", "goat.steps", "goat.step_size"}
    if preset == "synthetic":
        recommended |= {"dataset.name", "epochs", "evaluation.every_epochs", "goat.clean_fraction"}
        recommended -= {"goat.steps"}
    else:
        recommended |= {"goat.guide_bank"}
    assert changes("recommended", "goat=fna") == recommended
    trades = {"attacked_weight", "clean_weight", "consistency"}
    assert changes("trades", "goat=sma") == clean | {f"defense.{name}" for name in trades}
    config = load(f"{preset}:defense=trades", [])
    assert (config.defense.attacked_weight, config.defense.clean_weight) == (0, 1)
    assert load(f"{preset}:defense=ranking", []).goat.keeps_bank
    universal = load(f"{preset}:defense=universal", []).goat
    assert (universal.eps, universal.step_size, universal.steps) == (4, 2.55, 1)
    assert (universal.clean_fraction, universal.restart_every) == (0.5, 100)
    blur = 0.75 if preset == "synthetic" else 3
    assert (universal.diversity, universal.blur) == (0.5, blur)
    assert universal.is_universal
    assert not universal.keeps_bank


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("goat=fna,defense=hm", "defense=hm brings its own attack; leave goat=fna out"),
        ("defense=hm,bank", "bank is for adversarial training, as goat=fna is"),
        ("defense=gm", "expected defense=recommended|trades|hm|"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load(f"market1501:{words}", [])


@pytest.mark.parametrize("words", ["goat=sma", "goat=fna", "head=triplet,goat=fna"])
def test_where_the_reference_differs(words):
    ours, reference = (load(f"msmt17:{words}{more}", []) for more in ("", ",reference"))
    lines = differences(ours.as_json(), reference.as_json())
    assert {line.partition(":")[0] for line in lines} == {
        "dataset.split",
        "evaluation.every_epochs",
        "goat.batch_norm",
        "goat.eps_unit",
        "goat.pad_with_self",
    }
