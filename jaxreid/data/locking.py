"""One preparation at a time per folder, and nothing left of those that died."""

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxreid.errors import InputError

__all__ = ["INCOMPLETE", "exclusive"]

INCOMPLETE = "incomplete."
"""Prefix of unfinished folders and files, TFDS's own included; never read, cleared when found."""

_BUSY = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds a folder for one preparation, and clears what dead ones left in it.

    The lock goes with the process, however it ends.

    Args:
        folder: created if missing; its entries named `incomplete.*` are deleted.

    Returns:
        A context manager; the folder is held inside its block.

    Raises:
        InputError: another process prepares into this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".prepare.lock").open("wb") as lock:
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
        _clear(folder)
        yield


def _clear(folder: Path) -> None:
    for entry in folder.glob(f"{INCOMPLETE}*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
