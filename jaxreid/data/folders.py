"""Lists the images of a dataset's folder."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxreid.data.filenames import ImageName, parse_name
from jaxreid.data.layouts import entries_of, is_hidden
from jaxreid.errors import InputError

__all__ = ["Folders", "ImageFile", "scan_folders", "scan_lists"]

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_SHOWN = 10


class ImageFile(NamedTuple):
    """One image of a dataset on disk.

    Attributes:
        path: where its bytes are.
        file_name: path below the split's folder, with `/` between its parts.
        name: the numbers its name says.
    """

    path: Path
    file_name: str
    name: ImageName


@dataclass
class Folders:
    """What a dataset's folders hold, before anything is judged.

    Attributes:
        train: all training images, by file name.
        query: query images, by file name.
        gallery: gallery images, junk and distractors included, by file name.
        ignored: files that are no images (by their suffix).
        root: the dataset's folder.
    """

    train: list[ImageFile]
    query: list[ImageFile]
    gallery: list[ImageFile]
    root: Path
    ignored: int = field(default=0)


def _image_files(folder: Path, *, recursive: bool) -> tuple[list[str], int]:
    names: list[str] = []
    ignored = 0

    def fail(error: OSError) -> None:
        raise error

    # os.walk skips folders it cannot read unless told otherwise.
    for parent, subfolders, files in os.walk(folder, onerror=fail):
        subfolders[:] = sorted(s for s in subfolders if recursive and not is_hidden(s))
        for file in files:
            if is_hidden(file) or not file.lower().endswith(_IMAGE_SUFFIXES):
                ignored += 1
            else:
                names.append((Path(parent) / file).relative_to(folder).as_posix())
    return sorted(names), ignored


def _raise_unparsed(bad: Sequence[str], where: Path, pattern: re.Pattern[str]) -> None:
    shown = ", ".join(repr(name) for name in bad[:_SHOWN])
    more = ", ..." if len(bad) > _SHOWN else ""
    raise InputError(
        f"{len(bad)} file name{'s' if len(bad) > 1 else ''} in {where} cannot be read: "
        f"{shown}{more}; expected names that match {pattern.pattern}, with identity >= -1 and "
        "cameras counted from the first one"
    )


def _parse_all(
    names: Iterable[str],
    folder: Path,
    pattern: re.Pattern[str],
    *,
    first_camera: int,
    where: Path,
) -> list[ImageFile]:
    images, bad = [], []
    for name in names:
        parsed = parse_name(name, pattern, first_camera=first_camera)
        if parsed is None:
            bad.append(name)
        else:
            images.append(ImageFile(folder / name, name, parsed))
    if bad:
        _raise_unparsed(bad, where, pattern)
    return images


def scan_folders(
    root: Path, pattern: re.Pattern[str], *, first_camera: int = 1, recursive: bool = False
) -> Folders:
    """Lists the images of a dataset in Market's layout.

    Args:
        root: the folder with `bounding_box_train`, `query` and `bounding_box_test`.
        pattern: the grammar of its file names.
        first_camera: the number of the first camera in names.
        recursive: whether images may lie in subfolders.

    Returns:
        The images of the three folders, sorted by file name.

    Raises:
        InputError: a folder has no images, or names do not parse (the first ten are listed).
    """
    children = entries_of(root)
    splits, ignored = [], 0
    for entry in ("bounding_box_train", "query", "bounding_box_test"):
        folder = children[entry]
        names, others = _image_files(folder, recursive=recursive)
        if not names:
            raise InputError(f"{folder} has no .jpg, .jpeg or .png file; expected images in it")
        splits.append(_parse_all(names, folder, pattern, first_camera=first_camera, where=folder))
        ignored += others
    return Folders(splits[0], splits[1], splits[2], root, ignored)


def _read_list(path: Path) -> list[tuple[str, int]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdecimal():
            raise InputError(
                f"{path}, line {number}: {line!r}; expected an image's path and its identity, "
                "such as '0000/0000_000_01_0303morning_0008_0.jpg 0'"
            )
        if Path(parts[0]).is_absolute() or ".." in Path(parts[0]).parts:
            raise InputError(f"{path}, line {number}: {parts[0]!r} leaves the image folder")
        entries.append((parts[0], int(parts[1])))
    if not entries:
        raise InputError(f"{path} lists no images; expected one path and identity per line")
    return entries


def scan_lists(
    root: Path, pattern: re.Pattern[str], *, renumber: Callable[[str, int], int]
) -> Folders:
    """Lists the images of a dataset in MSMT17's layout (V1 and V2).

    Args:
        root: the folder with the four lists.
        pattern: the grammar of its file names.
        renumber: ("train" or "test", identity in the list) -> identity.

    Returns:
        The listed images, sorted by file name; training is `list_train` and `list_val` together.

    Raises:
        InputError: a line or name does not parse, or a listed image is not there.
    """
    children = entries_of(root)

    def images(lists: Sequence[str], side: str) -> list[ImageFile]:
        folder = children.get(f"mask_{side}_v2") or children[side]
        labels: dict[str, int] = {}
        for name in lists:
            labels.update(_read_list(children[name]))
        where = children[lists[0]]
        files = _parse_all(sorted(labels), folder, pattern, first_camera=1, where=where)
        missing = [file.file_name for file in files if not file.path.is_file()]
        if missing:
            shown = ", ".join(missing[:_SHOWN])
            raise InputError(
                f"{len(missing)} images listed in {where} are not in {folder}: {shown}"
                f"{', ...' if len(missing) > _SHOWN else ''}"
            )
        return [
            file._replace(name=file.name._replace(identity=renumber(side, labels[file.file_name])))
            for file in files
        ]

    return Folders(
        images(("list_train.txt", "list_val.txt"), "train"),
        images(("list_query.txt",), "test"),
        images(("list_gallery.txt",), "test"),
        root,
    )
