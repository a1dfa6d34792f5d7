"""Whole or not at all, and nothing left of the dead."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxreid import files
from jaxreid.errors import InputError
from jaxreid.files import (
    append,
    clear_abandoned,
    put_back,
    replacing,
    staging,
    standing,
    sync_folder,
    take_place,
)

ROOT = Path(__file__).parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed_in(block, path):
    """A process that is killed in a block of `replacing` or `staging`."""
    code = (
        "import os, sys; from pathlib import Path; from jaxreid import files\n"
        f"with files.{block}(Path(sys.argv[1])) as temporary:\n"
        "    (temporary if temporary.is_file() else temporary / 'x').write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", code, str(path)], env=environment)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["a.json", "é" * 127, "n" * 255, "-", ". .part"])
def test_a_file_takes_its_place_when_it_is_whole(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        (temporary.write_text("half"), (tmp_path / "missing").stat())
    assert path.read_text() == "old"
    before = os.umask(0o027)
    try:
        with replacing(path) as temporary:
            assert temporary.name == name
            temporary.write_text("new")
            assert path.read_text() == "old"
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("block", ["replacing", "staging"])
def test_what_the_dead_left_goes_when_the_path_is_written_again(tmp_path, block):
    path = tmp_path / "a.json"
    killed_in(block, path)
    killed_in(block, tmp_path / "other.json")
    assert len(names(tmp_path)) == 2
    with replacing(path) as temporary:
        temporary.write_text("whole")
    other, whole = names(tmp_path)
    assert (other[:12], whole) == (".other.json.", "a.json")
    clear_abandoned(tmp_path)
    assert names(tmp_path) == ["a.json"]


def test_what_the_living_write_stays(tmp_path):
    code = (
        "import sys; from pathlib import Path; from jaxreid.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('slow'); print(flush=True); input()"
    )
    path = tmp_path / "a.json"
    slow = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    slow.stdout.readline()
    with staging(path) as folder, replacing(path) as temporary:
        clear_abandoned(tmp_path, held=True)
        assert folder.is_dir()
        temporary.write_text("quick")
    assert path.read_text() == "quick"
    slow.communicate(b"\n")
    assert slow.returncode == 0
    assert path.read_text() == "slow"
    assert names(tmp_path) == ["a.json"]


def test_what_others_named_alike_stays(tmp_path):
    for name in (".a.json.x.part", "a.json.abcdefgh.part", ".a.json.ABCDEFGH.part", ".tmpAbCd1"):
        (tmp_path / name).mkdir()
    # Made this moment, not locked yet.
    (tmp_path / ".a.json.abcdefgh.part").mkdir()
    (tmp_path / ".b.abcdefgh.part").write_text("a file, of an earlier version")
    before = names(tmp_path)
    with replacing(tmp_path / "a.json"):
        pass
    clear_abandoned(tmp_path)
    assert names(tmp_path) == sorted([*before, "a.json"])
    clear_abandoned(tmp_path, held=True)
    assert names(tmp_path) == sorted({*before, "a.json"} - {".b.abcdefgh.part"})


def test_a_full_disk_names_the_file_and_adds_nothing(tmp_path):
    """Files that cannot grow beyond 10 bytes: a stand-in for a full disk."""
    path = tmp_path / "log"
    append(path, b"one\ntwo\n")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match=str(path)) as caught:
            append(path, b"three\n")
        with (
            pytest.raises(OSError, match=str(tmp_path / "new")),
            replacing(tmp_path / "new") as new,
        ):
            new.write_text("twelve bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"one\ntwo\n"
    assert names(tmp_path) == ["log"]


def test_no_device_and_no_folder_gives_way_to_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "folder", tmp_path / "pipe"):
        with pytest.raises(InputError, match="no regular file"), replacing(path):
            pass
    assert names(tmp_path) == ["folder", "pipe"]


def _folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


@pytest.fixture(params=["exchanged", "renamed twice"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "renamed twice":
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)


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
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
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
