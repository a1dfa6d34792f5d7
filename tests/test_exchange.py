import errno
import os
from pathlib import Path

import pytest

from jaxreid import exchange
from jaxreid.exchange import put_back, standing, sync_folder, take_place


def _folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


@pytest.fixture(params=["exchanged", "renamed twice"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "renamed twice":
        monkeypatch.setattr(exchange, "_exchange", lambda one, other: False)


def test_the_first_one_is_only_renamed(tmp_path: Path, system: None) -> None:
    take_place(_folder(tmp_path / "new", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["target"]


def test_the_new_takes_the_place_of_the_old(tmp_path: Path, system: None) -> None:
    _folder(tmp_path / "target", "old")
    take_place(_folder(tmp_path / "new", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["target"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path, system: None) -> None:
    elsewhere = _folder(tmp_path / "elsewhere", "old")
    (tmp_path / "target").symlink_to(elsewhere)
    take_place(_folder(tmp_path / "new", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert (elsewhere / "file").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "target"]


def test_a_failed_second_rename_brings_the_old_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_exchange", lambda one, other: False)
    _folder(tmp_path / "target", "old")
    staged = _folder(tmp_path / "new", "new")
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self == staged:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        take_place(staged, tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "old"


def test_what_made_room_is_found_and_put_back(tmp_path: Path) -> None:
    _folder(tmp_path / "replaced.1.0.0", "old")
    target = tmp_path / "1.0.0"
    assert standing(target) == tmp_path / "replaced.1.0.0"
    put_back(tmp_path)
    assert standing(target) == target
    assert (target / "file").read_text() == "old"
    _folder(tmp_path / "replaced.1.0.0", "older")
    assert standing(target) == target
    put_back(tmp_path)
    assert os.listdir(tmp_path) == ["1.0.0"]
    assert (target / "file").read_text() == "old"


def test_what_is_not_there_stands_nowhere_else(tmp_path: Path) -> None:
    assert standing(tmp_path / "1.0.0") == tmp_path / "1.0.0"


def test_every_file_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    sync_folder(tmp_path)
    assert synced == [(tmp_path / n).stat().st_ino for n in ("a", "b", ".")]


def test_a_file_that_cannot_reach_the_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").touch()

    def failing(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)
    (tmp_path / "a").unlink()
    sync_folder(tmp_path)  # some network file systems cannot do it for a folder
