"""What must hold of a dataset before a byte of it is written."""

import os
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from jaxreid.data.archives import Progress
from jaxreid.data.catalogue import Counts
from jaxreid.data.folders import Folders, ImageFile
from jaxreid.data.pictures import examine
from jaxreid.errors import InputError

__all__ = [
    "Checked",
    "Unmatched",
    "check_counts",
    "check_identities",
    "check_images",
    "count_folders",
    "unmatched_queries",
]

_SHOWN = 10


class Checked(NamedTuple):
    """An image that decodes.

    Attributes:
        file: where it is and what its name says.
        checksum: CRC-32 of its bytes.
        traits: what is worth telling of it; keys of `jaxreid.data.pictures.TRAITS`.
    """

    file: ImageFile
    checksum: int
    traits: tuple[str, ...] = ()


class Unmatched(NamedTuple):
    """Queries that no gallery image of their identity from another camera answers.

    Attributes:
        images: how many query images.
        identities: how many people have such a query.
    """

    images: int
    identities: int


def _identities(files: Iterable[ImageFile]) -> set[int]:
    return {file.name.identity for file in files}


def _listed(values: Iterable[object]) -> str:
    shown = [str(value) for value in islice(values, _SHOWN + 1)]
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")


def check_identities(folders: Folders) -> None:
    """Checks that training people are not tested on, and that nobody wears a reserved number.

    Args:
        folders: the dataset.

    Raises:
        InputError: training shares identities with query or gallery, or has fewer than two; a
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
    """Counts a dataset as the catalogue does.

    Args:
        folders: the dataset.

    Returns:
        Its counts.
    """
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
    """Compares a dataset with its published counts.

    Args:
        folders: the dataset.
        expected: the counts of the full dataset.
        title: its name, for the message.
        subset: accept fewer of anything.

    Raises:
        InputError: a count differs; with `subset`, a count is larger.
    """
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


def _check(file: ImageFile) -> tuple[int, str, Sequence[str]]:
    try:
        data = file.path.read_bytes()
    except OSError as error:  # a dangling link, no permission, a failing disk
        return 0, f"cannot be read ({error.strerror or error})", ()
    return zlib.crc32(data), *examine(data)


def check_images(
    files: Sequence[ImageFile], *, skip_corrupt: bool, done: int, total: int, progress: Progress
) -> tuple[list[Checked], list[str]]:
    """Decodes every image once.

    Args:
        files: the images of one folder.
        skip_corrupt: leave out what does not decode instead of raising.
        done: images checked before, for `progress`.
        total: images to check in all, for `progress`.
        progress: called after each image.

    Returns:
        The images that decode, and "path: fault" of those left out.

    Raises:
        InputError: images do not decode and `skip_corrupt` is off; the first ten are named.
    """
    good, bad = [], []
    # Pillow lets go of the interpreter lock while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
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


def unmatched_queries(query: Iterable[ImageFile], gallery: Iterable[ImageFile]) -> Unmatched:
    """Counts queries that cannot be answered: no image of their identity from another camera.

    Args:
        query: query images.
        gallery: gallery images.

    Returns:
        How many images and identities; they stay in the dataset, protocols differ in what they
        do with them.
    """
    cameras: dict[int, set[int]] = {}
    for file in gallery:
        cameras.setdefault(file.name.identity, set()).add(file.name.camera)
    lost = [f for f in query if not cameras.get(f.name.identity, set()) - {f.name.camera}]
    return Unmatched(len(lost), len(_identities(lost)))
