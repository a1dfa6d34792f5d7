"""What goes wrong, as it is typed: the exit code, and one line that says it."""

import itertools
import json
import os
import shutil
import signal
import sys

import pytest
from commands import WHOLE, ended, run, start
from flax import nnx
from run_folders import per_query, provenance, result

from jaxreid.data.prepare import prepare_dataset
from jaxreid.models import ResNetConfig, create, weights
from jaxreid.records import RunFolder

TINY = "--config.dataset.name=synthetic_reid/tiny"
MODULE = """
import os, signal

import jax.numpy as jnp


def embed(images):
    return jnp.tanh(images.mean((1, 2)) * 3)


def stopped(images):
    os.kill(os.getpid(), signal.SIGTERM)  # while the first program is traced
    return embed(images)


def large(images):
    raise MemoryError
"""
# However the tests were started.
HEARS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)"
EVALUATE = ("evaluate", "mine:embed", "--dataset", "synthetic_reid/tiny", "--attacks", "noise,sma")


NUMBERS = itertools.count()


def train(*words, config="synthetic", workdir=None):
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
    "unknown field": (train("--config.goat.epz=3"), "no field goat.epz; did you mean 'goat.eps'?"),
    "unknown preset": (train(config="market1502"), "did you mean 'market1501'?"),
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


@pytest.fixture
def here(place, monkeypatch):
    """The same for commands in this process."""
    monkeypatch.chdir(place["cwd"])
    monkeypatch.setenv("TFDS_DATA_DIR", str(place["data"]))
    # Python would remember another test's.
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return place["cwd"]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_two(here, capsys, kind, name):
    words, told = WRONG[name]
    code, _, err = run(capsys, *words)
    # Commands say what they are about to do first.
    last = err.strip().splitlines()[-1]
    assert code == 2, err
    assert last.startswith(("jaxreid: ", "Error: ")), err
    assert told in last
    assert "Traceback" not in err
    kind(name, f"exit {code}: {last}")


def test_flags_that_are_none(here, capsys, monkeypatch, kind):
    monkeypatch.setenv("XLA_FLAGS", "nonsense")
    code, _, err = run(capsys, *EVALUATE)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("jaxreid: XLA_FLAGS: expected flags such as")
    kind("evaluate with XLA_FLAGS=nonsense", f"exit {code}: {err}")


# What JAX reads once, when it starts.
SETTINGS = {
    "JAX_PLATFORMS=cuda": (EVALUATE, "JAX finds no device"),
    "JAX_PLATFORMS=nonsense": (train(TINY), "JAX_PLATFORMS is 'nonsense': unset it"),
    "JAX_PLATFORMS=rocm": (("benchmark", "ranking", "--size", "tiny"), "JAX_PLATFORMS is 'rocm'"),
    "JAX_ENABLE_X64=maybe": (EVALUATE, "invalid truth value 'maybe' for environment"),
    "XLA_FLAGS=--nonsense": (EVALUATE, "Unknown flag in XLA_FLAGS: --nonsense"),
}


@pytest.mark.slow
def test_an_environment_that_is_wrong_is_one_line_and_two(place, kind):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have what is asked for")
    names = list(SETTINGS)
    for some in (names[i : i + 3] for i in range(0, len(names), 3)):
        running = {
            name: start(*SETTINGS[name][0], variables=dict([name.split("=", 1)]), **place)
            for name in some
        }
        for name, process in running.items():
            code, _, err = ended(process)
            # XLA itself ends the process where it does not know a flag.
            assert code == (1 if name == "XLA_FLAGS=--nonsense" else 2), (name, err)
            last = err.strip().splitlines()[-1]
            assert SETTINGS[name][1] in last, (name, err)
            assert "Traceback" not in err, name
            kind(f"{SETTINGS[name][0][0]} with {name}", f"exit {code}: {last}")


@pytest.mark.slow
def test_a_request_to_stop_while_the_first_program_is_made(place, kind):
    given = ("mine:stopped", "--dataset", "synthetic_reid/tiny")
    wanted = {
        "evaluate": (*given, "--attacks", "noise", "--out", "stopped"),
        "attack": (*given, "--out", "images"),
    }
    running = {
        name: start(name, *words, script=f"{HEARS}; {WHOLE}", **place)
        for name, words in wanted.items()
    }
    for name, process in running.items():
        code, _, err = ended(process)
        assert code == 75, err
        assert err.splitlines()[-1].startswith("jaxreid: asked to stop (SIGTERM); the same command")
        assert "Traceback" not in err
        kind(f"SIGTERM while {name} compiles", f"exit 75: {err.splitlines()[-1]}")
    assert not (place["cwd"] / "images").exists()


def test_too_little_memory_is_one_line_and_one(here, capsys, kind):
    code, _, err = run(capsys, "evaluate", "mine:large", *EVALUATE[2:], "--out", "large")
    last = err.strip().splitlines()[-1]
    assert code == 1, err
    assert last.startswith("jaxreid: out of memory; a smaller --batch-size"), err
    assert "Traceback" not in err
    kind("evaluate with too little memory", f"exit {code}: {last}")


@pytest.mark.slow
@pytest.mark.optimized
def test_a_budget_of_zero_is_the_clean_figure_to_the_bit(here, capsys):
    code, _, err = run(capsys, *EVALUATE, "--eps", "0", "--out", "zero")
    assert code == 0, err
    lines = (here / "zero" / "results.jsonl").read_text().splitlines()
    clean, *attacked = map(json.loads, lines)
    assert [line["condition"]["attack"] for line in attacked] == ["noise", "sma"]
    assert all(line["scores"] == clean["scores"] for line in attacked)
    assert all(line["largest_change"] == 0 for line in attacked)


def test_a_report_that_is_interrupted_leaves_the_former_one(here, place, capsys):
    page = here / "run" / "report" / "report.html"
    assert run(capsys, "report", "run")[0] == 0
    before = page.read_bytes()
    # Dies of SIGKILL in the middle of its writing.
    (here / "sitecustomize.py").write_text(
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
    assert run(capsys, "report", "run")[0] == 0
    assert page.is_file()
