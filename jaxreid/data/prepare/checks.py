"""What must hold of a dataset before a byte of it is written."""

import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxreid.data.catalogue import Counts
from jaxreid.data.decode import holds_16_bits, orientation_of
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.folders import Folders, ImageFile
from jaxreid.data.prepared import SplitIndex
from jaxreid.data.source import ReidSplit
from jaxreid.errors import InputError, reason_of
from jaxreid.processors import usable_processors

__all__ = [
    "TRAITS",
    "Checked",
    "check_counts",
    "check_identities",
    "check_images",
    "check_records",
    "count_folders",
    "examine",
    "unmatched_queries",
]

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # what prepared datasets may hold, as Pillow calls them

TRAITS: Mapping[str, str] = MappingProxyType(
    {
        "rotated": "stored rotated (Exif)",
        "deep": "16 bits per grey value, of which the upper eight are read",
        "dark": "less than a sixteenth of the 16 bits is used, so they are read as nearly black; "
        "scale them first",
        "alpha": "transparent parts, of which the colours are read and the transparency is not",
        "moving": "animated; the first picture is read",
    }
)
"""Property of an image that the report mentions -> its words, after "12 images: "."""

_DARK = 1 << 12  # of 16 bits
_SHOWN = 10


class Checked(NamedTuple):
    """An image that decodes.

    Attributes:
        file: where it is and what its name says.
        checksum: CRC-32 of its bytes.
        traits: keys of `TRAITS`.
    """

    file: ImageFile
    checksum: int
    traits: tuple[str, ...] = ()


def _identities(files: Iterable[ImageFile]) -> set[int]:
    return {file.name.identity for file in files}


def _listed(values: Iterable[object]) -> str:
    shown = [str(value) for value in islice(values, _SHOWN + 1)]
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")


def check_identities(folders: Folders) -> None:
    """Training people must not be tested on, and no identity may be a reserved number.

    InputError if training shares identities with query or gallery, or has fewer than two, or if a
    training or query image has identity 0 (distractor) or -1 (junk).
    """
    for where, files in (("training", folders.train), ("query", folders.query)):
        reserved = [file.file_name for file in files if file.name.identity <= 0]
        if reserved:
            raise InputError(
                f"{len(reserved)} {where} images of {folders.root} have identity 0 or -1: "
                f"{_listed(reserved)}; these mean distractor and junk, which only the gallery "
                "may have: number people from 1, or shift them (reid_folder: --first-identity 0)"
            )
    train = _identities(folders.train)
    if len(train) < 2:
        raise InputError(f"{folders.root} has one training identity; expected two or more")
    for where, files in (("query", folders.query), ("gallery", folders.gallery)):
        shared = sorted(train & _identities(files))
        if shared:
            raise InputError(
                f"{len(shared)} identities of {folders.root} are in both training and {where}: "
                f"{_listed(shared)}; expected splits without common identities"
            )


def count_folders(folders: Folders) -> Counts:
    """Counts a dataset as the catalogue does."""
    everything = (*folders.train, *folders.query, *folders.gallery)
    return Counts(
        train_images=len(folders.train),
        train_identities=len(_identities(folders.train)),
        query_images=len(folders.query),
        query_identities=len(_identities(folders.query)),
        gallery_images=len(folders.gallery),
        gallery_images_without_junk=sum(f.name.identity != -1 for f in folders.gallery),
        cameras=len({file.name.camera for file in everything}),
    )


def check_counts(folders: Folders, expected: Counts, *, title: str, subset: bool) -> None:
    """InputError if a count is not the full dataset's; with `subset`, if one is larger."""
    found = count_folders(folders)
    wrong = [
        f"{name.replace('_', ' ')}: {have:,} instead of {want:,}"
        for name, have, want in zip(
            vars(expected), vars(found).values(), vars(expected).values(), strict=True
        )
        if (have > want if subset else have != want)
    ]
    if wrong:
        hint = (
            "more than the full dataset has cannot be a subset of it"
            if subset
            else "complete the folder, or say --subset if fewer are meant"
        )
        raise InputError(f"{folders.root} is not the full {title}: {'; '.join(wrong)}; {hint}")


