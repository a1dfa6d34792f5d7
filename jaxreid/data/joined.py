"""Several datasets as one: more people to learn from."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxreid.data.source import ReidSource, open_split
from jaxreid.errors import InputError

__all__ = ["JoinedSplits", "open_splits"]

# Folders of one's own differ by their config; elsewhere configs are other images of one's people.
_OWN = "reid_folder"


class JoinedSplits:
    """Training splits of several datasets as one `ReidSource`, in which no two share a person.

    Labels, identities above 0 and cameras of each count on from where those of the one before
    end; those of the first are as they were.

    Args:
        splits: name of the dataset -> its split.

    Raises:
        InputError: there is none, or an image of one has no label.

    Attributes:
        identities: int64 [N]; N images of the first, then of the second, ...
        labels: int64 [N], contiguous from 0.
        cameras: int64 [N], from 0.
        file_names: N names, NAME/FILE.
    """

    def __init__(self, splits: Mapping[str, ReidSource]) -> None:
        if not splits:
            raise InputError("splits: expected one at least")
        for name, split in splits.items():
            if len(split) and np.min(split.labels) < 0:
                raise InputError(f"{name}: images without a label; expected a training split")
        self._names, self._parts = tuple(splits), tuple(splits.values())
        parts = self._parts
        self._ends = np.cumsum([len(part) for part in parts])
        self._before = {
            column: np.cumsum([0, *(_count(getattr(part, column)) for part in parts[:-1])])
            for column in ("identities", "labels", "cameras")
        }
        self.identities = self._column("identities")
        self.labels = self._column("labels")
        self.cameras = self._column("cameras")
        self.file_names: tuple[str, ...] = tuple(
            f"{name}/{file}"
            for name, part in zip(self._names, parts, strict=True)
            for file in part.file_names
        )

    def _column(self, name: str) -> np.ndarray:
        parts = zip(self._parts, self._before[name], strict=True)
        return np.concatenate([_moved(np.asarray(getattr(p, name)), by, name) for p, by in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self!r} has no image {index}")
        place = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[place]
        example = part[index - int(self._ends[place]) + len(part)]
        own = {"identity": self.identities, "label": self.labels, "camera": self.cameras}
        columns = {name: int(values[index]) for name, values in own.items()}
        return {**example, **columns, "file_name": self.file_names[index]}

    def __repr__(self) -> str:
        return f"JoinedSplits({', '.join(self._names)}): {len(self)} images"


def open_splits(
    names: Sequence[str], split: str, *, data_dir: str | os.PathLike[str] | None = None
) -> ReidSource:
    """Opens the same split of one or several prepared datasets.

    Args:
        names: as in `open_split`; no two may hold the same people.
        split: `train` or `train_all`; of a single dataset any of `SPLITS`.
        data_dir: as in `open_split`.

    Returns:
        What `open_split` gives for one name, JoinedSplits for several.

    Raises:
        InputError: two of them are configs of one dataset; one is not prepared, or has no such
            split.
    """
    seen: dict[str, str] = {}
    for name in names:
        base = name.partition("/")[0]
        key = name if base == _OWN else base
        if key in seen:
            raise InputError(
                f"{seen[key]} and {name} hold the same people, who would be learned as different "
                "ones; name one of them"
            )
        seen[key] = name
    splits = {name: open_split(name, split, data_dir=data_dir) for name in names}
    return JoinedSplits(splits) if len(splits) > 1 else next(iter(splits.values()))


def _count(column: np.ndarray) -> int:
    """How many values a column counts through, from 0."""
    return int(np.max(column, initial=-1)) + 1


def _moved(column: np.ndarray, by: int, name: str) -> np.ndarray:
    # 0 and -1 are nobody: distractors and junk.
    return np.where(column > 0, column + by, column) if name == "identities" else column + by
