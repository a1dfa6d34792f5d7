"""The page: well formed, loads nothing, escapes everything; the folder: whole or not at all."""

import csv
import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from pages import checked, titles
from PIL import Image
from run_folders import examples, per_query, provenance, result, write_log, write_run

from jaxreid.errors import InputError
from jaxreid.records import Condition, RunFolder
from jaxreid.report import write_report, writing

NASTY = """<script>alert("x")</script> & 'quote' $\\alpha$ _líne 行人"""


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """The page of two runs with training, whose names are all unfit for a page."""
    folder = tmp_path_factory.mktemp("full")
    attacks = {"attacks": ("noise", "fna"), "seeds": (0, 1, 2)}
    run = write_run(folder / "<b>", title=NASTY, **attacks)
    RunFolder.create(run.path, provenance(NASTY, note=NASTY))
    for file in (run.path / "examples").iterdir():
        examples(NASTY).save(file)
    other = write_run(folder / "other", title=NASTY, clean=0.75, weakness=0.2, **attacks)
    training = [(NASTY, write_log(folder / "work"))]
    made = write_report(
        [run.path, other.path], training=training, command=f"jaxreid report {NASTY}"
    )
    assert made == run.path / "report" / "report.html"
    return made


@pytest.mark.slow
def test_everything_is_there_for_two_runs_with_training(full):
    page = checked(full)
    assert titles(page) == [
        "What was found",
        "Comparison",
        "Curves",
        "Rank lists before and after",
        "Who is hit",
        "Where features go",
        "All results",
        "Training",
        "Provenance",
    ]
    assert page.tags.count("svg") > 20
    for part in ("0.10.2", "1 x cpu", "2020-06-14", "Market-1501", "torchreid", "0, 1, 2"):
        assert part in page.text


def test_figures_lie_beside_the_page_and_can_be_read(full):
    pictures = sorted((full.parent / "figures").iterdir())
    names = {path.stem for path in pictures}
    assert {"map-run1-threat1", "map-run1-threat1-log", "rank-1-run1-threat1"} <= names
    assert {"average-precision-run1", "cameras-run1", "people-run1"} <= names
    assert {"features-run1-1", "rank-lists-run1-1"} <= names
    for path in pictures:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        else:
            assert ET.fromstring(path.read_text(encoding="utf-8")).tag.endswith("svg")
    rows = list(csv.DictReader((full.parent / "results.csv").open(encoding="utf-8")))
    fna = [r for r in rows if (r["attack"], r["eps"], r["figure"]) == ("fna", "5", "rank1")]
    assert {r["protocol"] for r in fna} == {"market1501", "torchreid"}


def test_names_from_outside_are_escaped_wherever_they_appear(full):
    page = checked(full)
    assert "script" not in page.tags
    assert page.text.count(NASTY) > 5
    assert f"jaxreid report {NASTY}" in page.text
    svg = (full.parent / "figures" / "map-side-by-side-threat1.svg").read_text(encoding="utf-8")
    assert NASTY[:20] in "".join(ET.fromstring(svg).itertext())


@pytest.mark.usefixtures("undrawn")
def test_commands_in_sentences_are_set_as_commands_and_nothing_else_is_markup(full):
    # The caveat of a run without a worst case.
    html = full.read_text(encoding="utf-8")
    assert "<code>jaxreid evaluate --attacks worst</code>" in html
    assert "&lt;code" not in html
    assert writing._prose("a `b <i>` & `c`") == ("a <code>b &lt;i&gt;</code> &amp; <code>c</code>")


def test_clean_results_alone_make_a_page(make_run):
    page = checked(write_report([make_run(attacks=()).path]))
    assert titles(page) == ["What was found", "All results", "Provenance"]
    assert "No attack has been scored yet." in page.text


@pytest.mark.usefixtures("undrawn")
def test_one_person_is_enough(make_run):
    run = make_run(identities=1, attacks=("fna",), eps=(5.0,))
    page = checked(write_report([run.path]))
    assert "Who is hit" in titles(page)
    # The caveat that no worst case was computed names the command as one.
    assert "jaxreid evaluate --attacks worst" in page.text
    assert "`" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_no_examples_no_maps_no_arrays(make_run):
    run = make_run(with_examples=False)
    for file in (run.path / "arrays").iterdir():
        file.unlink()
    found = titles(checked(write_report([run.path])))
    assert found == ["What was found", "Comparison", "Curves", "All results", "Provenance"]


