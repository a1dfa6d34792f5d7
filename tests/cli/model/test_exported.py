"""`convert --to exported`, and what takes the file that it writes."""

import json
import re
import zipfile

import pytest
from networks import drawn

from jaxreid import models
from jaxreid.cli import main
from jaxreid.models import weights

CONFIG = models.ResNetConfig(depths=(1,), widths=(8,), stem_width=8)
TINY = ("--dataset", "synthetic_reid/tiny", "--limit", 8, "--attacks", "sma,fna", "--eps", 5)


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


@pytest.fixture
def source(tmp_path, monkeypatch, tiny_data):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_data))
    model = drawn(CONFIG, head="classification", classes=5)
    weights.save(model, "m.safetensors", training_size=(32, 16))
    return "m.safetensors"


def figures(out):
    """Attack, eps and mAP of each row."""
    return re.findall(r"^ +(clean|sma|fna) +(5?) +([\d.]+)", out, re.MULTILINE)


@pytest.mark.slow
def test_it_is_evaluated_as_the_network_it_was(capsys, source):
    options = ("--unit-length", "--distance", "cosine", "--filter", "bicubic")
    code, out, err = run(capsys, "convert", source, "m.exported", "--to", "exported", *options)
    assert code == 0, err
    assert "names of jaxreid" not in out
    assert "-> exported" in out.replace("\n  ", " ")
    code, here, err = run(capsys, "evaluate", source, *TINY, *options, "--out", "a")
    assert code == 0, err
    code, there, err = run(capsys, "evaluate", "m.exported", *TINY, "--out", "b")
    assert code == 0, err
    assert "cosine distance" in err
    assert len(figures(here)) == 3
    assert figures(there) == figures(here)
    with open("b/run.json") as file:
        said = json.load(file)
    assert "m.exported" in json.dumps(said)


@pytest.mark.slow
def test_what_it_is_can_be_read(capsys, source):
    assert run(capsys, "convert", source, "m.exported")[0] == 0
    code, out, _ = run(capsys, "inspect", "m.exported")
    assert code == 0
    lines = dict(re.findall(r"^(\S+) {2,}(.*)$", out, re.MULTILINE))
    assert lines["takes"] == "images of 32x16, 16 at a time"
    assert "a model without its code" in lines["file"]
    assert lines["for"].startswith("accelerators and cpu; by jax ")
    assert all(len(line) <= 80 for line in out.splitlines())
    told = json.loads(run(capsys, "inspect", "m.exported", "--json")[1])
    assert told["takes"] == lines["takes"]


NO_WEIGHTS = (
    "is an exported model (.exported), whose weights cannot be converted or trained: name the file "
    "that it was exported from"
)
SMALL_DATA = "--config.dataset.name=synthetic_reid/tiny"
START = "--config.model.start_from=m.exported"
REFUSED = {
    "another ending": (
        ("convert", "m.safetensors", "m.pth", "--to", "exported"),
        "m.pth: a target of exported ends in .exported",
    ),
    "other names": (
        ("convert", "m.safetensors", "x.exported", "--to", "adv-reid"),
        "x.exported: a target of exported ends in .exported, and no other does",
    ),
    "another size": (
        ("evaluate", "m.exported", *TINY, "--size", "64x32"),
        "m takes images of 32x16 only; export it anew, with jaxreid convert --size 64x32",
    ),
    "another dtype": (
        ("evaluate", "m.exported", *TINY, "--dtype", "bfloat16"),
        "--dtype is for networks; an exported one computes as it was",
    ),
    "a flip": (
        ("evaluate", "m.exported", *TINY, "--flip"),
        "m.exported was exported with --no-flip; export it anew with --flip",
    ),
    "a comparison": (
        ("inspect", "m.exported", "--against", "mine:build"),
        "--against compares parts of a network; this file has none",
    ),
    "no folder": (
        ("convert", "m.safetensors", "nodir/x.exported"),
        "nodir/x.exported: there is no folder nodir",
    ),
    "no folder for weights": (
        ("convert", "m.safetensors", "nodir/x.pth"),
        "nodir/x.pth: there is no folder nodir",
    ),
    "weights again": (("convert", "m.exported", "back.safetensors"), f"m.exported {NO_WEIGHTS}"),
    "another export": (("convert", "m.exported", "again.exported"), f"m.exported {NO_WEIGHTS}"),
    "a training": (
        ("train", "--config", "synthetic", "--workdir", "w", SMALL_DATA, START),
        f"m.exported {NO_WEIGHTS}",
    ),
    "damage to another machine's part": (
        ("inspect", "damaged.exported"),
        "damaged.exported: accelerators.weights is damaged",
    ),
    "nothing in it": (("inspect", "empty.exported"), "the file is empty (0 bytes)"),
    "half of it": (("inspect", "half.exported"), "half.exported: truncated or broken"),
    "no such file": (("inspect", "other.exported"), "other.exported is no exported model"),
    "another file": (("evaluate", "text.exported", *TINY), "text.exported is no exported model"),
}


def test_what_cannot_be_is_one_line_and_two(capsys, source, tmp_path):
    assert run(capsys, "convert", source, "m.exported")[0] == 0
    (tmp_path / "text.exported").write_text("text")
    content = bytearray((tmp_path / "m.exported").read_bytes())
    (tmp_path / "empty.exported").write_bytes(b"")
    (tmp_path / "half.exported").write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile("m.exported") as archive:
        entry = archive.getinfo("accelerators.weights")
    content[entry.header_offset + 30 + len(entry.filename) + 100] ^= 1
    (tmp_path / "damaged.exported").write_bytes(content)
    before = set(tmp_path.iterdir())
    for kind, (words, message) in REFUSED.items():
        code, _, err = run(capsys, *words)
        assert code == 2, kind
        assert message in err.splitlines()[-1], kind
    # A training keeps its configuration, whatever becomes of it.
    assert set(tmp_path.iterdir()) - before == {tmp_path / "w"}


def test_a_size_must_be_known(capsys, source):
    weights.save(drawn(CONFIG, head="none"), "unknown.safetensors")
    code, _, err = run(capsys, "convert", "unknown.safetensors", "u.exported")
    assert code == 2
    assert "nothing says the size of its images; --size does" in err
    assert run(capsys, "convert", "unknown.safetensors", "u.exported", "--size", "32x16")[0] == 0
