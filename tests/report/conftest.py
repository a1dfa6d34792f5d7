"""Run folders and training logs for the tests of reports, and figures that cost nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from run_folders import write_log, write_run

from jaxreid.records import RunFolder

SVG = '<svg width="1" height="1" xmlns="http://www.w3.org/2000/svg"/>'
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes a run: `make_run("plain", title="Plain", attacks=("fna",), seeds=(0, 1))`."""

    def make(folder: str = "plain", **kwargs) -> RunFolder:
        return write_run(tmp_path / folder, **kwargs)

    return make


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The folder of a training that was interrupted."""
    return write_log(tmp_path / "work")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of pages and folders: every figure is set up, and saved as an empty picture."""

    def save(self, file, format, **options):
        file.write(SVG if format == "svg" else PNG)

    monkeypatch.setattr(Figure, "savefig", save)
