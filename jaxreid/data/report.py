"""What preparing a dataset found: kept beside the records, shown to the user."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxreid.data.index import SplitIndex
from jaxreid.errors import InputError
from jaxreid.files import replacing

__all__ = ["REPORT_FILE", "PrepareReport", "SplitCounts", "count_splits", "read_report"]

REPORT_FILE = "prepare_report.json"


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split.

    Attributes:
        images: all of them.
        identities: people, so neither distractors nor junk.
        cameras: cameras with at least one image.
        distractors: images with identity 0.
        junk: images with identity -1.
    """

    images: int
    identities: int
    cameras: int
    distractors: int
    junk: int


@dataclass(frozen=True)
class PrepareReport:
    """What was prepared, from what, and what was left out.

    Attributes:
        name: the dataset, with its config after a slash if it has one.
        directory: the folder of the records.
        source: the folder or archive it was made from; "" if it was generated.
        options: options that shape the content (subset, skip_corrupt, pattern, first_camera).
        splits: split -> its counts.
        skipped_corrupt: "path: fault" of each image left out.
        ignored_files: files of the image folders that are no images by their suffix.
        unmatched_query_images: queries without a gallery match from another camera.
        unmatched_query_identities: people with such a query.
        notice: a warning that goes with the dataset; "" if there is none.
    """

    name: str
    directory: str
    source: str
    options: Mapping[str, Any]
    splits: Mapping[str, SplitCounts]
    skipped_corrupt: tuple[str, ...]
    ignored_files: int
    unmatched_query_images: int
    unmatched_query_identities: int
    notice: str

    def write(self, folder: Path) -> None:
        """Writes the report into a folder.

        Args:
            folder: the folder of the records.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"
        with replacing(folder / REPORT_FILE) as temporary:
            temporary.write_text(text, encoding="utf-8")


def count_splits(splits: Mapping[str, SplitIndex]) -> dict[str, SplitCounts]:
    """Counts what each split holds.

    Args:
        splits: split -> its columns.

    Returns:
        split -> its counts.
    """
    return {
        split: SplitCounts(
            images=len(index),
            identities=int(np.count_nonzero(np.unique(index.identity) > 0)),
            cameras=len(np.unique(index.camera)),
            distractors=int(np.count_nonzero(index.identity == 0)),
            junk=int(np.count_nonzero(index.identity == -1)),
        )
        for split, index in splits.items()
    }


def read_report(folder: Path) -> PrepareReport:
    """Reads what `PrepareReport.write` wrote.

    Args:
        folder: the folder of the records.

    Returns:
        The report.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / REPORT_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["splits"] = {s: SplitCounts(**counts) for s, counts in values["splits"].items()}
        values["skipped_corrupt"] = tuple(values["skipped_corrupt"])
        # The folder may have been moved or mounted elsewhere since.
        values["directory"] = str(folder)
        return PrepareReport(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); expected a dataset that 'jaxreid data prepare' made"
        ) from None
