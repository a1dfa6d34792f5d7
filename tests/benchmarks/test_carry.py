"""What a machine without network gets along: made whole, and seen by the two steps that need it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

from jaxreid.errors import InputError

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.sh"
# What on_gpu.sh says that the machine has.
THERE = {
    *("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint", "jaxtyping", "rich", "click"),
    *("filelock", "torch", "pillow", "opencv-python-headless", "pytest", "hypothesis", "protobuf"),
}


@pytest.fixture
def carry(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("carry", SCRIPT.parent / "carry.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(carry, monkeypatch):
    """In place of pip and of jaxreid: each leaves a file of so many bytes, or fails."""

    def put(*, size=1000, fails=False):
        def does(command):
            folder = Path(
                command[command.index("--target" if "pip" in command else "--data-dir") + 1]
            )
            folder.mkdir()
            (folder / "new").write_bytes(bytes(size))
            if "pip" in command:
                for name in ("code.py", "code_test.py", "tests/deep_test.py"):
                    (folder / "grain" / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / "grain" / name).touch()
            elif fails:
                raise InputError("no people")

        monkeypatch.setattr(carry, "_run", does)

    return put


def test_nothing_is_carried_that_is_there(carry):
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    wanted = carry.pinned(carry.PACKAGES, constraints)
    assert not {name.partition("==")[0] for name in wanted} & THERE
    assert set(wanted) <= set(constraints.splitlines())
    command = carry.pip_command(wanted, Path("there"))
    # Without it pip would bring jax, and pyarrow of 160 MB.
    assert "--no-deps" in command
    assert command[-len(wanted) :] == wanted
    with pytest.raises(InputError, match=r"constraints.txt has no version of: nothing$"):
        carry.pinned(["grain", "nothing"], constraints)


def test_a_folder_takes_the_place_of_an_older_one(carry, run, tmp_path):
    folder = tmp_path / "carried"
    (folder / "packages").mkdir(parents=True)
    (folder / "packages" / "old").touch()
    run(size=2**20)
    size = carry.prepare(folder)
    assert 2 <= size < 2.01
    packages = folder / "packages"
    assert [path.name for path in (packages / "grain").iterdir()] == ["code.py"]
    assert (folder / "data" / "new").exists()
    assert not (packages / "old").exists()
    (found,) = distributions(path=[str(packages)])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (found.name, found.version) == ("jaxreid", project["version"])
    assert not (packages / "jaxreid").exists()  # its code is the checkout's
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"fails": True}, "no people"),
        ({"size": 25 * 2**20}, r"carried would have 50\.0 MiB; expected at most 48"),
    ],
)
def test_a_folder_that_fails_leaves_the_older_one(carry, run, tmp_path, fault, said):
    folder = tmp_path / "carried"
    folder.mkdir()
    (folder / "old").touch()
    run(**fault)
    with pytest.raises(InputError, match=said):
        carry.prepare(folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert [path.name for path in folder.iterdir()] == ["old"]


def test_git_ignores_it(carry):
    assert f"/{carry.CARRIED.name}/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.fixture
def measured(tmp_path):
    """Runs on_gpu.sh with a Python that notes what each record imports from where."""

    # Beside its checkout it is found by itself.
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(SCRIPT, tmp_path / "benchmarks")

    def measure(**variables):
        python, log, out = tmp_path / "python", tmp_path / "log", tmp_path / "out"
        look = (
            "import importlib.util as u, json, os, sys\n"
            "where = {n: getattr(u.find_spec(n), 'origin', None) for n in ('click', 'brought')}\n"
            "about = [sys.argv[1], where, os.environ.get('TFDS_DATA_DIR')]\n"
            f"print(json.dumps(about), file=open({str(log)!r}, 'a'))"
        )
        (tmp_path / "look.py").write_text(look)
        python.write_text(
            "#!/bin/sh\n"
            f'case "$*" in *record.py*) shift; exec {sys.executable} {tmp_path}/look.py "$1";;\n'
            f'*sys.path*|*brought*) exec {sys.executable} "$@";; esac\n'
        )
        python.chmod(0o755)
        log.write_text("")
        places = {"PYTHON": str(python), "OUT": str(out), "AGAIN": "1"}
        unset = ("TFDS_DATA_DIR", "CARRIED")
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        environment |= places | variables
        done = subprocess.run(
            ["bash", "benchmarks/on_gpu.sh"],
            env=environment,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return {Path(path).stem: about for path, *about in lines}

    return measure


def test_two_steps_see_it_behind_the_machines_own(measured, tmp_path):
    own = importlib.util.find_spec("click").origin
    packages, data = tmp_path / "carried" / "packages", tmp_path / "carried" / "data"
    for name in ("click", "brought"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    (data / "synthetic_reid").mkdir(parents=True)
    brought = str(packages / "brought" / "__init__.py")
    there = {"click": own, "brought": brought}
    found = measured()
    assert found.pop("train-gpu") == [there, str(data)]
    assert found.pop("input-gpu") == [there, str(data)]
    assert len(found) == 11
    assert all(about == [{"click": own, "brought": None}, None] for about in found.values())
    # A dataset of the machine's own comes first, too.
    (tmp_path / "mine" / "synthetic_reid").mkdir(parents=True)
    found = measured(TFDS_DATA_DIR=str(tmp_path / "mine"))
    assert found["train-gpu"] == [there, str(tmp_path / "mine")]
    # Half of it is not measured, and costs nothing else.
    (data / "synthetic_reid").rmdir()
    found = measured()
    assert "train-gpu" not in found
    assert len(found) == 12
    # Named, it may lie elsewhere.
    (tmp_path / "carried").rename(tmp_path / "elsewhere")
    assert measured()["input-gpu"][0]["brought"] is None
    found = measured(CARRIED="elsewhere")
    assert found["input-gpu"][0]["brought"] == brought.replace("carried", "elsewhere")
