"""Files and folders that appear whole or not at all, and nothing left of writers that died."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxreid.errors import InputError
from jaxreid.locks import hidden_name, try_lock

__all__ = ["append", "clear_abandoned", "replacing", "staging"]

_SUFFIX = ".part"
_LOCK = ".lock"
# mkdtemp's own; a name behind a name must not be taken for one.
_RANDOM = re.compile(r"[a-z0-9_]{8}")
_OF_MKSTEMP = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
_OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")
# Seconds between making a temporary folder and locking it, more than anything takes.
_UNLOCKED = 3600


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes a path's place if the block succeeds.

    Args:
        path: where the file shall be; its folder exists.

    Yields:
        The temporary path to write to, of the same name in a folder of its own; it is gone after
        the block, whatever happened. Where the process dies in the block, whoever writes to the
        path next removes it.

    Raises:
        InputError: the path is a folder, a device or a pipe, which no file may replace.
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
            # A full disk is told without a name.
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
    """A temporary folder beside a path, for what shall take its place.

    Args:
        path: of a file or folder to come; its parent exists.

    Yields:
        The temporary folder; it is gone after the block, with whatever is in it then, and if the
        process dies, when somebody stages for the path again.
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


def append(path: Path, content: bytes) -> None:
    """Adds to a file, all or nothing.

    Args:
        path: of the file, which nobody else adds to; made if it is missing.
        content: what is added.

    Raises:
        OSError: it could not be written, and the file is as long as before.
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
    """Removes what processes that died left behind of `replacing` and `staging`.

    Args:
        folder: what lies directly in it is looked at, and left alone where its process lives.
        held: whether this process alone writes to the folder; then what earlier versions and the
            libraries they called left as plain files goes too.
    """
    _clear(folder, ".")
    if held:
        for path in folder.glob(".*"):
            if path.is_file() and not path.is_symlink() and _is_former(path):
                path.unlink()


def _is_former(path: Path) -> bool:
    """Whether a file is one that earlier versions of `replacing`, or safetensors for them, made."""
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
