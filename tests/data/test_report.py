from pathlib import Path

import pytest

from jaxreid.data.report import PrepareReport, SplitCounts, read_report
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
