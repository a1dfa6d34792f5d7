"""What goes wrong, through the real command line: the exit code, and one line that says it."""

import itertools
import json
import os
import signal

import pytest
from commands import ended, start
from flax import nnx
from run_folders import per_query, provenance, result

from jaxreid.data.prepare import prepare_dataset
from jaxreid.models import ResNetConfig, create, weights
from jaxreid.records import RunFolder

TINY = "--config.dataset.name=synthetic_reid/tiny"
MODULE = """
import jax.numpy as jnp


def embed(images):
    return jnp.tanh(images.mean((1, 2)) * 3)
"""
EVALUATE = ("evaluate", "mine:embed", "--dataset", "synthetic_reid/tiny", "--attacks", "noise,sma")


NUMBERS = itertools.count()


def train(*words, config="synthetic", workdir=None):
    # One for each: several run at once, and a work directory belongs to one of them.
    workdir = workdir or f"work-{next(NUMBERS)}"
    return ("train", "--config", config, "--workdir", workdir, *words)


# name -> words, exit code, the end of the only line
WRONG = {
    "another architecture": (
        train(TINY, "--config.model.start_from=other.safetensors"),
        "other.safetensors holds another backbone",
    ),
    "no such weights": (
        train(TINY, "--config.model.start_from=nowhere.safetensors"),
        "nowhere.safetensors",
    ),
    "not prepared": (train(config="market1501"), "jaxreid data prepare market1501"),
    "unknown field": (train("--config.goat.epz=3"), "no field goat.epz; did you mean goat.eps?"),
    "unknown preset": (train(config="market1502"), "did you mean market1501?"),
    "budget": (train("--config.goat.eps=256"), "goat.eps must be a number, from 0 to 255"),
    "workdir below a file": (train(TINY, workdir="mine.py/work"), "cannot write to mine.py/work"),
    "workdir in /proc": (train(TINY, workdir="/proc/work"), "cannot write to /proc/work"),
    "quickstart below a file": (
        ("quickstart", "--fast", "--workdir", "mine.py/work"),
        "cannot write to mine.py/work",
    ),
    "processes": (
        (*EVALUATE, "--coordinator", "127.0.0.1:99", "--processes", "2"),
        "--process (or JAXREID_PROCESS) is missing",
    ),
    "unknown attack": ((*EVALUATE[:-1], "ifgms"), "did you mean 'ifgsm'?"),
    "report below a file": (("report", "run", "--out", "mine.py/report"), "mine.py/report"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with a module, weights of another network, and an evaluation."""
    folder = tmp_path_factory.mktemp("place")
    prepare_dataset("synthetic_reid/tiny", data_dir=folder / "data", workers=1)
    (folder / "mine.py").write_text(MODULE)
    shape = ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = create(shape, head="linear", classes=3, rngs=nnx.Rngs(0))
    weights.save(model, folder / "other.safetensors")
    run = RunFolder.create(folder / "run", provenance("Plain"))
    run.append(result(0.8), per_query(0.8))
    return {"data": folder / "data", "cache": folder / "cache", "cwd": folder}


def test_wrong_input_is_one_line_and_two(place):
    # A few at a time: each one takes seconds, most of them to import JAX.
    names = list(WRONG)
    for some in (names[i : i + 3] for i in range(0, len(names), 3)):
        running = {name: start(*WRONG[name][0], **place) for name in some}
        for name, process in running.items():
            code, _, err = ended(process)
            # Commands say what they are about to do first.
            last = err.strip().splitlines()[-1]
            assert code == 2, (name, err)
            assert last.startswith(("jaxreid: ", "Error: ")), (name, err)
            assert WRONG[name][1] in last, (name, err)
            assert "Traceback" not in err, name


def test_a_budget_of_zero_is_the_clean_figure_to_the_bit(place):
    code, _, err = ended(start(*EVALUATE, "--eps", "0", "--out", "zero", **place))
    assert code == 0, err
    lines = (place["cwd"] / "zero" / "results.jsonl").read_text().splitlines()
    clean, *attacked = map(json.loads, lines)
    assert [line["condition"]["attack"] for line in attacked] == ["noise", "sma"]
    assert all(line["scores"] == clean["scores"] for line in attacked)
    assert all(line["largest_change"] == 0 for line in attacked)


def test_a_report_that_is_interrupted_leaves_the_former_one(place):
    page = place["cwd"] / "run" / "report" / "report.html"
    assert ended(start("report", "run", **place))[0] == 0
    before = page.read_bytes()
    # Dies of SIGKILL in the middle of its writing.
    (place["cwd"] / "sitecustomize.py").write_text(
        "import os, pathlib\n"
        "write = pathlib.Path.write_text\n"
        "def die(path, *args, **kwargs):\n"
        "    write(path, *args, **kwargs)\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "if os.environ.get('DIE'): pathlib.Path.write_text = die\n"
    )
    path = os.pathsep.join([str(place["cwd"]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("DIE", "1")
        assert ended(start("report", "run", **place))[0] == -signal.SIGKILL
    assert page.read_bytes() == before
    assert ended(start("report", "run", **place))[0] == 0
    assert page.is_file()
