import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxreid.data.prepare.report import (
    LeftOut,
    PrepareReport,
    SplitCounts,
    add_left_out,
    read_report,
)
from jaxreid.errors import InputError

_REPORT = PrepareReport(
    name="reid_folder/shop",
    directory="",
    source="/données/été",
    options={"subset": False, "pattern": r"\d"},
    splits={"query": SplitCounts(3, 2, 1, 0, 0)},
    skipped_corrupt=("a.jpg: empty file",),
    ignored_files=1,
    unmatched_query_images=0,
    unmatched_query_identities=0,
    notice="",
)


def test_reports_come_back_as_written(tmp_path: Path) -> None:
    _REPORT.write(tmp_path)
    assert read_report(tmp_path) == PrepareReport(**{**vars(_REPORT), "directory": str(tmp_path)})
    assert [path.name for path in tmp_path.iterdir()] == ["prepare_report.json"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"name": "x"}'])
def test_damaged_reports_are_named(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "prepare_report.json").write_text(text)
    with pytest.raises(InputError, match=r"prepare_report.json cannot be read"):
        read_report(tmp_path)


def test_reports_of_before_are_read(tmp_path: Path) -> None:
    """Versions that counted less wrote fewer fields."""
    _REPORT.write(tmp_path)
    path = tmp_path / "prepare_report.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for name in ("left_out", "cameras", "rotated_images", "remarks"):
        del values[name]
    path.write_text(json.dumps(values))
    assert read_report(tmp_path).splits == _REPORT.splits


def test_paths_that_are_no_unicode_come_back_too(tmp_path: Path) -> None:
    odd = "/set" + os.fsdecode(b"\xff")
    report = dataclasses.replace(
        _REPORT,
        source=odd,
        left_out={"hidden files": LeftOut(2, odd)},
        cameras={"hall": 0},
        rotated_images=3,
        remarks=("3 images: stored rotated",),
    )
    report.write(tmp_path)
    assert read_report(tmp_path) == dataclasses.replace(report, directory=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 3),
        ("options", []),
        ("options", None),
        ("splits", {}),
        ("splits", []),
        ("splits", {"query": 3}),
        ("SplitCounts", {"query": {"images": "3"}}),
        ("splits", {"query": dict.fromkeys(vars(_REPORT.splits["query"]), "3")}),
        ("skipped_corrupt", "a.jpg"),
        ("skipped_corrupt", [3]),
        ("ignored_files", "1"),
        ("ignored_files", True),
        ("left_out", {"hidden files": {"count": "1", "example": "a"}}),
        ("left_out", {"hidden files": {"count": 1, "example": 2}}),
        ("cameras", {"hall": "0"}),
        ("remarks", {}),
        ("unknown", 1),
    ],
)
def test_values_of_other_types_are_named(name: str, value: object, tmp_path: Path) -> None:
    _REPORT.write(tmp_path)
    path = tmp_path / "prepare_report.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "splits" if name == "SplitCounts" else name: value}))
    with pytest.raises(InputError, match=rf"prepare_report.json cannot be read .*{name}"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "\0" * 50, '{"name": 1' + "0" * 5000 + "}", "\ud800"]
)
def test_nested_and_absurd_reports_are_named(
    text: str, tmp_path: Path, kind: Callable[[str, str], None]
) -> None:
    (tmp_path / "prepare_report.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"prepare_report.json cannot be read.*--force") as error:
        read_report(tmp_path)
    if text.startswith("["):
        kind("prepare_report.json, nested", f"exit 2: {error.value}".replace(str(tmp_path), ""))


def test_counts_add_up_and_the_first_example_stays() -> None:
    total = {"x": LeftOut(1, "a")}
    add_left_out(total, {"x": LeftOut(2, "b"), "y": LeftOut(3, "c")})
    assert total == {"x": LeftOut(3, "a"), "y": LeftOut(3, "c")}
