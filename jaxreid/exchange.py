"""Puts a finished folder in the place of another: at no moment is there neither."""

import contextlib
import ctypes
import os
import shutil
from pathlib import Path

__all__ = ["REPLACED", "put_back", "standing", "sync_folder", "take_place"]

REPLACED = "replaced."
"""Prefix of a folder that makes room for its successor, where folders cannot be exchanged."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _exchange(one: Path, other: Path) -> bool:
    """Lets two entries change names in one step; False where the system cannot.

    Linux alone can (https://man7.org/linux/man-pages/man2/rename.2.html), on most of its file
    systems: POSIX renames a folder over an empty one only.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def take_place(staged: Path, target: Path) -> None:
    """Renames a finished folder to its final name, in place of what has that name.

    Killed at any moment, one of the two is whole under the final name, or, where folders cannot
    be exchanged, for an instant the old one under the name that `standing` finds.

    Args:
        staged: the finished folder, beside the target; gone afterwards.
        target: its final name; what was there is deleted once it is replaced.
    """
    if not os.path.lexists(target):
        staged.rename(target)
        return
    replaced = staged
    if not _exchange(staged, target):
        replaced = target.parent / f"{REPLACED}{target.name}"
        if os.path.lexists(replaced):
            # Left by a replacement that was cut off, before somebody made a new target.
            _remove(replaced)
        target.rename(replaced)
        try:
            staged.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
    # The new one stands: what cannot be deleted now is cleared at the next start.
    with contextlib.suppress(OSError):
        _remove(replaced)


def standing(target: Path) -> Path:
    """Where a folder is now, if its replacement may have been cut off.

    Args:
        target: its final name.

    Returns:
        The same, or the old folder that made room for a successor that never came.
    """
    kept = target.parent / f"{REPLACED}{target.name}"
    return kept if not target.exists() and kept.is_dir() else target


def put_back(folder: Path) -> None:
    """Ends replacements that were cut off: the old comes back, or goes if the new one stands.

    Args:
        folder: holds the targets; held by a lock.
    """
    for kept in folder.glob(f"{REPLACED}*"):
        target = folder / kept.name.removeprefix(REPLACED)
        if os.path.lexists(target):
            _remove(kept)
        else:
            kept.rename(target)


def sync_folder(folder: Path) -> None:
    """Waits until the files of a folder are on the disk, so that a power cut cannot empty them.

    Args:
        folder: with files in it; its subfolders are left alone.
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
