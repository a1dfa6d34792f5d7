"""The record of all families: which commands measure it, and what is not measured twice."""

import json
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import above

from jaxreid.benchmark import networks
from jaxreid.cli.benchmark.networks import attack
from jaxreid.cli.benchmark.variants import VARIANT
from jaxreid.models import ARCHITECTURES
from jaxreid.models.kinds import KINDS, kind_of

FOLDER = Path(__file__).parents[2] / "benchmarks"
MACHINE = {
    "date": "2026-11-28",
    "device": "cpu",
    "devices": 1,
    "processor": "2 x a processor",
    "python": "3.11.2",
    "versions": {"jax": "0.10.2"},
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return SimpleNamespace(**runpy.run_path(str(FOLDER / "families.py")))


@pytest.fixture
def measure(script, monkeypatch):
    """Runs the script with words; gives the commands that it measured."""

    def run(*words, machine=MACHINE, fails=()):
        ran = []

        def measured(command):
            ran.append(shlex.join(command))
            return None if command[4] in fails else {"machine": machine, "number": len(ran)}

        monkeypatch.setitem(script.main.__globals__, "measured", measured)
        monkeypatch.setitem(script.main.__globals__, "this_machine", lambda: machine)
        monkeypatch.setattr(sys, "argv", ["families.py", *map(str, words)])
        script.main()
        return ran

    return run


def test_every_kind_has_a_row(script):
    kinds = {kind_of(ARCHITECTURES[row.split()[0]]) for row in script.ROWS}
    assert kinds == set(KINDS)


def test_rows_are_networks_of_their_projects(script, monkeypatch):
    """torchreid's fc512, AGW and SBS, camera embeddings, the jigsaw, SOLIDER's control."""
    found = {}
    monkeypatch.setattr(networks, "create", lambda shape, **rest: (shape, rest))
    for row in script.ROWS:
        if "--" in row:
            words = ["--architecture", *shlex.split(row)]
            given = attack.make_context("attack", words, parent=above()).params
            variant = {name: given[name] for name in VARIANT}
            found[row], rest = networks.network_of(
                given["architecture"], (256, 128), dtype="float32", **variant
            )
            fc512 = row == "resnet50 --last-stride 1 --head embedding"
            assert rest["head"] == ("embedding" if fc512 else "none")
            assert rest["dimensions"] == 512
    assert found["resnet50 --last-stride 1 --head embedding"].last_stride == 1
    for name, ibn in (("resnet50_nl", False), ("resnet50_ibn_nl", True)):
        shape = found[f"{name} --last-stride 1 --pool ceil"]
        assert (shape.non_local, shape.pooling) == ((0, 2, 3, 0), "gem-learnt")
        assert (shape.last_stride, shape.pool, shape.ibn) == (1, "ceil", ibn)
    assert found["vit_base_jpm --stride 12 --cameras 6"].step == 12
    with_cameras = [shape for row, shape in found.items() if "--cameras" in row]
    assert {kind_of(shape) for shape in with_cameras} == {"vit", "jpm", "clip_vit"}
    assert all((shape.cameras, shape.sie_factor) == (6, 3) for shape in with_cameras)
    assert found["swin_tiny --semantic-weight 0.2"].semantic_weight == 0.2


def test_a_row_is_a_command(measure, tmp_path):
    path = tmp_path / "families-here.json"
    words = ("--only", "resnet50,vit_base --stride 12", "--batch", "4")
    rest = "--batch 4 --steps {} --repeats 5 --torch-compile"
    ran = measure(path, *words)
    assert ran == [
        f"jaxreid benchmark attack --architecture resnet50 {rest.format(3)}",
        f"jaxreid benchmark attack --architecture vit_base --stride 12 {rest.format(2)}",
    ]
    record = json.loads(path.read_text())
    assert [row["command"] for row in record["result"]["rows"]] == ran
    assert record["machine"] == "2 x a processor"
    assert record["versions"] == {"python": "3.11.2", "jax": "0.10.2"}
    assert record["date"] == "2026-11-28"
    (command,) = record["commands"]
    assert command.endswith("families-here.json --batch 4 --steps 3 --repeats 5")


def test_what_is_known_is_not_measured_again(script, measure, tmp_path):
    path = tmp_path / "families-here.json"
    with pytest.raises(SystemExit, match="not measured: swin_tiny"):
        measure(path, "--only", "vit_small,swin_tiny,resnet50", fails=["swin_tiny"])
    later = MACHINE | {"date": "2026-11-30"}
    assert [words.split()[4] for words in measure(path, machine=later)] == [
        name.split()[0] for name in script.ROWS if name not in ("vit_small", "resnet50")
    ]
    record = json.loads(path.read_text())
    assert record["date"] == "2026-11-28 to 2026-11-30"
    assert measure(path) == []
    assert len(measure(path, "--only", "vit_small", "--again")) == 1
    # With another batch, it is another measurement, which takes the place of the first.
    assert len(measure(path, "--only", "vit_small", "--batch", "2")) == 1
    rows = json.loads(path.read_text())["result"]["rows"]
    assert [row["name"] for row in rows] == [row["name"] for row in record["result"]["rows"]]


def test_machines_are_not_mixed(measure, tmp_path):
    """Which is known before anything is measured."""
    path = tmp_path / "families-here.json"
    measure(path, "--only", "resnet50")
    before = path.read_bytes()
    other = MACHINE | {"python": "3.12.1"}
    with pytest.raises(SystemExit, match="another machine"):
        measure(path, "--only", "vit_small", machine=other, fails=["vit_small"])
    assert path.read_bytes() == before


@pytest.mark.slow
def test_what_is_said_of_this_machine_is_what_rows_say(script, monkeypatch):
    """Devices, too, into which commands divide a CPU where nothing else is said."""
    for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    words = "jaxreid benchmark attack --architecture resnet_patch --size 16x8 --batch 4 --steps 1"
    row = script.measured([*words.split(), "--repeats", "1", "--no-rivals"])
    assert script.this_machine() == row["machine"]
