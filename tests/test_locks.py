"""One writer per folder; the second is told who the first one is; the dead hold nothing."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from holders import held_elsewhere

from jaxreid.errors import InputError
from jaxreid.locks import held, try_lock

ROOT = Path(__file__).parents[1]


def run(code, *words):
    """Python code in a process of its own, beside these sources."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )


HOLD = """
import sys, os
from pathlib import Path
from jaxreid.locks import held
with held(Path(sys.argv[1]), beside=len(sys.argv) > 2):
    exec(sys.argv[2] if len(sys.argv) > 2 else "")
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_second_is_told_who_is_there(tmp_path):
    folder = tmp_path / "deep" / "work"
    with held(folder):
        told = run(HOLD, folder)
        with pytest.raises(InputError, match="is in use by process"), held_elsewhere(folder):
            pass
    assert told.returncode == 1
    message = re.search(
        rf"InputError: {folder} is in use by process {os.getpid()} of \S+ on "
        rf"{socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(.+\); "
        "wait for it to end, or name another folder",
        told.stderr,
    )
    assert message, told.stderr
    assert run(HOLD, folder).returncode == 0
    assert names(folder) == [".lock"]


def test_blocks_lie_inside_each_other(tmp_path):
    with held(tmp_path):
        with held(tmp_path / ".." / tmp_path.name):
            pass
        assert run(HOLD, tmp_path).returncode == 1
        assert names(tmp_path) == [".lock", ".lock.by"]


def test_a_lock_beside_a_folder_leaves_nothing(tmp_path):
    folder = tmp_path / "images"
    with held(folder, beside=True):
        assert names(tmp_path) == [".images.lock", ".images.lock.by"]
        assert "is in use by process" in run(HOLD, folder, "pass").stderr
    assert names(tmp_path) == []
    long = tmp_path / ("é" * 127 + "x")
    with held(long, beside=True):
        long.mkdir()
    assert names(tmp_path) == [long.name]


def test_the_dead_hold_nothing(tmp_path):
    killed = run(HOLD.replace("len(sys.argv) > 2)", "False)"), tmp_path, "os.kill(os.getpid(), 9)")
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".lock", ".lock.by"]
    with held(tmp_path):
        assert json.loads((tmp_path / ".lock.by").read_text())["process"] == os.getpid()
    assert names(tmp_path) == [".lock"]


@pytest.mark.parametrize(
    "note", [b"", b"[]", b'{"process": "1"}', b"\xff", b"[" * 9999, None], ids=repr
)
def test_a_note_that_says_nothing_is_of_another_process(tmp_path, note):
    with held(tmp_path):
        (tmp_path / ".lock.by").unlink()
        if note is not None:
            (tmp_path / ".lock.by").write_bytes(note)
        assert f"{tmp_path} is in use by another process; wait" in run(HOLD, tmp_path).stderr


def test_a_note_of_a_dead_process_names_nobody(tmp_path):
    dead = run("import os; print(os.getpid())").stdout.strip()
    with held(tmp_path):
        note = tmp_path / ".lock.by"
        note.write_text(json.dumps(json.loads(note.read_text()) | {"process": int(dead)}))
        assert "in use by another process" in run(HOLD, tmp_path).stderr


@pytest.mark.parametrize("missing", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS], ids=os.strerror)
def test_a_file_system_without_locks_has_markers(tmp_path, monkeypatch, missing):
    """Of a process that died on this host they are known to be stale."""

    def flock(descriptor, operation):
        raise OSError(missing, os.strerror(missing))

    monkeypatch.setattr(fcntl, "flock", flock)
    marker = tmp_path / (".lock" if missing == errno.ENOSYS else ".lock.marker")
    with held(tmp_path):
        with held(tmp_path):
            pass
        assert marker.read_text().splitlines()[0] == str(os.getpid())
        with pytest.raises(InputError, match="is in use by process"), held_elsewhere(tmp_path):
            pass
    assert not marker.exists()
    dead = run("import os; print(os.getpid())").stdout.strip()
    marker.write_text(f"{dead}\n{socket.gethostname()}\n")
    with held(tmp_path):
        assert marker.read_text().splitlines()[0] == str(os.getpid())


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("file/work", "Not a directory"),
        ("file", "it is no folder"),
        ("n" * 256, "File name too long"),
        ("/proc/work", ""),
        ("/dev/null", "it is no folder"),
    ],
)
def test_where_nothing_can_be_written(tmp_path, where, reason):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"cannot write to .*{reason}"), held(tmp_path / where):
        pass


def test_a_full_disk_is_no_wrong_input(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jaxreid.locks.try_lock", full)
    with pytest.raises(OSError, match=r"cannot write to .*: No space left on device") as caught:
        held(tmp_path).__enter__()
    assert not isinstance(caught.value, InputError)


def test_a_lock_can_be_tried(tmp_path):
    lock = try_lock(tmp_path / "lock")
    assert (
        "True"
        in run(
            "import sys; from pathlib import Path; from jaxreid.locks import try_lock; "
            "print(try_lock(Path(sys.argv[1])) is None)",
            tmp_path / "lock",
        ).stdout
    )
    lock.release()


def test_a_pipe_in_place_of_a_note_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".lock.by")
    with held(tmp_path):
        assert json.loads((tmp_path / ".lock.by").read_bytes())["process"] == os.getpid()
        (tmp_path / ".lock.by").unlink()
        os.mkfifo(tmp_path / ".lock.by")
        other = "from jaxreid.locks import held; from pathlib import Path; import sys\n"
        other += "with held(Path(sys.argv[1])): pass"
        run = subprocess.run([sys.executable, "-c", other, str(tmp_path)], capture_output=True)
    assert b"in use by another process" in run.stderr
