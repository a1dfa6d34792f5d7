"""One preparation at a time per folder, and nothing left of those that died."""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxreid.errors import InputError
from jaxreid.exchange import put_back

__all__ = ["INCOMPLETE", "clear_litter", "exclusive", "make_folder", "staging"]

INCOMPLETE = "incomplete."
"""Prefix of unfinished folders and files, TFDS's own included; never read, cleared when found."""

_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
# What was given cannot be a folder, or may not be written to: no fault of the run.
_UNUSABLE = (
    errno.EACCES,
    errno.EEXIST,
    errno.EINVAL,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
_HOUR = 3600


def make_folder(folder: Path, *, purpose: str) -> None:
    """Makes a folder and those above it.

    Args:
        folder: may exist.
        purpose: what it is for, for the message: "the dataset".

    Raises:
        InputError: something else has its name, or nobody may write there.
    """
    try:
        # Where records go, C++ takes the path: as UTF-8 or not at all.
        os.fspath(folder).encode()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number))
    except ValueError as error:  # a byte that is no Unicode, or a null
        raise InputError(f"{str(folder)!r} cannot name a folder ({error})") from None
    except OSError as error:
        raise _refused(folder, purpose, error) from None


def _refused(folder: Path, purpose: str, error: OSError) -> Exception:
    """The user's mistake in choosing a folder; or else the error itself, such as a full disk."""
    if error.errno not in _UNUSABLE:
        return error
    return InputError(
        f"{folder} cannot hold {purpose} ({error.strerror}); expected a folder to write to, or one "
        "that can be made"
    )


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds a folder for one preparation, and clears what dead ones left in it.

    The lock goes with the process, however it ends.

    Args:
        folder: created if missing; its entries named `incomplete.*` are deleted, and what made
            room for a successor that never came is put back.

    Returns:
        A context manager; the folder is held inside its block.

    Raises:
        InputError: another process prepares into this folder, or it cannot be written to.
    """
    make_folder(folder, purpose="the dataset")
    with _lock_file(folder / ".prepare.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                raise InputError(
                    f"another process is preparing a dataset in {folder}; wait for it to end"
                ) from None
            # Some cluster file systems have no locks. Then nothing tells a dead preparation's
            # folder from a live one's, so nothing is cleared.
            yield
            return
        put_back(folder)
        for entry in folder.glob(f"{INCOMPLETE}*"):
            _delete(entry)
        _clear_settings(folder.parent / ".config")
        yield


def clear_litter(folder: Path) -> None:
    """Clears what dead preparations left beside what is prepared, where that can be done.

    Args:
        folder: left as it is if somebody prepares into it, or if nobody may write to it.
    """
    with contextlib.suppress(InputError, OSError):
        if any(folder.glob(f"{INCOMPLETE}*")):
            with exclusive(folder):
                pass


def _lock_file(path: Path) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as error:
        if error.errno not in (*_UNUSABLE, errno.EISDIR):
            raise
        raise InputError(
            f"{path} cannot be written ({error.strerror}); expected a folder of your own"
        ) from None


def _clear_settings(folder: Path) -> None:
    """Deletes what TFDS left of writing the name of a dataset's default config.

    All configs share the folder and none holds it; but TFDS writes 40 bytes there and renames.
    """
    for entry in folder.glob(f"{INCOMPLETE}*"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > _HOUR:
                _delete(entry)


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


@contextlib.contextmanager
def staging(folder: Path, name: str) -> Iterator[Path]:
    """A folder to fill beside the one it will become; those of processes that died are deleted.

    Args:
        folder: holds both.
        name: of the one that it will become; only what was begun for it is deleted.

    Yields:
        An empty folder, held until the block ends; it is gone then, whatever happened.
    """
    prefix = f"{INCOMPLETE}{name[:60]}."
    for entry in folder.iterdir():
        # By name, not by a pattern: what users call their folders may look like one.
        if entry.name.startswith(prefix) and entry.is_dir() and not entry.is_symlink():
            with _held(entry) as dead:
                if dead:
                    shutil.rmtree(entry, ignore_errors=True)
    while True:
        try:
            temporary = tempfile.TemporaryDirectory(
                dir=folder, prefix=prefix, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise _refused(folder, name, error) from None
        with temporary as made, _held(Path(made)) as mine:
            # Another one, if between the two lines another process took it for a dead one's.
            if mine is not False:
                yield Path(made)
                return


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool | None]:
    """Locks a folder itself; False if it is another process's or gone, None without locks."""
    handle = -1
    held: bool | None = False
    try:
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
        if handle >= 0:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except OSError as error:
                held = False if error.errno in _BUSY else None
        yield held
    finally:
        if handle >= 0:
            os.close(handle)
