"""Names from outside cannot act, hide or break a file, in a page, a figure or a table."""

import csv
import errno
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from run_folders import examples, per_query, provenance, result, run_in_memory

from jaxreid.errors import InputError
from jaxreid.records import Condition, RunFolder
from jaxreid.report import write_report, writing
from jaxreid.report.curves import draw_attacks
from jaxreid.report.examples import example_sets
from jaxreid.report.runs import open_runs
from jaxreid.report.style import label_of, printable
from jaxreid.report.summary import summarize
from jaxreid.report.training import read_log


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("línea 行人 é", "línea 行人 é"),
        ("a\nb\tc\rd", "a b c\ufffdd"),
        ("bytes \udcff", "bytes \ufffd"),
        ("gpj.\u202egnp.exe", "gpj.\ufffdgnp.exe"),
        ("\0\x1b[31m\x7f\x85", "\ufffd\ufffd[31m\ufffd\ufffd"),
        ("a\u2028b\ufffe", "a b\ufffd"),
    ],
)
def test_text_is_what_utf8_and_xml_hold(text, shown):
    assert printable(text) == shown
    ET.fromstring(f"<x>{shown}</x>")
    shown.encode("utf-8")


def test_labels_are_short_and_lines_may_stay():
    assert label_of("  " + 10_000 * "x") == 119 * "x" + "…"
    assert label_of("\n") == ""
    assert printable("a\nb", lines=True) == "a\nb"


TITLES = [
    '=HYPERLINK("https://example.org","open")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\udcff\udcfe of bytes",
    "\u202eturned",
    "\x00\x07 bell\nand a second line",
    10_000 * "long ",
    r"$\frac{1}{0}$ _a_ |b| \textbf{c}",
    "</svg></style><script>alert(1)</script>]]>",
]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_every_title_makes_a_page_and_a_table(tmp_path, kind):
    runs = []
    for number, title in enumerate(TITLES):
        run = RunFolder.create(tmp_path / str(number), provenance(title, note=title))
        for level, condition in ((0.8, {}), (0.1, {"attack": "fna", "eps": 5.0})):
            run.append(result(level, **condition), per_query(level))
        stored = examples("a\u202eb\n\udcff.jpg")
        stored.save(run.examples_of(Condition(attack="fna", eps=5.0)))
        runs.append(run.path)
    page = write_report(runs, command="\n".join(TITLES))
    text = page.read_text(encoding="utf-8")
    assert not any(letter in text for letter in "\0\u202e\x07")
    assert "<script" not in text
    with (page.parent / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["run"] for row in rows}) == len(TITLES)
    for row in rows:
        assert row["run"][0] not in "=+-@\t\r"
        assert len(row["run"]) <= 121
        assert 0 <= float(row["mean"]) <= 1
    kind("report: titles of formulas, control characters, bytes, 10,000 letters", "harmless")


RESULTS = (result(0.8), result(0.1, attack="fna", eps=5.0))


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_every_title_makes_a_figure(title):
    run = run_in_memory(label_of(title), *RESULTS)
    drawn = draw_attacks(summarize([run]).groups[0], run.label, "rank1", log=False, name="x")
    assert run.label[:20] in "".join(ET.fromstring(drawn.svg).itertext())


@pytest.mark.usefixtures("undrawn")
def test_a_formula_is_text_behind_an_apostrophe(tmp_path, kind):
    run = RunFolder.create(tmp_path / "run", provenance(TITLES[0]))
    run.append(result(0.8), per_query(0.8))
    page = write_report([run.path])
    rows = list(csv.DictReader((page.parent / "results.csv").open(encoding="utf-8", newline="")))
    assert {row["run"] for row in rows} == {f"'{TITLES[0]}"}
    kind("a title =HYPERLINK(...) in results.csv", rows[0]["run"])


