"""One preparation at a time per folder, and nothing left of those that were killed."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from jaxreid.errors import InputError, is_of_the_disk, reason_of
from jaxreid.files import put_back, remove
from jaxreid.locks import try_lock

__all__ = ["INCOMPLETE", "LONGEST_NAME", "clear_unfinished", "exclusive", "make_folder", "unusable"]

INCOMPLETE = "incomplete."
"""Prefix of unfinished folders and files, TFDS's own included; never read, cleared when found."""

LONGEST_NAME = 255
"""Bytes of a file's name, on nearly every file system."""

_HOUR = 3600


def make_folder(folder: Path, *, purpose: str) -> None:
    """Makes a folder and those above it, for a `purpose` such as "the dataset".

    InputError if something else has its name, or it cannot be written to; OSError if the disk is
    full or broken.
    """
    try:
        # Libraries in C++ take the path as UTF-8 or not at all.
        os.fspath(folder).encode()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number))
    except ValueError as error:  # a byte that is no Unicode, or a null
        raise InputError(f"{str(folder)!r} cannot name a folder ({error})") from None
    except OSError as error:
        raise unusable(folder, purpose, error) from None


def unusable(folder: Path, purpose: str, error: OSError) -> Exception:
    """What to raise where a folder cannot be written to: an InputError, or the disk's own error."""
    if is_of_the_disk(error):
        return error
    return InputError(
        f"{folder} cannot hold {purpose} ({reason_of(error)}); expected a folder to write to, or "
        "one that can be made"
    )


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds a folder for one preparation, and clears what killed ones left in it.

    The folder is made if it is missing. Its entries named `incomplete.*` are deleted, and a dataset
    that made room for a successor that never came is put back. InputError if another process
    prepares into it, or it cannot be written to; OSError if the disk is full or broken.
    """
    make_folder(folder, purpose="the dataset")
    path = folder / ".prepare.lock"
    try:
        lock = try_lock(path)
    except OSError as error:
        if is_of_the_disk(error):
            raise
        raise InputError(
            f"{path} cannot be written ({reason_of(error)}); expected a folder of your own"
        ) from None
    if lock is None or lock.lock_counter > 1:
        if lock is not None:
            lock.release()
        raise InputError(f"another process is preparing a dataset in {folder}; wait for it to end")
    try:
        put_back(folder)
        for entry in folder.glob(f"{INCOMPLETE}*"):
            remove(entry)
        _clear_settings(folder.parent / ".config")
        yield
    finally:
        lock.release()


def clear_unfinished(folder: Path) -> None:
    """Removes what killed preparations left beside a prepared dataset, where that can be done.

    Not where another process prepares into the folder, nor where it is read-only.
    """
    with contextlib.suppress(InputError, OSError):
        if any(folder.glob(f"{INCOMPLETE}*")):
            with exclusive(folder):
                pass


def _clear_settings(folder: Path) -> None:
    """Deletes what TFDS left of writing the name of a dataset's default config.

    All configs share the folder and none holds it; but TFDS writes 40 bytes there and renames.
    """
    for entry in folder.glob(f"{INCOMPLETE}*"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > _HOUR:
                remove(entry)
