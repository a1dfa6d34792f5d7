"""One writer at a time per folder; the error of a second one names the first.

The lock goes with its process, however that ends: `flock`, which NFS and Lustre (mounted with
`flock`) pass on to other machines. On a file system without it a marker with process and host takes
its place; of a process that died on another host it has to be removed by hand.
"""

import contextlib
import datetime
import errno
import getpass
import hashlib
import json
import os
import shlex
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from jaxreid.errors import InputError, is_of_the_disk, reason_of

__all__ = ["held", "hidden_name", "try_lock"]

_NAME, _MARKER = ".lock", ".marker"
# What file systems say that have no locks; ENOSYS is known to filelock.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
_ATTEMPTS = 3
_LONGEST_COMMAND = 200
# Bytes: most file systems allow 255 in a name, and a hidden one has a suffix more.
_LONGEST_NAME = 200


def hidden_name(name: str) -> str:
    """The name of what belongs to a file or folder and lies beside it: its own behind a dot.

    A digest of it where it is so long that a suffix has no room.
    """
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}"


def try_lock(path: Path) -> BaseFileLock | None:
    """Takes a lock and returns what releases it; None where another process or thread has it.

    This thread may take it again. The lock file's folder exists; OSError if it cannot be made.
    """
    path = path.parent.resolve() / path.name
    # What its holder unlinked between our opening and locking it counts as held.
    for _ in range(_ATTEMPTS):
        for kind, file in ((FileLock, path), (SoftFileLock, path.with_name(path.name + _MARKER))):
            lock = kind(file, blocking=False, is_singleton=True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of filelock's own change to markers
                    lock.acquire()
            except Timeout:
                break
            except OSError as error:
                if kind is SoftFileLock or error.errno not in _NO_LOCKS:
                    raise
            else:
                return lock
    return None


@contextlib.contextmanager
def held(folder: Path, *, beside: bool = False) -> Iterator[None]:
    """Holds a folder for this process; blocks of one thread may lie inside each other.

    The lock is `.lock` in the folder, which is made with its parents, and stays. Where `beside`, it
    lies beside the folder, which need not exist then, and is removed at the end. InputError if
    another process holds it (the message says which), or it cannot be written; OSError if the disk
    is full or broken.
    """
    room = folder.parent if beside else folder
    file = room / (hidden_name(folder.name) + _NAME if beside else _NAME)
    try:
        room.mkdir(parents=True, exist_ok=True)
        lock = try_lock(file)
    except OSError as error:
        if is_of_the_disk(error):
            raise OSError(error.errno, f"cannot write to {folder}: {reason_of(error)}") from None
        what = room if beside else "it"
        reason = f"{what} is no folder" if isinstance(error, FileExistsError) else reason_of(error)
        raise InputError(f"cannot write to {folder}: {reason}") from None
    note = file.with_name(f"{file.name}.by")
    if lock is None:
        raise InputError(
            f"{folder} is in use by {_holder(note)}; wait for it to end, or name another folder"
        )
    outermost = lock.lock_counter == 1
    try:
        if outermost:
            _write(note)
        yield
    finally:
        if outermost:
            with contextlib.suppress(OSError):
                note.unlink(missing_ok=True)
                if beside:
                    file.unlink()
        lock.release()


def _write(note: Path) -> None:
    """Writes who holds the folder, for the message of a second writer; a full disk is no error.

    It may be the first file that is made in the folder, for the lock stays: other errors count.
    """
    try:
        note.unlink(missing_ok=True)
        note.write_text(json.dumps(_this_process()._asdict()), encoding="ascii")
    except OSError as error:
        if not is_of_the_disk(error):
            raise InputError(f"cannot write to {note.parent}: {reason_of(error)}") from None


class _Process(NamedTuple):
    """Who holds a folder, as the note beside the lock says."""

    process: int
    host: str
    user: str
    since: str
    command: str


def _this_process() -> _Process:
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user in this container
        user = str(os.getuid())
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return _Process(os.getpid(), socket.gethostname(), user, since, shlex.join(words))


def _read(note: Path) -> _Process | None:
    """What a note says; None if it is missing, half written or of something else."""
    try:
        values = json.loads(note.read_bytes()) if note.is_file() else {}
        found = _Process(*(values[name] for name in _Process._fields))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if type(found.process) is int else None


def _holder(note: Path) -> str:
    found = _read(note)
    if found is None or (found.host == socket.gethostname() and not _is_running(found.process)):
        return "another process"
    command = " ".join(str(found.command).split())
    if len(command) > _LONGEST_COMMAND:
        command = f"{command[:_LONGEST_COMMAND]}..."
    return (
        f"process {found.process} of {found.user} on {found.host} since {found.since} ({command})"
    )


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's, which may not be sent anything: it runs
        pass
    return True