def _traits(picture: Image.Image) -> Sequence[str]:
    found = []
    if orientation_of(picture) != 1:
        found.append("rotated")
    if holds_16_bits(picture):
        found.append("deep")
        if 0 < np.asarray(picture).max() < _DARK:
            found.append("dark")
    elif picture.has_transparency_data and np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        found.append("alpha")
    if picture.format in ("PNG", "WEBP") and getattr(picture, "is_animated", False):
        found.append("moving")
    return found


def examine(data: bytes) -> tuple[str, Sequence[str]]:
    """(Why an image cannot be decoded, "" if it can; keys of `TRAITS`) of its encoded bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            picture.load()
            return "", _traits(picture)
    except UnidentifiedImageError:
        return ("not a JPEG, PNG, BMP or WebP image" if data else "empty file"), ()
    # Pillow's decoders raise many kinds of exceptions on broken bytes (OSError, SyntaxError,
    # ValueError, struct.error, DecompressionBombError...); all of them mean the same here.
    except Exception as error:
        return str(error) or type(error).__name__, ()


def _check(file: ImageFile) -> tuple[int, str, Sequence[str]]:
    try:
        data = file.path.read_bytes()
    except OSError as error:  # a dangling link, no permission, a failing disk
        return 0, f"cannot be read ({reason_of(error)})", ()
    return zlib.crc32(data), *examine(data)


def check_images(
    files: Sequence[ImageFile], *, skip_corrupt: bool, done: int, total: int, progress: Progress
) -> tuple[list[Checked], list[str]]:
    """Decodes the images of one folder: those that can be, and "path: fault" of the others.

    Without `skip_corrupt` the others are an InputError, which names the first ten. For `progress`,
    `done` images were checked before, of `total` in all.
    """
    good, bad = [], []
    # Pillow lets go of the interpreter lock while it decodes.
    with ThreadPoolExecutor(usable_processors()) as pool:
        for number, (file, result) in enumerate(
            zip(files, pool.map(_check, files), strict=True), start=1
        ):
            checksum, fault, traits = result
            if fault:
                bad.append(f"{file.path}: {fault}")
            else:
                good.append(Checked(file, checksum, tuple(traits)))
            progress("checking images", done + number, total)
    if bad and not skip_corrupt:
        raise InputError(
            f"{len(bad)} image{'s' if len(bad) > 1 else ''} cannot be decoded: "
            f"{'; '.join(bad[:_SHOWN])}{'; ...' if len(bad) > _SHOWN else ''}. "
            "Replace them, or leave them out with --skip-corrupt"
        )
    return good, bad


def unmatched_queries(query: Iterable[ImageFile], gallery: Iterable[ImageFile]) -> tuple[int, int]:
    """How many queries, of how many people, have no gallery image from another camera.

    They stay in the dataset, for protocols differ in what they do with them.
    """
    cameras: dict[int, set[int]] = {}
    for file in gallery:
        cameras.setdefault(file.name.identity, set()).add(file.name.camera)
    lost = [f for f in query if not cameras.get(f.name.identity, set()) - {f.name.camera}]
    return len(lost), len(_identities(lost))


def check_records(folder: Path, columns: Mapping[str, SplitIndex], *, progress: Progress) -> None:
    """Reads every record back: a write that failed in silence must not pass for data.

    OSError if a record does not hold the bytes of its file, by the checksums of `columns`.
    """
    for split, index in columns.items():
        written = ReidSplit(folder, split)
        for i, name in enumerate(index.file_name):
            try:
                written[i]  # compares the image with its checksum
            except InputError:
                raise OSError(
                    f"{split} record {i} ({name}) does not hold the bytes of its file: it was "
                    "changed meanwhile, or the disk is failing"
                ) from None
            progress(f"verifying {split}", i + 1, len(index))
