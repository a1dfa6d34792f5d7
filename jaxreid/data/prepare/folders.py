"""Lists the images of a dataset's folder."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxreid.data.prepare.filenames import ImageName, Numbering, camera_words, read_name
from jaxreid.data.prepare.finding import (
    MARKET_LAYOUT,
    NO_IMAGES,
    READ_SUFFIXES,
    UNLISTED,
    Layout,
    Walked,
    entries_of,
    walk,
)
from jaxreid.data.prepare.report import LeftOut, add_left_out
from jaxreid.errors import InputError, reason_of

__all__ = ["Folders", "ImageFile", "scan_folders", "scan_lists"]

_SHOWN = 10
_REASONS = 3
_LINE = 200
_DIGITS = 18  # of an identity in a list: more do not fit into 64 bits


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
    """What a dataset's folders hold, before anything is checked.

    Attributes:
        train: all training images, by file name.
        query: query images, by file name.
        gallery: gallery images, junk and distractors included, by file name.
        root: the dataset's folder.
        left_out: kind -> entries that are not read.
        cameras: camera in words -> camera from 0; None where names number them.
    """

    train: list[ImageFile]
    query: list[ImageFile]
    gallery: list[ImageFile]
    root: Path
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    cameras: dict[str, int] | None = None

    @property
    def ignored(self) -> int:
        """Files that are no images (by their name)."""
        return sum(self.left_out[kind].count for kind in NO_IMAGES if kind in self.left_out)


def _raise_unparsed(bad: Sequence[tuple[str, str]], where: Path) -> None:
    """Says for each reason which names it holds for."""
    names: dict[str, list[str]] = {}
    for name, reason in bad:
        names.setdefault(reason, []).append(name)
    parts = []
    for reason, these in list(names.items())[:_REASONS]:
        shown = ", ".join(repr(name) for name in these[: _SHOWN // min(len(names), _REASONS)])
        more = ", ..." if len(these) > _SHOWN // min(len(names), _REASONS) else ""
        parts.append(f"{shown}{more}: {reason}")
    more = "; ..." if len(names) > _REASONS else ""
    raise InputError(
        f"{len(bad)} file name{'s' if len(bad) > 1 else ''} in {where} cannot be read: "
        f"{'; '.join(parts)}{more}"
    )


def _parse_all(
    names: Iterable[str],
    folder: Path,
    pattern: re.Pattern[str],
    *,
    numbering: Numbering,
    where: Path,
) -> list[ImageFile]:
    images, bad = [], []
    for name in names:
        parsed = read_name(name, pattern, numbering)
        if isinstance(parsed, str):
            bad.append((name, parsed))
        else:
            images.append(ImageFile(folder / name, name, parsed))
    if bad:
        _raise_unparsed(bad, where)
    return images


def _raise_empty(folder: Path, walked: Walked) -> None:
    others = "; ".join(
        f"it has {entries.count} {kind} ({entries.example})"
        for kind, entries in walked.left_out.items()
    )
    raise InputError(
        f"{folder} has no {', '.join(READ_SUFFIXES[:-1])} or {READ_SUFFIXES[-1]} file"
        f"{'; ' + others if others else ''}; expected images in it"
    )


def scan_folders(
    root: Path,
    pattern: re.Pattern[str],
    *,
    layout: Layout = MARKET_LAYOUT,
    first_camera: int = 1,
    first_identity: int = 1,
    recursive: bool = False,
) -> Folders:
    """Lists the images of a dataset of three folders, sorted by file name.

    `layout` names the folders of training, query and gallery images, in this order. Cameras and
    people are counted from `first_camera` and `first_identity` in names. Where `recursive`, images
    may lie in subfolders. InputError if a folder has no images, or names do not parse (ten are
    listed).
    """
    children = entries_of(root)
    found: dict[Path, Walked] = {}
    left_out: dict[str, LeftOut] = {}
    for (entry,) in layout.entries:
        folder = children[entry]
        found[folder] = walk(folder, recursive=recursive)
        if not found[folder].names:
            _raise_empty(folder, found[folder])
        add_left_out(left_out, found[folder].left_out)
    words = camera_words((name for walked in found.values() for name in walked.names), pattern)
    if words is not None and first_camera != 1:
        raise InputError(
            f"--first-camera {first_camera} says what cameras are counted from, and those of "
            f"{root} are words: {', '.join(list(words)[:_SHOWN])}"
        )
    numbering = Numbering(first_camera, first_identity, words)
    splits = [
        _parse_all(walked.names, folder, pattern, numbering=numbering, where=folder)
        for folder, walked in found.items()
    ]
    return Folders(splits[0], splits[1], splits[2], root, left_out, words)


def _read_list(path: Path) -> dict[str, int]:
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected a list of images and identities")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)})") from None
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}", parts[1]) is None:
            raise InputError(
                f"{path}, line {number}: {line[:_LINE]!r}; expected an image's path and its "
                "identity, such as '0000/0000_000_01_0303morning_0008_0.jpg 0'"
            )
        name, identity = parts[0], int(parts[1])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path}, line {number}: {name!r} leaves the image folder")
        if entries.setdefault(name, identity) != identity:
            raise InputError(
                f"{path}, line {number}: {name!r} has identity {identity}, and {entries[name]} "
                "in a line before"
            )
    if not entries:
        raise InputError(f"{path} lists no images; expected one path and identity per line")
    return entries


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system holds
        return False


def scan_lists(
    root: Path, pattern: re.Pattern[str], *, renumber: Callable[[str, int], int]
) -> Folders:
    """Lists the images of a dataset in MSMT17's layout (V1 and V2), sorted by file name.

    Training is `list_train` and `list_val` together. `renumber` makes an identity of ("train" or
    "test", the number in the list). InputError if a line or name does not parse, or a listed image
    is not there.
    """
    children = entries_of(root)

    def side_of(side: str) -> Path:
        return children.get(f"mask_{side}_v2") or children[side]

    def images(lists: Sequence[str], side: str) -> list[ImageFile]:
        folder = side_of(side)
        labels: dict[str, int] = {}
        for name in lists:
            for image, identity in _read_list(children[name]).items():
                if labels.setdefault(image, identity) != identity:
                    raise InputError(
                        f"{root}: {image!r} has identity {identity} in {name}, and "
                        f"{labels[image]} in {lists[0]}"
                    )
        where = children[lists[0]]
        files = _parse_all(sorted(labels), folder, pattern, numbering=Numbering(), where=where)
        missing = [file.file_name for file in files if not _is_file(file.path)]
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

    train = images(("list_train.txt", "list_val.txt"), "train")
    query = images(("list_query.txt",), "test")
    gallery = images(("list_gallery.txt",), "test")
    left_out: dict[str, LeftOut] = {}
    for side, files in (("train", train), ("test", [*query, *gallery])):
        _add_unlisted(left_out, side_of(side), {file.file_name for file in files})
    return Folders(train, query, gallery, root, left_out)


def _add_unlisted(left_out: dict[str, LeftOut], folder: Path, listed: set[str]) -> None:
    """Counts what a folder has beside the images of its lists."""
    walked = walk(folder, recursive=True)
    unlisted = [name for name in walked.names if name not in listed]
    if unlisted:
        example = f"{folder.name}/{unlisted[0]}"
        add_left_out(walked.left_out, {UNLISTED: LeftOut(len(unlisted), example)})
    add_left_out(left_out, walked.left_out)
