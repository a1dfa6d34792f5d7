"""Run folders and training logs for the tests of reports."""

from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import write_log, write_run

from jaxreid.records import RunFolder


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
