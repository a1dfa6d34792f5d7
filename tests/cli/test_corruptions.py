"""`jaxreid corruptions`, as it is typed."""

import json

import pytest
from commands import EMBEDDING, run, working_folder
from PIL import Image

from jaxreid.cli.corruption_table import corruption_table
from jaxreid.records import CorruptionRecord
from jaxreid.report.corruptions import draw_corruptions

MODULE = (
    EMBEDDING
    + """

def other(images):
    return embed(images)[:, :2]
"""
)
WORDS = ("corruptions", "weathered:embed", "--dataset", "synthetic_reid/tiny", "--limit", 6)
FEW = ("--kinds", "fog,gaussian_noise", "--severities", "5,2")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, weathered=MODULE)


def test_a_table_a_record_and_a_figure_and_it_goes_on(capsys, place):
    code, out, err = run(capsys, *WORDS, *FEW, "--title", "mine [bold]", "--out", "out")
    assert code == 0, err
    found = CorruptionRecord.load(place / "out" / "corruptions.json")
    assert found.provenance.title == "mine [bold]"
    assert (found.names, found.severities) == (["fog", "gaussian_noise"], [2, 5])
    assert "mine [bold]" in out
    assert "fog:2: " in err
    assert max(map(len, out.splitlines())) <= 80
    clean = found.clean["market1501"].mean_average_precision
    mean = found.mean("mean_average_precision")
    assert f"mAP: clean {100 * clean:.1f} %, corrupted {100 * mean:.1f} %" in out
    with Image.open(place / "out" / "corruptions.png") as image:
        assert image.size[0] > 500
    code, out, err = run(capsys, *WORDS, *FEW, "--out", "out", "--json")
    assert code == 0
    assert "corrupted images" not in err
    figures = json.loads(out)["mean_average_precision"]
    assert figures["mean"] == mean
    assert figures["kinds"]["fog"] == {
        str(level.severity): level.scores["market1501"].mean_average_precision
        for level in found.levels
        if level.name == "fog"
    }
    code, _, err = run(capsys, *WORDS, *FEW, "--out", "out", "--corrupted", "gallery")
    assert code == 2
    assert "settings corrupted is 'query', now 'gallery'" in err


def test_errors_beside_another_model(capsys, place):
    words = (*WORDS, *FEW)
    run(capsys, words[0], "weathered:other", *words[2:], "--out", "other")
    reference = place / "other" / "corruptions.json"
    code, out, err = run(
        capsys, *words, "--out", "out", "--reference", reference, "--kinds", "fog", "--json"
    )
    assert code == 0, err
    ours, theirs = (
        CorruptionRecord.load(place / name / "corruptions.json") for name in ("out", "other")
    )
    error = [
        sum(1 - one.scores["market1501"].rank1 for one in record.levels if one.name == "fog")
        for record in (ours, theirs)
    ]
    assert json.loads(out)["rank1"]["mean_corruption_error"] == pytest.approx(error[0] / error[1])
    _, out, _ = run(capsys, *words, "--out", "out", "--reference", reference, "--kinds", "fog")
    assert "mean corruption error" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kinds", "fogg"), "--kinds must be one of"),
        (("--kinds", ""), "--kinds names none"),
        (("--severities", "1,6"), "--severities must be of 1 to 5, such as 1,3,5, got '6'"),
        (("--severities", ""), "--severities must be of 1 to 5"),
        (("--corrupted", "all"), "--corrupted"),
        (("--reference", "none.json"), "none.json"),
        (("--limit", 0), "--limit"),
    ],
)
def test_bad_words_are_named(capsys, place, words, said):
    code, _, err = run(capsys, *WORDS, *words)
    assert code == 2
    assert said in " ".join(err.split())
    assert not (place / "runs").exists()


def test_a_reference_of_other_levels_is_refused_first(capsys, place):
    run(capsys, *WORDS, *FEW, "--out", "out")
    reference = ("--reference", place / "out", "--out", "new")
    code, _, err = run(capsys, *WORDS, *reference, "--kinds", "snow")
    assert code == 2
    assert "was not measured under snow:1" in err
    code, _, err = run(capsys, *WORDS, *FEW, *reference, "--corrupted", "both")
    assert code == 2
    assert "query images are corrupted there, expected both" in err
    assert not (place / "new").exists()


@pytest.mark.slow
def test_a_table_and_a_figure_of_all_kinds(capsys, place):
    run(capsys, *WORDS, "--severities", 3, "--out", "out")
    record = CorruptionRecord.load(place / "out" / "corruptions.json")
    assert len(record.names) == 20
    assert corruption_table(record, record).row_count == 20
    drawn = draw_corruptions(record, "figure")
    for name in record.names:
        assert name in drawn.alt
        assert name.replace("_", " ") in drawn.svg
