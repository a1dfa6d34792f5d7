"""`jaxreid certify`, as it is typed."""

import json

import pytest
from commands import EMBEDDING, run, working_folder
from rich.console import Console

from jaxreid.cli.certificate_table import certificate_table, level_line
from jaxreid.records import Certificate, CertifiedLevel, RunFolder, Score
from jaxreid.report.certified import draw_certificate

WORDS = ("certify", "certifiable:embed", "--dataset", "synthetic_reid/tiny", "--limit", 6)
FEW = ("--samples", 16, "--gallery-samples", 8, "--radii", "0.5,0", "--out", "out")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, certifiable=EMBEDDING)


@pytest.mark.slow
def test_a_certificate_is_printed_drawn_written_and_goes_on(capsys, place):
    code, out, err = run(capsys, *WORDS, *FEW, "--title", "mine [bold]")
    assert code == 0, err
    found = Certificate.load(place / "out" / "certificate.json")
    assert (found.title, found.sigma, found.samples) == ("mine [bold]", 0.1, 16)
    assert [level.radius for level in found.levels] == [0, 0.5]
    assert found.command.startswith("jaxreid certify certifiable:embed --dataset")
    assert "mine [bold]" in out
    assert "16 samples" in out
    assert "radius 0.5: at least" in err
    for name in ("certificate.svg", "certificate.npz", "smoothed/query-000000000.npz"):
        assert (place / "out" / name).stat().st_size > 0
    assert RunFolder.open(place / "out").provenance.settings["gallery_samples"] == 8
    code, out, err = run(capsys, *WORDS, *FEW, "--json")
    assert code == 0
    assert "smoothed" not in err  # no image was seen again
    assert (
        json.loads(out)["levels"][1]["certified"]
        == json.loads((place / "out" / "certificate.json").read_text())["levels"][1]["certified"]
    )
    code, out, err = run(capsys, *WORDS, *FEW[:4], "--out", "out", "--json")
    assert [level["radius"] for level in json.loads(out)["levels"]] == [
        *(0, 0.005, 0.01, 0.02, 0.03, 0.04)
    ]
    code, _, err = run(capsys, *WORDS, *FEW, "--sigma", 0.2)
    assert code == 2
    assert "settings sigma is 0.1, now 0.2; name another folder" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sigma", 0), "expected a number from 1e-06"),
        (("--sigma", "nan"), "expected a number"),
        (("--samples", 0), "--samples"),
        (("--gallery-samples", "many"), "--gallery-samples"),
        (("--radii", "0,-1"), "expected lengths such as 0,0.1,0.25"),
        (("--radii", ""), "expected lengths"),
        (("--radii", "nan"), "expected lengths"),
        (("--confidence", 1), "expected a number from 1e-06 to 0.999999"),
        (("--limit", 0), "--limit"),
        (("--distance", "cosine"), "--distance"),
    ],
)
def test_what_cannot_be_certified_is_one_line(capsys, place, words, said):
    code, out, err = run(capsys, *WORDS, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not (place / "runs").exists()


def scores(share):
    return {name: Score(share, share, share, share, share) for name in ("market1501", "torchreid")}


LEVELS = (
    CertifiedLevel(0.0, scores(0.7)),
    CertifiedLevel(0.25, scores(0.3), scores(0.5)),
)
CERTIFICATE = Certificate(
    title="noisy [bold] people",
    command="jaxreid certify noisy.safetensors --dataset synthetic_reid",
    model={},
    dataset={},
    settings={},
    versions={},
    devices="1 x cpu",
    created="2026-01-01T00:00:00+00:00",
    sigma=0.1,
    samples=1000,
    confidence=0.999,
    queries=100,
    abstained=7,
    error=0.05,
    clean=scores(0.8),
    levels=LEVELS,
)


def test_the_table_fits_a_terminal():
    console = Console(width=80)
    with console.capture() as captured:
        console.print(certificate_table(CERTIFICATE))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "noisy [bold] people" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["not", "certified", *["80.0"] * 4] in rows
    assert ["0.25", *["30.0"] * 4, "50.0", "50.0"] in rows
    assert "7 abstained" in " ".join(text.split())
    assert level_line(LEVELS[1]) == "radius 0.25: at least 30.0 % mAP, 50.0 % attacked"


def test_the_figure_says_what_it_shows():
    drawn = draw_certificate(CERTIFICATE, "certificate")
    assert "mAP from 70.0\xa0% at 0 to 30.0\xa0% at 0.25" in drawn.alt
    for words in ("mAP, certain", "mAP, under attack", "rank-1, certain"):
        assert words in drawn.svg
    assert drawn.png.startswith(b"\x89PNG")
