"""`--camera`, as it is typed."""

import json
import sys
from pathlib import Path

import pytest
from commands import run

from jaxreid.records import Card, RunFolder

MODULE = """
import seeing
from jaxreid.models import embedding

embed = embedding(seeing.network(3))
few = embedding(seeing.network(2, seed=1))
many = embedding(seeing.network(24, seed=1))
chosen = embed.seen_by("mean")


def without(images):
    return chosen(images)
"""
TINY = ("--dataset", "synthetic_reid/tiny", "--limit", 6)
CLEAN = ("--attacks", "fna", "--eps", 0, "--examples", 0)


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    """A working directory with a module of the user's: a network of three cameras, as the data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_data))
    monkeypatch.delitem(sys.modules, "seer", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    (tmp_path / "seer.py").write_text(MODULE)
    return tmp_path


def clean_map(folder):
    first, *_ = RunFolder.open(folder).results()
    return first.scores["market1501"].mean_average_precision


@pytest.mark.slow
def test_each_choice_has_a_folder_of_its_own(capsys, place):
    code, out, err = run(capsys, "evaluate", "seer:embed", *TINY, *CLEAN, "--out", "true")
    assert code == 0, err
    assert "with every query's camera wrong by one (of 3), features change by " in " ".join(
        out.split()
    )
    folder = RunFolder.open(place / "true")
    assert folder.provenance.settings["camera"] == "true"
    assert folder.provenance.model["cameras"] == 3
    assert folder.results()[0].wrong_camera.cameras == 3
    # What is there is read, and said again.
    code, again, err = run(
        capsys, "evaluate", "seer:embed", *TINY, *CLEAN, "--camera", "true", "--out", "true"
    )
    assert (code, again) == (0, out), err
    for choice, recorded in (("none", "none"), ("MEAN", "mean"), ("0", 0)):
        words = ("evaluate", "seer:embed", *TINY, *CLEAN, "--camera", choice)
        code, out, err = run(capsys, *words, "--out", "true")
        assert code == 2
        assert f"settings camera is 'true', now {recorded!r}" in err
        code, out, err = run(capsys, *words, "--out", choice)
        assert code == 0, err
        assert "wrong by one" not in out
        assert RunFolder.open(place / choice).provenance.settings["camera"] == recorded
    # A function to which nobody has to say anything has no such setting, and the same figures.
    code, out, err = run(capsys, "evaluate", "seer:without", *TINY, *CLEAN, "--out", "plain")
    assert code == 0, err
    assert "camera" not in RunFolder.open(place / "plain").provenance.settings
    assert clean_map(place / "plain") == clean_map(place / "MEAN") != clean_map(place / "none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("seer:few",), "the query split has images of 3 cameras, 0 to 2, and the network has "),
        (("seer:embed", "--camera", "3"), "--camera 3: the network has embeddings of 3 cameras"),
        (("seer:embed", "--camera", "tru"), "expected true, none, mean or a camera's number"),
        (("seer:embed", "--camera", "-1"), "expected true, none, mean or a camera's number"),
        (("seer:without", "--camera", "mean"), "--camera mean is for networks with camera"),
    ],
)
def test_a_camera_that_is_none_is_one_line(capsys, place, words, message, kind):
    code, out, err = run(capsys, "evaluate", *words, *TINY, *CLEAN)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert not (place / "runs").exists()
    kind(f"evaluate {' '.join(words)}", err.splitlines()[-1])


def test_embeddings_of_more_cameras_are_told(capsys, place):
    words = ("evaluate", "seer:many", *TINY, "--attacks", "clean", "--examples", 0)
    # The dataset has three cameras, its network three by eight views.
    code, _, err = run(capsys, *words, "--out", "many")
    said = " ".join(err.split())
    assert code == 0, err
    assert "note: the network tells 24 cameras apart, and the images are of 3, 0 to 2: " in said
    assert "--camera mean or none" in said
    assert max(map(len, err.splitlines())) <= 80
    # It says nothing where the user chose, or where there are as many.
    for model, *more in (("seer:many", "--camera", "mean"), ("seer:embed",)):
        code, _, err = run(capsys, words[0], model, *words[2:], *more, "--out", model[5:8])
        assert code == 0, err
        assert "cameras apart" not in err
    # Of another network by whose gradients this one is attacked, too.
    words = ("evaluate", "seer:embed", *TINY, *CLEAN, "--surrogate", "seer:many")
    code, _, err = run(capsys, *words, "--out", "other")
    assert code == 0, err
    said = " ".join(err.split())
    assert "note: --surrogate seer:many: the network tells 24 cameras apart" in said


@pytest.mark.slow
def test_images_remember_the_camera(capsys, place):
    attack = ("attack", "seer:embed", *TINY, "--steps", 2, "--camera", "mean", "--flip")
    code, _, err = run(capsys, *attack, "--out", "images")
    assert code == 0, err
    manifest = json.loads((place / "images" / "manifest.json").read_text())
    assert manifest["settings"]["camera"] == "mean"
    evaluate = ("evaluate", "seer:embed", "--flip", "--images", "images", "--examples", 0)
    code, _, err = run(capsys, *evaluate, "--camera", "mean", "--out", "mean")
    assert code == 0, err
    assert "made with" not in err
    assert "images_made_with_camera" not in RunFolder.open(place / "mean").provenance.settings
    code, _, err = run(capsys, *evaluate, "--out", "true")
    assert code == 0, err
    assert "note: the images were made with --camera mean" in err
    settings = RunFolder.open(place / "true").provenance.settings
    assert settings["images_made_with_camera"] == "mean"


@pytest.mark.slow
def test_an_audit_and_its_surrogate(capsys, place):
    words = (
        "audit",
        "seer:embed",
        *TINY,
        "--quick",
        "--examples",
        0,
        "--surrogate",
        "seer:without",
    )
    code, _, err = run(capsys, *words, "--camera", 1, "--out", "out")
    assert code == 0, err
    card = Card.load(place / "out" / "card.json")
    assert card.settings["camera"] == 1
    assert not {"randomised", "batch-mates", "backward pass"} & {flag.name for flag in card.raised}
