"""From listed images to what is written: every check, the validation split, the report."""

from collections import Counter
from typing import NamedTuple

from jaxreid.data.catalogue import Counts, DatasetCard
from jaxreid.data.prepare import checks
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.checks import TRAITS, Checked
from jaxreid.data.prepare.folders import Folders
from jaxreid.data.prepare.holdout import hold_out_validation, index_splits
from jaxreid.data.prepare.report import Options, PrepareReport, count_splits
from jaxreid.data.read.index import SplitIndex
from jaxreid.errors import InputError

__all__ = ["Demands", "Plan", "plan_dataset"]


class Demands(NamedTuple):
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


def plan_dataset(folders: Folders, demands: Demands, *, progress: Progress) -> Plan:
    """Checks a dataset and decides what is written, in which order, under which labels.

    InputError if it is not what it should be; nothing is written here.
    """
    checks.check_identities(folders)
    if demands.counts:
        checks.check_counts(
            folders, demands.counts, title=demands.card.title, subset=demands.subset
        )
    good, skipped = _check_all_images(folders, skip_corrupt=demands.skip_corrupt, progress=progress)
    splits = hold_out_validation(good["train"])
    splits |= {"query": good["query"], "gallery": good["gallery"]}
    splits = {split: images for split, images in splits.items() if images}
    columns = index_splits(splits)
    lost_images, lost_identities = checks.unmatched_queries(
        [image.file for image in good["query"]], [image.file for image in good["gallery"]]
    )
    rotated, remarks = _remarks(good, upright=demands.upright)
    report = PrepareReport(
        name=demands.name,
        directory="",
        source="",
        options=demands.options,
        splits=count_splits(columns),
        skipped_corrupt=tuple(skipped),
        ignored_files=folders.ignored,
        unmatched_query_images=lost_images,
        unmatched_query_identities=lost_identities,
        notice=demands.card.notice,
        left_out=folders.left_out,
        cameras=folders.cameras or {},
        rotated_images=rotated,
        remarks=remarks,
    )
    return Plan(splits, columns, report)