@pytest.mark.usefixtures("undrawn")
def test_what_is_left_out_is_said_on_the_page_and_to_whoever_asks(make_run, training, kind):
    run = make_run(attacks=("sma", "fna"))
    lines = run.path / "results.jsonl"
    first, second, *rest = lines.read_text().splitlines()
    lines.write_text("\n".join([first, second[:60], *rest]) + "\n")
    said = []
    page = write_report([run.path], training=[("GOAT", training)], on_note=said.append)
    assert said == [
        "1 line was cut off by an interruption in results.jsonl of Plain, and skipped: `jaxreid "
        "evaluate` does what is missing anew.",
        "1 line of metrics.jsonl of GOAT, cut off or damaged, could not be read.",
    ]
    assert "1 line was cut off by an interruption" in page.read_text(encoding="utf-8")
    assert open_runs([run.path])[0].cut_off == 1
    kind("report: a line that a kill cut off", said[0])
    kind("report: metrics.jsonl with a damaged line", said[1])


@pytest.mark.usefixtures("undrawn")
def test_another_size_than_in_training_is_a_caveat(tmp_path):
    for size, warned in (([64, 32], False), ([256, 128], True)):
        run = RunFolder.create(tmp_path / str(size[0]), provenance("Plain", size=size))
        file = run.path / "run.json"
        fields = json.loads(file.read_text())
        fields["model"]["training_size"] = [64, 32]
        file.write_text(json.dumps(fields))
        run.append(result(0.8), per_query(0.8))
        text = write_report([run.path]).read_text(encoding="utf-8")
        assert ("on images of 256x128 pixels and trained on 64x32" in text) is warned


def test_numbers_that_no_float_holds_are_left_out_of_curves(tmp_path):
    line = '{"kind": "train", "step": 1, "loss": ' + "9" * 400 + "}"
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n" + "[" * 100_000)
    log = read_log(tmp_path, "x")
    assert (log.series("train", "loss"), log.skipped) == (([], []), 1)


@pytest.mark.usefixtures("undrawn")
def test_average_precisions_out_of_range_are_damage(make_run):
    run = make_run(attacks=("fna",), eps=(5.0,))
    arrays = per_query(0.1)
    arrays.market1501[0] = 7
    arrays.save(run.arrays_of(Condition(attack="fna", eps=5.0)))
    with pytest.raises(InputError, match=r"average precisions of Plain are not in \[0, 1\]"):
        write_report([run.path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": np.zeros((2, 32, 16, 3), np.uint16)}, "clean is uint16, expected uint8"),
        ({"adversarial": np.full((2, 32, 16, 3), np.nan, np.float32)}, "NaN or infinite"),
        ({"names": np.array(["a"])}, r"where E is 1|where E is 2"),
        ({"before_images": np.zeros((2, 4, 32, 15, 3), np.uint8)}, "where W is 16"),
    ],
)
def test_examples_of_another_form_are_named(make_run, change, message):
    run = make_run(attacks=("fna",), eps=(5.0,))
    file = run.examples_of(Condition(attack="fna", eps=5.0))
    with np.load(file) as stored:
        fields = dict(stored)
    np.savez(file, **{**fields, **change})
    (opened,) = open_runs([run.path])
    with pytest.raises(InputError, match=message):
        example_sets(opened, summarize([opened]))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("out", ["/dev/null", "/dev/null/x", "/" + 300 * "x", "/proc/none/x"])
def test_places_that_hold_no_folder_are_bad_input(make_run, out, kind):
    with pytest.raises(InputError) as said:
        write_report([make_run(attacks=()).path], out=Path(out))
    kind(f"report --out {out[:14]}", f"exit 2: {str(said.value)[:60]}")


@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_is_no_fault_of_the_input(make_run, monkeypatch):
    run = make_run(attacks=())

    def full(groups):
        raise OSError(errno.ENOSPC, "No space left on device", "results.csv")

    monkeypatch.setattr(writing, "as_csv", full)
    with pytest.raises(OSError, match="No space left") as said:
        write_report([run.path])
    assert not isinstance(said.value, InputError)
    assert not (run.path / "report").exists()
