"""Some images of a split, as a split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError

__all__ = ["Subset", "evenly_spaced"]


class Subset:
    """Some images of a split, in the order given: a ReidSource itself.

    Args:
        source: the split, N images.
        indices: [n] integer positions in it.
    """

    def __init__(self, source: ReidSource, indices: np.ndarray) -> None:
        self._source, self._indices = source, np.asarray(indices, np.int64)
        self.identities = np.asarray(source.identities)[self._indices]
        self.labels = np.asarray(source.labels)[self._indices]
        self.cameras = np.asarray(source.cameras)[self._indices]
        names = source.file_names
        self.file_names: Sequence[str] = tuple(names[i] for i in self._indices.tolist())

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[int(self._indices[index])]


def evenly_spaced(count: int, limit: int | None) -> np.ndarray:
    """Positions spread over a list: splits are sorted by person, and a quick look wants many.

    Args:
        count: length of the list.
        limit: how many to take at most; None for all.

    Returns:
        int64 [min(count, limit)], ascending.

    Raises:
        InputError: limit is below 1.
    """
    if limit is None or limit >= count:
        return np.arange(count)
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    return np.arange(limit) * count // limit
