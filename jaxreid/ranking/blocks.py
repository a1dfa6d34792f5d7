"""Distances of pairs of a query and a gallery item, block by block, and which pairs show whom."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxreid.constants import Distance
from jaxreid.distances import pairwise_cosine, pairwise_euclidean
from jaxreid.errors import InputError
from jaxreid.ranking.protocol import retrievable
from jaxreid.types import Embedded

__all__: list[str] = []  # for this package only

# Distances at a time: 64 MB in float32.
_CELLS = 1 << 24
_BETWEEN = {"euclidean": pairwise_euclidean, "cosine": pairwise_cosine}


class Block(NamedTuple):
    """Some queries against the whole gallery.

    Attributes:
        rows: their positions among the queries.
        distances: [b,N] in the unit of the distance.
        own: boolean [b,N], items of the query's identity, by any camera.
        apart: boolean [b,N], whether another camera than the query's took the item.
        kept: boolean [1,N], everything but junk.
    """

    rows: slice
    distances: Float[np.ndarray, "b N"]
    own: Bool[np.ndarray, "b N"]
    apart: Bool[np.ndarray, "b N"]
    kept: Bool[np.ndarray, "1 N"]


def blocks(
    query: Embedded, gallery: Embedded, *, distance: Distance, cells: int = _CELLS
) -> Iterator[Block]:
    """Distances of all pairs, in blocks of queries of about `cells` distances.

    A distance depends on its query and the gallery, never on the other queries of its block.
    """
    kept = retrievable(gallery.identities)[None]
    people, cameras = np.asarray(gallery.identities)[None], np.asarray(gallery.cameras)[None]
    count, items = query.features.shape[0], gallery.features.shape[0]
    size = min(max(1, cells // items), count)
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        # The last block starts earlier, so that all have one shape and one program.
        whole = slice(rows.stop - size, rows.stop)
        between = _BETWEEN[distance](query.features[whole], gallery.features)
        own = np.asarray(query.identities[rows])[:, None] == people
        apart = np.asarray(query.cameras[rows])[:, None] != cameras
        yield Block(rows, np.asarray(between)[start - whole.start :], own, apart, kept)


def refuse_nonfinite(query: Embedded, gallery: Embedded) -> None:
    """Raises InputError where features hold NaN or infinity."""
    for name, part in (("query", query), ("gallery", gallery)):
        if not np.isfinite(np.asarray(part.features)).all():
            raise InputError(f"{name}.features must be finite, got NaN or infinity")