@pytest.mark.usefixtures("undrawn")
def test_gallery_under_attack_shows_the_query_unchanged(make_run):
    run = make_run(attacks=("fna",), side="gallery", guides="gallery")
    page = checked(write_report([run.path]))
    assert "query; the gallery is attacked" in page.text
    assert "of the gallery images" in page.text


@pytest.mark.usefixtures("undrawn")
def test_several_threats_each_have_their_table(make_run):
    run = make_run()
    for condition in ({"norm": "l2", "eps": 0.5}, {"distance": "cosine", "eps": 5.0}):
        run.append(result(0.2, attack="fna", **condition), per_query(0.2))
    page = checked(write_report([run.path]))
    threes = [text for level, text in page.headings if level == 3]
    for part in ("L2 attacks", "cosine distance", "L∞ attacks on queries"):
        assert any(part in text for text in threes), part


@pytest.mark.usefixtures("undrawn")
def test_reranked_figures_have_a_table_of_their_own(make_run):
    run = make_run(attacks=())
    one = result(0.2, attack="fna", eps=5.0)
    run.append(
        dataclasses.replace(one, reranked={"market1501": one.scores["torchreid"]}), per_query(0.2)
    )
    assert "After k-reciprocal re-ranking" in checked(write_report([run.path])).text


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_run_is_reported_as_far_as_it_got(make_run):
    run = make_run(attacks=("sma", "fna"))
    lines = run.path / "results.jsonl"
    lines.write_text(lines.read_text()[:-40])
    page = checked(write_report([run.path]))
    assert "FNA" in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_broken_query_is_left_out(make_run):
    run = make_run(attacks=("fna",), eps=(5.0,))
    arrays = per_query(0.1)
    arrays.market1501[0] = np.nan
    arrays.save(run.arrays_of(Condition(attack="fna", eps=5.0)))
    checked(write_report([run.path]))


@pytest.mark.usefixtures("undrawn")
def test_the_same_data_make_the_same_page(make_run, tmp_path):
    run = make_run(attacks=("fna",))
    pages = [write_report([run.path], out=tmp_path / name).read_text() for name in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.usefixtures("undrawn")
def test_a_former_report_is_replaced_and_nothing_is_left_over(make_run, tmp_path):
    run, out = make_run(attacks=("fna",)), tmp_path / "deep" / "out"
    write_report([run.path], out=out)
    (out / "figures" / "old.png").write_bytes(b"from a longer report")
    write_report([run.path], out=out)
    assert not (out / "figures" / "old.png").exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert out.stat().st_mode & 0o055


@pytest.mark.usefixtures("undrawn")
def test_an_interruption_leaves_the_former_report(make_run, tmp_path, monkeypatch):
    run, out = make_run(attacks=("fna",)), tmp_path / "deep" / "out"
    former = write_report([run.path], out=out).read_text()

    def interrupted(groups):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "as_csv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report([run.path], out=out)
    assert (out / "report.html").read_text() == former
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.usefixtures("undrawn")
def test_a_folder_with_other_things_is_never_replaced(make_run, tmp_path):
    run = make_run(attacks=())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.tex, which is no part of a report"):
        write_report([run.path], out=tmp_path / "mine")
    with pytest.raises(InputError, match="is no part of a report"):
        write_report([run.path], out=run.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_report([run.path], out=tmp_path / "file")


@pytest.mark.usefixtures("undrawn")
def test_a_disk_that_refuses_is_bad_input(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        write_report([make_run(attacks=()).path], out=tmp_path / "file" / "out")


@pytest.mark.usefixtures("undrawn")
def test_damaged_examples_are_named(make_run):
    run = make_run(attacks=("fna",), eps=(5.0,))
    run.examples_of(Condition(attack="fna", eps=5.0)).write_bytes(b"PK")
    with pytest.raises(InputError, match="is not a file of Examples"):
        write_report([run.path])
