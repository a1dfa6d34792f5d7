"""Files and folders that appear whole or not at all, and nothing left of killed writers."""

import contextlib
import ctypes
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxreid.errors import InputError
from jaxreid.locks import hidden_name, try_lock

__all__ = [
    "REPLACED",
    "append",
    "clear_abandoned",
    "put_back",
    "remove",
    "replacing",
    "replacing_folder",
    "staging",
    "standing",
    "sync_folder",
    "take_place",
]

REPLACED = "replaced."
"""Prefix of a folder that makes room for its successor, where folders cannot be exchanged."""

_SUFFIX = ".part"
_LOCK = ".lock"
# What mkdtemp puts into a name; .a.b.XXXXXXXX.part belongs to a.b, and must not be taken for a's.
_RANDOM = re.compile(r"[a-z0-9_]{8}")
_OF_MKSTEMP = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
_OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")
# Seconds between making a temporary folder and locking it, more than anything takes.
_UNLOCKED = 3600
# Of Linux's renameat2.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes a path's place if the block succeeds.

    It has the same name in a folder of its own, and is gone after the block, whatever happened. If
    the process is killed in the block, the next `replacing` of the same path removes it. InputError
    if the path is a folder, a device or a pipe, which no file may replace; its folder exists.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} exists and is no regular file; name another one")
    with staging(path) as folder:
        temporary = folder / path.name
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            yield temporary
        except OSError as error:
            # Python's message for a full disk names no file.
            if error.errno is not None and error.filename is None:
                error.filename = str(path)
            raise
        # Some writers put a file of their own there, which only its owner may read.
        temporary.chmod(mode)
        # Not before its content: a machine that goes down must not leave an empty file.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Path]:
    """A temporary folder beside a path, for what shall take its place; its parent exists.

    It is gone after the block, with whatever is in it then, and if the process is killed, when the
    path is staged for again.
    """
    prefix = f"{hidden_name(path.name)}."
    _clear(path.parent, prefix)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix, suffix=_SUFFIX))
    lock = None
    try:
        lock = try_lock(folder / _LOCK)
        yield folder
    finally:
        if lock is not None:
            # Before its file is removed: NFS keeps the names of open files.
            lock.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes a path's place if the block succeeds; see `take_place`.

    It has the same name in a temporary folder. The folders above the path are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with staging(path) as temporary:
        staged = temporary / path.name
        staged.mkdir()
        yield staged
        take_place(staged, path)


def append(path: Path, content: bytes) -> None:
    """Adds to a file all or nothing: after an OSError it is as long as before.

    No other process adds to it. It is made if it is missing.
    """
    try:
        with path.open("ab", buffering=0) as file:
            before, left = file.seek(0, os.SEEK_END), memoryview(content)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def clear_abandoned(folder: Path, *, held: bool = False) -> None:
    """Removes what killed processes left in a folder of `replacing` and `staging`.

    Subfolders are not looked at, and what a living process writes is left alone. `held` says that
    this process alone writes to the folder; then the plain files that earlier versions, or
    safetensors for them, left behind are removed too.
    """
    _clear(folder, ".")
    if held:
        for path in folder.glob(".*"):
            if path.is_file() and not path.is_symlink() and _is_former(path):
                path.unlink()


def _is_former(path: Path) -> bool:
    """Whether earlier versions of `replacing`, or safetensors for them, made a file."""
    if _OF_SAFETENSORS.fullmatch(path.name):
        with path.open("rb") as file:
            # The length of the header, and the header: JSON.
            return file.read(9)[8:] in (b"", b"{")
    return _OF_MKSTEMP.fullmatch(path.name) is not None


def _clear(parent: Path, prefix: str) -> None:
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            middle = entry.name.removeprefix(prefix).removesuffix(_SUFFIX)
            if (
                entry.name.startswith(prefix)
                and entry.name.endswith(_SUFFIX)
                and _RANDOM.fullmatch(middle if prefix != "." else middle[-8:])
                and entry.is_dir(follow_symlinks=False)
            ):
                _clear_if_abandoned(Path(entry))


def _clear_if_abandoned(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if not (folder / _LOCK).exists():
            # Its process is about to lock it, or died before it did.
            if time.time() - folder.stat().st_mtime > _UNLOCKED:
                shutil.rmtree(folder, ignore_errors=True)
            return
        lock = try_lock(folder / _LOCK)
        if lock is not None:
            # Otherwise it is of a block around this one.
            abandoned = lock.lock_counter == 1
            lock.release()
            if abandoned:
                shutil.rmtree(folder, ignore_errors=True)


def take_place(staged: Path, target: Path) -> None:
    """Renames a finished folder to its final name beside it, and deletes what had that name.

    Killed at any moment, one of the two is whole under the final name, or, where folders cannot
    be exchanged, for an instant the old one under the name that `standing` finds.
    """
    if not os.path.lexists(target):
        staged.rename(target)
        return
    replaced = staged
    if not _exchange(staged, target):
        replaced = target.parent / f"{REPLACED}{target.name}"
        if os.path.lexists(replaced):
            # Left by a replacement that was killed, before the target was made anew.
            remove(replaced)
        target.rename(replaced)
        try:
            staged.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
    # The new one stands: what cannot be deleted now is cleared at the next start.
    with contextlib.suppress(OSError):
        remove(replaced)


def standing(target: Path) -> Path:
    """Where a folder is now: the old one may have made room for a successor that never came."""
    kept = target.parent / f"{REPLACED}{target.name}"
    return kept if not target.exists() and kept.is_dir() else target


def put_back(folder: Path) -> None:
    """Ends replacements that were cut off: the old comes back, or goes if the new one stands.

    `folder` holds the targets, and is held by a lock.
    """
    for kept in folder.glob(f"{REPLACED}*"):
        target = folder / kept.name.removeprefix(REPLACED)
        if os.path.lexists(target):
            remove(kept)
        else:
            kept.rename(target)


def sync_folder(folder: Path) -> None:
    """Waits until the files of a folder are on the disk, so that a power cut cannot empty them.

    Those of its subfolders are left alone.
    """
    for path in (*(p for p in sorted(folder.iterdir()) if p.is_file()), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError:
            # Some network file systems cannot do this for a folder.
            if path != folder:
                raise
        finally:
            os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two entries change names in one step; False where the system cannot.

    Linux alone can (https://man7.org/linux/man-pages/man2/rename.2.html), on most of its file
    systems: POSIX renames a folder over an empty one only.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def remove(entry: Path) -> None:
    """Removes a file, a link (not what it leads to), or a folder with all that is in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
