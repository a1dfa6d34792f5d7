"""Looks through what a user named: finds the dataset's own folder in it, and the images below that.

Links are followed and no loop is met twice; whatever is left out is counted.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxreid.data.prepare.archives import Progress, extract_archive, is_archive
from jaxreid.data.prepare.report import LeftOut, add_left_out
from jaxreid.errors import InputError, reason_of

__all__ = [
    "LISTS_LAYOUT",
    "MARKET_LAYOUT",
    "NO_IMAGES",
    "READ_SUFFIXES",
    "UNLISTED",
    "VERI_LAYOUT",
    "Layout",
    "Walked",
    "entries_of",
    "find_root",
    "walk",
]

READ_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp")
"""How files of the formats that are read are named; case does not count."""

# Image formats that are not read; they are reported apart from files of other kinds.
_UNREAD_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".cr2", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico"),
        *(".j2k", ".jp2", ".jxl", ".nef", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd"),
        *(".qoi", ".raw", ".svg", ".tga", ".tif", ".tiff"),
    )
)

# Kinds of entries that are not read, as the summary names them.
_HIDDEN_FILE = "hidden files"
_HIDDEN_FOLDER = "hidden folders"
_NO_IMAGE = "files that are no images"
_BELOW = "images in subfolders, which this layout does not have"
_BROKEN = "links that lead nowhere"
_AGAIN = "links to folders that are read already, or lie above"
_SPECIAL = "pipes, sockets and devices"
UNLISTED = "images that no list names"
NO_IMAGES = (_HIDDEN_FILE, _NO_IMAGE)
"""Kinds of files that no image is among."""

_SHOWN = 10


class Layout(NamedTuple):
    """How to recognise a dataset's folder.

    Attributes:
        entries: what has to be in the folder; a tuple holds alternatives. Case does not count.
        name: what the folder itself has to be called; "" for anything.
    """

    entries: Sequence[tuple[str, ...]]
    name: str = ""


MARKET_LAYOUT = Layout((("bounding_box_train",), ("query",), ("bounding_box_test",)))
VERI_LAYOUT = Layout((("image_train",), ("image_query",), ("image_test",)))
LISTS_LAYOUT = Layout(
    (
        ("list_train.txt",),
        ("list_val.txt",),
        ("list_query.txt",),
        ("list_gallery.txt",),
        ("train", "mask_train_v2"),
        ("test", "mask_test_v2"),
    )
)


def entries_of(folder: Path) -> dict[str, Path]:
    """Lower-case name -> path of a folder's entries, so that case does not count."""
    return {entry.name.lower(): Path(entry) for entry in _listed(folder)}


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({reason_of(error)}); expected a folder that you may read"
        ) from None


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is an operating system's and not the dataset's, by its name."""
    # macOS leaves `._name` and `__MACOSX` in archives it packs.
    return name.startswith(".") or name == "__MACOSX"


def _is_root(folder: Path, layout: Layout) -> bool:
    if layout.name and folder.name.lower() != layout.name:
        return False
    found = entries_of(folder)
    return all(any(name in found for name in names) for names in layout.entries)


def _roots(folder: Path, layout: Layout, depth: int) -> list[Path]:
    if _is_root(folder, layout):
        return [folder]
    if depth == 0:
        return []
    subfolders = [
        path
        for path in map(Path, _listed(folder))
        if path.is_dir() and not _is_hidden(path.name) and os.access(path, os.R_OK | os.X_OK)
    ]
    return [root for sub in subfolders for root in _roots(sub, layout, depth - 1)]


def _distinct_roots(folder: Path, layout: Layout) -> list[Path]:
    """The dataset's folders, each once: a link beside it is no second one."""
    found: dict[tuple[int, int], Path] = {}
    for path in _roots(folder, layout, depth=3):
        status = path.stat()
        found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def _state(given: Path) -> str:
    """What is wrong with a path that should be a folder or an archive; "" if it is a folder."""
    try:
        if given.is_dir():
            return ""
        return "is a file, not a folder or archive" if given.exists() else "does not exist"
    except (OSError, ValueError) as error:  # a name that is too long, or has a null in it
        return f"cannot be a path ({reason_of(error)})"


