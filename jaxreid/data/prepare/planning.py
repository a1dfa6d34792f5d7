"""From listed images to what is written: every check, the validation people, labels, the report."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxreid.data.catalogue import Counts, DatasetCard
from jaxreid.data.prepare import checks
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.checks import TRAITS, Checked
from jaxreid.data.prepare.folders import Folders
from jaxreid.data.prepare.report import Options, PrepareReport, count_splits
from jaxreid.data.prepared import SplitIndex
from jaxreid.errors import InputError

__all__ = ["Plan", "Requirements", "hold_out_validation", "index_splits", "plan_dataset"]

_FRACTION = 0.1


class Requirements(NamedTuple):
    """What a dataset has to satisfy.

    Attributes:
        name: the dataset, with its config after a slash if it has one.
        card: its entry in the catalogue.
        counts: counts of the full dataset; None if any size is right.
        subset: accept fewer.
        skip_corrupt: leave out images that do not decode.
        upright: images are turned as their Exif orientation says when they are decoded.
        options: what the report keeps of the user's choices.
    """

    name: str
    card: DatasetCard
    counts: Counts | None
    subset: bool
    skip_corrupt: bool
    upright: bool
    options: Options


class Plan(NamedTuple):
    """What will be written.

    Attributes:
        images: split -> images that decode, in the order of the records; no split is empty.
        columns: split -> its columns, in the same order.
        report: for the user; its `directory` and `source` are still empty.
    """

    images: dict[str, list[Checked]]
    columns: dict[str, SplitIndex]
    report: PrepareReport


def _check_all_images(
    folders: Folders, *, skip_corrupt: bool, progress: Progress
) -> tuple[dict[str, list[Checked]], list[str]]:
    parts = {"train": folders.train, "query": folders.query, "gallery": folders.gallery}
    total = sum(map(len, parts.values()))
    good: dict[str, list[Checked]] = {}
    skipped: list[str] = []
    done = 0
    for part, files in parts.items():
        good[part], bad = checks.check_images(
            files, skip_corrupt=skip_corrupt, done=done, total=total, progress=progress
        )
        if not good[part]:
            raise InputError(
                f"none of the {len(files)} {part} images of {folders.root} can be decoded: {bad[0]}"
            )
        skipped += bad
        done += len(files)
    return good, skipped


def _remarks(good: dict[str, list[Checked]], *, upright: bool) -> tuple[int, tuple[str, ...]]:
    """How many images are stored rotated, and one sentence for each trait that was found."""
    found = Counter(trait for images in good.values() for image in images for trait in image.traits)
    sentences = {**TRAITS}
    sentences["rotated"] += (
        ", read upright (--orientation as-stored leaves them as they lie)"
        if upright
        else ", read as they lie"
    )
    return found["rotated"], tuple(
        f"{found[trait]:,} image{'s' if found[trait] > 1 else ''}: {text}"
        for trait, text in sentences.items()
        if found[trait]
    )


def plan_dataset(folders: Folders, required: Requirements, *, progress: Progress) -> Plan:
    """Checks a dataset and decides what is written, in which order, under which labels.

    InputError if it is not what it should be; nothing is written here.
    """
    checks.check_identities(folders)
    if required.counts:
        checks.check_counts(
            folders, required.counts, title=required.card.title, subset=required.subset
        )
    good, skipped = _check_all_images(
        folders, skip_corrupt=required.skip_corrupt, progress=progress
    )
    splits = hold_out_validation(good["train"])
    splits |= {"query": good["query"], "gallery": good["gallery"]}
    splits = {split: images for split, images in splits.items() if images}
    columns = index_splits(splits)
    lost_images, lost_identities = checks.unmatched_queries(
        [image.file for image in good["query"]], [image.file for image in good["gallery"]]
    )
    rotated, remarks = _remarks(good, upright=required.upright)
    report = PrepareReport(
        name=required.name,
        directory="",
        source="",
        options=required.options,
        splits=count_splits(columns),
        skipped_corrupt=tuple(skipped),
        ignored_files=folders.ignored,
        unmatched_query_images=lost_images,
        unmatched_query_identities=lost_identities,
        notice=required.card.notice,
        left_out=folders.left_out,
        cameras=folders.cameras or {},
        rotated_images=rotated,
        remarks=remarks,
    )
    return Plan(splits, columns, report)


def _rank(identity: int) -> bytes:
    # A hash instead of a random generator: whether a person is drawn does not depend on NumPy's
    # version, and hardly on who else is in the dataset.
    return hashlib.sha256(f"jaxreid validation {identity}".encode()).digest()


def _by_camera(images: Sequence[Checked]) -> dict[int, list[Checked]]:
    cameras: dict[int, list[Checked]] = {}
    for image in images:
        cameras.setdefault(image.file.name.camera, []).append(image)
    return cameras


def _query_of(images: Sequence[Checked]) -> list[Checked]:
    """One query per camera that keeps an image for the gallery, or else one query in all."""
    cameras = _by_camera(images)
    firsts = [shots[0] for _, shots in sorted(cameras.items()) if len(shots) > 1]
    return firsts or [cameras[min(cameras)][0]]


def hold_out_validation(
    train: Sequence[Checked], *, fraction: float = _FRACTION
) -> dict[str, list[Checked]]:
    """Sets some training people aside, as a small query and gallery of their own.

    A tenth of the people (at least one, and never all) is drawn by a hash of their number among
    those seen by two cameras or more. Each of their cameras with two images or more gives its
    first image as a query; if there is none, their first camera does. So every query has a match
    from another camera, and the choice depends on nothing but the file names.

    Returns `train`, `validation_query` and `validation_gallery`, each sorted by file name as the
    images were; the latter two are empty if nobody is seen by two cameras.
    """
    people: dict[int, list[Checked]] = {}
    for image in train:
        people.setdefault(image.file.name.identity, []).append(image)
    eligible = [i for i, images in people.items() if len(_by_camera(images)) > 1]
    wanted = min(max(1, round(fraction * len(people))), len(people) - 1)
    drawn = set(sorted(eligible, key=_rank)[:wanted])
    query = {image.file for i in sorted(drawn) for image in _query_of(people[i])}
    held_out = [image for image in train if image.file.name.identity in drawn]
    return {
        "train": [image for image in train if image.file.name.identity not in drawn],
        "validation_query": [image for image in held_out if image.file in query],
        "validation_gallery": [image for image in held_out if image.file not in query],
    }


def _contiguous(images: Sequence[Checked]) -> dict[int, int]:
    identities = sorted({image.file.name.identity for image in images})
    return {identity: label for label, identity in enumerate(identities)}


def index_splits(splits: Mapping[str, Sequence[Checked]]) -> dict[str, SplitIndex]:
    """The columns of every split, in the order of its images; `train` must be there.

    `label` counts the people of `train` from 0 by ascending identity and is -1 elsewhere;
    `label_all` does the same over all training people.
    """
    held_out = (*splits.get("validation_query", ()), *splits.get("validation_gallery", ()))
    label = _contiguous(splits["train"])
    label_all = _contiguous((*splits["train"], *held_out))

    def column(values: Sequence[int]) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    return {
        split: SplitIndex(
            identity=column([image.file.name.identity for image in images]),
            label=column([label.get(image.file.name.identity, -1) for image in images]),
            label_all=column([label_all.get(image.file.name.identity, -1) for image in images]),
            camera=column([image.file.name.camera for image in images]),
            sequence=column([image.file.name.sequence for image in images]),
            frame=column([image.file.name.frame for image in images]),
            checksum=column([image.checksum for image in images]),
            file_name=np.array([image.file.file_name for image in images], dtype=np.str_),
        )
        for split, images in splits.items()
    }
