import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxreid.data.prepare.locking import clear_unfinished, exclusive, make_folder
from jaxreid.errors import InputError


def test_what_dead_preparations_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "incomplete.ABC_1.0.0").mkdir()
    (tmp_path / "incomplete.ABC_1.0.0" / "half").touch()
    (tmp_path / "incomplete.file").touch()
    (tmp_path / "1.0.0").mkdir()
    with exclusive(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".prepare.lock", "1.0.0"]


def test_litter_is_cleared_beside_what_is_there_unless_somebody_prepares(tmp_path: Path) -> None:
    (tmp_path / "1.0.0").mkdir()
    clear_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.0.0"]
    (tmp_path / "incomplete.ABC_1.0.0").mkdir()
    with exclusive(tmp_path):
        (tmp_path / "incomplete.mine").touch()
        clear_unfinished(tmp_path)
        assert (tmp_path / "incomplete.mine").exists()
    clear_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".prepare.lock", "1.0.0"]
    clear_unfinished(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_second_process_is_turned_away_and_may_come_again(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from jaxreid.data.prepare.locking import exclusive\n"
        "with exclusive(Path(sys.argv[1])): pass"
    )
    again = [sys.executable, "-c", code, str(tmp_path)]
    with exclusive(tmp_path):
        (tmp_path / "incomplete.mine").touch()
        refused = subprocess.run(again, capture_output=True, text=True, check=False)
        assert "another process is preparing" in refused.stderr
        assert (tmp_path / "incomplete.mine").exists()
    assert subprocess.run(again, check=False).returncode == 0


def test_two_holders_in_one_process(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path),
        pytest.raises(InputError, match="another process"),
        exclusive(tmp_path),
    ):
        pass


def test_without_locks_a_marker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "incomplete.other").touch()
    with exclusive(tmp_path):
        assert not (tmp_path / "incomplete.other").exists()
        with pytest.raises(InputError, match="another process"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        pass


def test_what_tfds_left_of_its_settings_is_cleared_when_nobody_can_be_writing_it(
    tmp_path: Path,
) -> None:
    settings = tmp_path / ".config"
    settings.mkdir()
    for name, age in (("incomplete.old.json", 7200), ("incomplete.new.json", 0)):
        (settings / name).touch()
        now = time.time()
        os.utime(settings / name, (now - age, now - age))
    with exclusive(tmp_path / "shop"):
        assert [path.name for path in settings.iterdir()] == ["incomplete.new.json"]


@pytest.mark.parametrize(
    "path", ["/dev/null", "/dev/null/x", "/proc/x", "a" * 300, "a\0b", "\udcff"]
)
def test_what_cannot_be_a_folder_is_named(
    path: str, tmp_path: Path, kind: Callable[[str, str], None]
) -> None:
    with pytest.raises(InputError, match=r"cannot (hold the records|name a folder)") as error:
        make_folder(tmp_path / path, purpose="the records")
    if path == "/dev/null":
        kind("/dev/null as a folder", f"exit 2: {error.value}")


def test_a_folder_that_nobody_may_write_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"cannot hold the records \(Permission denied\)"):
        make_folder(tmp_path, purpose="the records")


def test_a_full_disk_is_a_fault_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        make_folder(tmp_path / "x", purpose="the records")
