"""Run folders and training logs for the tests of reports, and figures that cost nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from run_folders import write_log, write_run, write_worst_run

from jaxreid.records import RunFolder
from jaxreid.report import write_report

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


def save_nothing(self, file, format, **options):
    """In place of Figure.savefig."""
    file.write(SVG if format == "svg" else PNG)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of pages and folders: every figure is set up, and saved as an empty picture."""
    monkeypatch.setattr(Figure, "savefig", save_nothing)


@pytest.fixture(scope="session")
def worst_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two runs of which everything is known; its figures are empty."""
    folder = tmp_path_factory.mktemp("worst")
    plain = write_worst_run(folder / "plain", title="plain", left=0.02, attacks=("fna", "sma"))
    goat = write_worst_run(folder / "goat", title="GOAT", attacks=("fna",), weakness=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_nothing)
        return write_report([plain.path, goat.path])
