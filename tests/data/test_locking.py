import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from jaxreid.data.locking import exclusive
from jaxreid.errors import InputError


def test_what_dead_preparations_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "incomplete.ABC_1.0.0").mkdir()
    (tmp_path / "incomplete.ABC_1.0.0" / "half").touch()
    (tmp_path / "incomplete.file").touch()
    (tmp_path / "1.0.0").mkdir()
    with exclusive(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".prepare.lock", "1.0.0"]


def test_a_second_process_is_turned_away_and_may_come_again(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from jaxreid.data.locking import exclusive\n"
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


def test_without_locks_nothing_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "incomplete.other").touch()
    with exclusive(tmp_path):
        assert (tmp_path / "incomplete.other").exists()
