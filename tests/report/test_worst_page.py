"""The page and the table of a run of which everything is known, and of one of former times."""

import csv
import json
from pathlib import Path

import pytest
from pages import checked, titles
from run_folders import write_run

from jaxreid.records import RunFolder
from jaxreid.report import write_report

# What records of earlier versions lack.
RECENT = {"worst", "impersonation", "verification"}
RECENT_CONDITION = {"attacked_gallery", "knowledge", "goal", "target"}
OLD_COLUMNS = [
    *("run", "panel", "attack", "variant", "eps", "protocol", "reranked", "figure"),
    *("mean", "low", "high", "deviation", "seeds"),
]


def rows_of(page: Path) -> list[dict[str, str]]:
    with (page.parent / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_worst_case_stands_before_everything_else(worst_page):
    found = checked(worst_page)
    assert titles(found) == [
        "What was found",
        "Worst case",
        "Comparison",
        "Curves",
        "Impersonation",
        "Verification",
        "Rank lists before and after",
        "Who is hit",
        "Where features go",
        "Audit",
        "All results",
        "Provenance",
    ]
    text = found.text.replace("\u00a0", " ")
    # The first number of the page, before any of an attack or of clean images.
    assert text.index("2.0 %") == min(text.index(one) for one in ("2.0 %", "80.0 %", "4.0 %"))
    assert "mAP in the worst case at 5/255" in text
    assert text.index("raised a flag (more steps)") == text.index("An audit of plain") + len(
        "An audit of plain "
    )
    assert "An audit raised 1 flag: see the audit." in text
    for part in ("average-precision", "What knowledge buys", "Worst case at 5/255", "137.5"):
        assert part in text, part
    assert {"survivors-threat1", "verification-run1", "verification-run2"} <= {
        path.stem for path in (worst_page.parent / "figures").iterdir()
    }


def test_columns_of_former_tables_stay_and_new_figures_have_rows(worst_page):
    rows = rows_of(worst_page)
    assert list(rows[0])[: len(OLD_COLUMNS)] == OLD_COLUMNS
    assert list(rows[0])[len(OLD_COLUMNS) :] == ["knowledge", "goal", "target"]
    assert all(0 <= float(row["mean"]) <= 1 for row in rows)
    assert {row["knowledge"] for row in rows if row["attack"] == "fna"} == {""}

    def value(figure: str, protocol: str = "market1501", **fields: str) -> float:
        wanted = {"run": "plain", "attack": "worst-1", "eps": "5", "goal": "evade"} | fields
        wanted |= {"knowledge": "gallery", "figure": figure, "protocol": protocol}
        (row,) = [r for r in rows if all(r[name] == one for name, one in wanted.items())]
        return float(row["mean"])

    assert value("mean_average_precision") == 0.02
    assert value("rank10") == pytest.approx(0.024)
    assert value("one_image_mean_average_precision") == pytest.approx(0.022)
    assert value("eight_bit_mean_average_precision") == pytest.approx(0.021)
    assert value("floor_mean_average_precision", "torchreid") == 0.004
    assert value("at_floor", "") == pytest.approx(3 / 24)
    assert value("impersonation_first", "", goal="impersonate", target="17") == 0.6
    assert value("passed_by_at_0.001", "", goal="impersonate", target="17") == pytest.approx(0.3)
    assert value("equal_error", "") == pytest.approx(0.49)


def forget(run: RunFolder) -> None:
    """Leaves in the records of a run what earlier versions wrote."""
    lines = run.path / "results.jsonl"
    old = []
    for line in lines.read_text().splitlines():
        fields = {name: one for name, one in json.loads(line).items() if name not in RECENT}
        condition = fields["condition"].items()
        fields["condition"] = {k: one for k, one in condition if k not in RECENT_CONDITION}
        old.append(json.dumps(fields))
    lines.write_text("\n".join(old) + "\n")


@pytest.mark.usefixtures("undrawn")
def test_runs_of_earlier_versions_read_as_before(tmp_path):
    pages = []
    for name in ("new", "old"):
        run = write_run(tmp_path / name / "run", attacks=("fna", "sma"))
        if name == "old":
            forget(run)
        pages.append(write_report([run.path]).read_text(encoding="utf-8"))
    assert pages[0] == pages[1].replace(str(tmp_path / "old"), str(tmp_path / "new"))
    found = checked(tmp_path / "old" / "run" / "report" / "report.html")
    assert "Worst case" not in titles(found)
    assert "No worst case was computed" in found.text
    assert found.text.count("worst case") == found.text.count("No worst case was computed")
