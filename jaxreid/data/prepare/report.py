"""What preparing a dataset found: kept beside the records, shown to the user."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxreid.data.prepared import SplitIndex
from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing

__all__ = [
    "LeftOut",
    "Options",
    "PrepareReport",
    "SplitCounts",
    "add_left_out",
    "count_splits",
    "read_report",
]

_REPORT_FILE = "prepare_report.json"

Options = dict[str, bool | int | str]
"""Options of a preparation that shape the content: subset, skip_corrupt, pattern, first_camera."""

_SHOWN = 40
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class LeftOut:
    """Entries of one kind that are not read.

    Attributes:
        count: how many.
        example: the path of one of them, from the dataset's folder.
    """

    count: int
    example: str


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
        options: those of the builder that shape the content.
        splits: split -> its counts.
        skipped_corrupt: "path: fault" of each image left out.
        ignored_files: files of the image folders that are no images by their name.
        unmatched_query_images: queries without a gallery match from another camera.
        unmatched_query_identities: people with such a query.
        notice: a warning that goes with the dataset; "" if there is none.
        left_out: kind -> entries of the image folders that were not read, `ignored_files` among
            them.
        cameras: camera -> its number from 0, where file names give cameras in words.
        rotated_images: images whose Exif orientation is not upright.
        remarks: further properties of the images, one sentence each; see `checks.TRAITS`.
    """

    name: str
    directory: str
    source: str
    options: Options
    splits: Mapping[str, SplitCounts]
    skipped_corrupt: tuple[str, ...]
    ignored_files: int
    unmatched_query_images: int
    unmatched_query_identities: int
    notice: str
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    cameras: Mapping[str, int] = field(default_factory=dict)
    rotated_images: int = 0
    remarks: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Writes the report into the folder of the records."""
        values = dataclasses.asdict(self)
        text = json.dumps(values, indent=2, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # a path with bytes that are no UTF-8
            text = json.dumps(values, indent=2)
        with replacing(folder / _REPORT_FILE) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def add_left_out(total: dict[str, LeftOut], more: Mapping[str, LeftOut]) -> None:
    """Adds `more` to `total`, of which the examples that were there first stay."""
    for kind, entries in more.items():
        had = total.get(kind, LeftOut(0, entries.example))
        total[kind] = LeftOut(had.count + entries.count, had.example)


def count_splits(splits: Mapping[str, SplitIndex]) -> dict[str, SplitCounts]:
    """Counts what each split holds."""
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
    """Reads what `PrepareReport.write` wrote; InputError if it is missing or damaged."""
    path = folder / _REPORT_FILE
    try:
        report = _from_json(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:  # nested 10,000 deep, an array for an object, a byte too much...
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); expected a dataset that "
            "'jaxreid data prepare' made: prepare it again with --force"
        ) from None
    # The folder may have been moved or mounted elsewhere since.
    return dataclasses.replace(report, directory=str(folder))


def _typed(value: Any, kind: type[_Value], name: str) -> _Value:
    if type(value) is not kind:
        raise ValueError(f"{name} is {str(value)[:_SHOWN]!r}; expected {kind.__name__}")
    typed: _Value = value
    return typed


def _from_json(content: object) -> PrepareReport:
    values: dict[str, Any] = dict(_typed(content, dict, "the report"))
    for name, cls in (("splits", SplitCounts), ("left_out", LeftOut)):
        parts = _typed(values.get(name, {}), dict, name)
        values[name] = {key: cls(**_typed(part, dict, name)) for key, part in parts.items()}
        for part in values[name].values():
            for attribute, value in vars(part).items():
                _typed(value, str if attribute == "example" else int, f"{name}, {attribute}")
    for name in ("skipped_corrupt", "remarks"):
        lines = _typed(values.get(name, []), list, name)
        values[name] = tuple(_typed(line, str, name) for line in lines)
    report = PrepareReport(**values)
    for name in ("name", "directory", "source", "notice"):
        _typed(getattr(report, name), str, name)
    for name in ("ignored_files", "unmatched_query_images", "unmatched_query_identities"):
        _typed(getattr(report, name), int, name)
    _typed(report.rotated_images, int, "rotated_images")
    _typed(report.options, dict, "options")
    for camera, number in _typed(report.cameras, dict, "cameras").items():
        _typed(number, int, f"cameras, {camera}")
    if not report.splits:
        raise ValueError("it has no splits")
    return report
