"""Walks a split's folder: follows links, meets no loop twice, and counts whatever it leaves out."""

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxreid.data.prepare.layouts import is_hidden
from jaxreid.errors import InputError, reason_of

__all__ = [
    "NO_IMAGES",
    "READ_SUFFIXES",
    "UNLISTED",
    "LeftOut",
    "Walked",
    "add_left_out",
    "shown",
    "walk",
]

READ_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp")
"""How files of the formats that are read are named; case does not count."""

# Other image formats: no rubbish, but not read either.
_UNREAD_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".cr2", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico"),
        *(".j2k", ".jp2", ".jxl", ".nef", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd"),
        *(".qoi", ".raw", ".svg", ".tga", ".tif", ".tiff"),
    )
)

HIDDEN_FILE = "hidden files"
HIDDEN_FOLDER = "hidden folders"
NO_IMAGE = "files that are no images"
BELOW = "images in subfolders, which this layout does not have"
BROKEN = "links that lead nowhere"
AGAIN = "links to folders that are read already, or lie above"
SPECIAL = "pipes, sockets and devices"
UNLISTED = "images that no list names"
NO_IMAGES = (HIDDEN_FILE, NO_IMAGE)
"""Kinds of files that no image is among."""


@dataclass(frozen=True)
class LeftOut:
    """Entries of one kind that are not read.

    Attributes:
        count: how many.
        example: the path of one of them, from the dataset's folder.
    """

    count: int
    example: str


@dataclass
class Walked:
    """What a folder holds.

    Attributes:
        names: paths of images below the folder, with `/` between their parts, sorted.
        left_out: kind -> entries that are not read.
    """

    names: list[str] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)


def add_left_out(total: dict[str, LeftOut], more: Mapping[str, LeftOut]) -> None:
    """Adds `more` to `total`, of which the examples that were there first stay."""
    for kind, entries in more.items():
        had = total.get(kind, LeftOut(0, entries.example))
        total[kind] = LeftOut(had.count + entries.count, had.example)


def _leave_out(walked: Walked, kind: str, example: str) -> None:
    add_left_out(walked.left_out, {kind: LeftOut(1, example)})


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:  # os.walk would pass over it
        raise InputError(
            f"{folder} cannot be read ({reason_of(error)}); expected a folder with images"
        ) from None


def _kind_of_file(name: str) -> str:
    """Why a file is not read; "" if it is."""
    suffix = os.path.splitext(name)[1].lower()
    if is_hidden(name):
        return HIDDEN_FILE
    if suffix in READ_SUFFIXES:
        return ""
    return f"{suffix} images, a format that is not read" if suffix in _UNREAD_SUFFIXES else NO_IMAGE


def _files(top: Path, walked: Walked, *, where: str) -> Iterator[tuple[str, int, str]]:
    """Every entry that is no folder, as (path below the top, its type, name); folders once."""
    seen = set()
    # A link to a folder above would bring in the other splits, and then this one again.
    for above in {top, *top.absolute().parents, *top.resolve().parents}:
        status = above.stat()
        seen.add((status.st_dev, status.st_ino))
    # Linked folders wait until all others are read: one that is there under its own name and as a
    # link is read under its own.
    waiting, linked = deque([("", top)]), deque[tuple[str, Path, os.stat_result]]()
    while waiting or linked:
        if waiting:
            below, folder = waiting.popleft()
        else:
            below, folder, status = linked.popleft()
            if (status.st_dev, status.st_ino) in seen:
                _leave_out(walked, AGAIN, where + below.rstrip("/"))
                continue
            seen.add((status.st_dev, status.st_ino))
        for entry in _entries(folder):
            path = below + entry.name
            try:
                status = entry.stat()
            except OSError:
                if _kind_of_file(entry.name):
                    _leave_out(walked, BROKEN, where + path)
                else:  # by its name an image: opening it will fail, and be reported
                    yield path, stat.S_IFREG, entry.name
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield path, stat.S_IFMT(status.st_mode), entry.name
            elif is_hidden(entry.name):
                _leave_out(walked, HIDDEN_FOLDER, where + path)
            elif entry.is_symlink():
                linked.append((path + "/", Path(entry.path), status))
            else:
                seen.add((status.st_dev, status.st_ino))
                waiting.append((path + "/", Path(entry.path)))


def walk(folder: Path, *, recursive: bool) -> Walked:
    """Lists the images of an existing folder by their names; none is opened.

    Links are followed, to files and folders. A folder that is reached again, by a link to it or to
    one above, is read once. If not `recursive`, images in subfolders are left out. InputError if a
    folder cannot be read.
    """
    walked = Walked()
    try:
        for path, type_, name in _files(folder, walked, where=f"{folder.name}/"):
            kind = _kind_of_file(name)
            if not kind and type_ != stat.S_IFREG:
                kind = SPECIAL
            if not kind and not recursive and "/" in path:
                kind = BELOW
            if kind:
                _leave_out(walked, kind, f"{folder.name}/{path}")
            else:
                walked.names.append(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({reason_of(error)})") from None
    walked.names.sort()
    return walked


def shown(name: str) -> str:
    r"""A name with `\x1b`, `\udcff` and the like in place of what a terminal cannot print.

    Bytes of a name that are no UTF-8 are lone surrogates in it.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