def _contents(folder: Path) -> str:
    names = [entry.name for entry in _listed(folder)]
    if not names:
        return "is empty"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"has {', '.join(names[:_SHOWN])}{more}"


def find_root(
    given: Path,
    layout: Layout,
    *,
    expected: str,
    scratch: Path,
    progress: Progress,
    left_out: list[str] | None = None,
) -> Path:
    """Finds the dataset's own folder, and unpacks it first if only an archive is there.

    Args:
        given: what the user named: the dataset's folder, one that holds it (up to three levels
            up), an archive, or a folder with exactly one archive.
        layout: how to recognise the dataset's folder.
        expected: what should be there, in words, for messages.
        scratch: an empty folder to unpack into.
        progress: called while unpacking.
        left_out: gets the names of links to folders inside an archive, which are not followed.

    Raises:
        InputError: nothing is there, nothing fits, or more than one folder or archive fits.
    """
    if (state := _state(given)) and not (state.startswith("is a file") and is_archive(given)):
        raise InputError(f"{given} {state}; expected {expected}")
    if state:
        archives = [given]
    else:
        found = _distinct_roots(given, layout)
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{given} holds {len(found)} datasets of the same layout "
                f"({', '.join(str(path) for path in found[:_SHOWN])}); name the one to prepare"
            )
        archives = [
            p for p in map(Path, _listed(given)) if is_archive(p) and not _is_hidden(p.name)
        ]
        if not archives:
            raise InputError(f"{given} {_contents(given)}; expected {expected}")
        if len(archives) > 1:
            names = ", ".join(path.name for path in archives[:_SHOWN])
            raise InputError(f"{given} has {len(archives)} archives ({names}); name one of them")
    links = extract_archive(archives[0], scratch, progress=progress)
    if left_out is not None:
        left_out += links
    found = _distinct_roots(scratch, layout)
    if len(found) != 1:
        state = "holds more than one dataset" if found else _contents(scratch)
        raise InputError(f"{archives[0]}, unpacked, {state}; expected {expected}")
    return found[0]


@dataclass
class Walked:
    """What a folder holds.

    Attributes:
        names: paths of images below the folder, with `/` between their parts, sorted.
        left_out: kind -> entries that are not read.
    """

    names: list[str] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)


def _leave_out(walked: Walked, kind: str, example: str) -> None:
    add_left_out(walked.left_out, {kind: LeftOut(1, example)})


def _kind_of_file(name: str) -> str:
    """Why a file is not read; "" if it is."""
    suffix = os.path.splitext(name)[1].lower()
    if _is_hidden(name):
        return _HIDDEN_FILE
    if suffix in READ_SUFFIXES:
        return ""
    return (
        f"{suffix} images, a format that is not read" if suffix in _UNREAD_SUFFIXES else _NO_IMAGE
    )


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
                _leave_out(walked, _AGAIN, where + below.rstrip("/"))
                continue
            seen.add((status.st_dev, status.st_ino))
        for entry in _listed(folder):
            path = below + entry.name
            try:
                status = entry.stat()
            except OSError:
                if _kind_of_file(entry.name):
                    _leave_out(walked, _BROKEN, where + path)
                else:  # by its name an image: opening it will fail, and be reported
                    yield path, stat.S_IFREG, entry.name
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield path, stat.S_IFMT(status.st_mode), entry.name
            elif _is_hidden(entry.name):
                _leave_out(walked, _HIDDEN_FOLDER, where + path)
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
                kind = _SPECIAL
            if not kind and not recursive and "/" in path:
                kind = _BELOW
            if kind:
                _leave_out(walked, kind, f"{folder.name}/{path}")
            else:
                walked.names.append(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({reason_of(error)})") from None
    walked.names.sort()
    return walked
