"""Lists of nearest items: for many rows, and for a few queries as the protocol sees them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxreid.checks import check_count
from jaxreid.constants import Distance
from jaxreid.ranking.arguments import Progress, check_sets
from jaxreid.ranking.frames import Frame, embedded_rows, precision, too_close
from jaxreid.types import Array, Embedded

__all__ = ["Neighbours", "nearest", "top_items"]

# 1,024 x 8,192 distances are 32 MB.
_ROWS, _COLUMNS = 1024, 8192
# Gallery items whose distances to a few queries are taken at a time.
_BLOCK = 1024


class Neighbours(NamedTuple):
    """The nearest items of each row.

    Attributes:
        indices: [n,k] positions of the items, nearest first.
        distances: [n,k] float64 squared distances.
        furthest: [n] float64 squared distance to the furthest item.
    """

    indices: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    furthest: Float[np.ndarray, " n"]


@partial(jax.jit, static_argnames="k")
def _nearest_of_rows(
    rows: Float[Array, "n D"], items: Float[Array, "blocks columns D"], count: Array, *, k: int
) -> tuple[Float[Array, "n k"], Int[Array, "n k"], Float[Array, " n"]]:
    """Top k of `rows` among the first `count` of `items`."""

    def merge(
        best: tuple[Array, Array, Array], block: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array, Array], None]:
        distances, indices, furthest = best
        features, positions = block
        products = jnp.matmul(rows, features.T, precision=jax.lax.Precision.HIGHEST)
        squares = jnp.sum(jnp.square(features), axis=1)
        new = jnp.maximum(own[:, None] + squares[None, :] - 2 * products, 0)
        here = positions < count
        furthest = jnp.maximum(furthest, jnp.max(jnp.where(here, new, 0), axis=1))
        everything = jnp.concatenate([distances, jnp.where(here, new, jnp.inf)], axis=1)
        # top_k prefers the first of equals, and earlier blocks come first: ties go by index.
        closeness, chosen = jax.lax.top_k(-everything, k)
        held = jnp.take_along_axis(indices, jnp.minimum(chosen, k - 1), axis=1)
        names = jnp.where(chosen < k, held, positions[0] + chosen - k)
        return (-closeness, names, furthest), None

    own = jnp.sum(jnp.square(rows), axis=1)
    blocks = items.shape[0]
    positions = jnp.arange(blocks * _COLUMNS, dtype=jnp.int32).reshape(blocks, _COLUMNS)
    nothing = (
        jnp.full((rows.shape[0], k), jnp.inf, rows.dtype),
        jnp.zeros((rows.shape[0], k), jnp.int32),
        jnp.zeros(rows.shape[0], rows.dtype),
    )
    (distances, indices, furthest), _ = jax.lax.scan(merge, nothing, (items, positions))
    return distances, indices, furthest


def _nearest(
    rows: Float[np.ndarray, "n D"],
    items: Float[np.ndarray, "N D"],
    k: int,
    progress: Progress | None,
) -> Neighbours:
    """The k nearest items of every row, in the dtype of the rows."""
    blocks = -(-len(items) // _COLUMNS)
    padded = np.pad(items, [(0, blocks * _COLUMNS - len(items)), (0, 0)])
    on_device = jnp.asarray(padded.reshape(blocks, _COLUMNS, -1))
    parts = []
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        full = np.pad(part, [(0, _ROWS - len(part)), (0, 0)])
        found = jax.device_get(_nearest_of_rows(jnp.asarray(full), on_device, len(items), k=k))
        parts.append([x[: len(part)] for x in found])
        if progress is not None:
            progress(start + len(part), len(rows))
    distances, indices, furthest = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Neighbours(indices, distances.astype(np.float64), furthest.astype(np.float64))


def nearest(
    features: Callable[[np.dtype], Float[np.ndarray, "all D"]],
    dtype: np.dtype,
    rows: slice,
    items: slice,
    k: int,
    progress: Progress | None = None,
) -> Neighbours:
    """The k nearest items of every row, by squared Euclidean distance.

    Rows with a neighbour (but themselves) that is too close for float32 are looked at in float64.

    Args:
        features: dtype -> rows and items together, in that dtype.
        dtype: float32 or float64.
        rows: which of the features, from the first one.
        items: which of the features; positions are counted among them.
        k: neighbours of each row.
        progress: called with (rows done, all of them).
    """
    own, others = features(dtype)[rows], features(dtype)[items]
    with precision(dtype):
        found = _nearest(own, others, k, progress)
    if dtype == np.float64:
        return found
    squared = np.einsum("nd,nd->n", own, own)
    itself = found.indices + (items.start or 0) == np.arange(len(own))[:, None]
    close = np.flatnonzero(np.any(~itself & too_close(found.distances, squared[:, None]), axis=1))
    if len(close):
        wide = features(np.dtype(np.float64))
        with precision(wide.dtype):
            better = _nearest(wide[rows][close], wide[items], k, progress)
        for part, exact in zip(found, better, strict=True):
            part[close] = exact
    return found


def top_items(
    query: Embedded, gallery: Embedded, *, count: int, distance: Distance
) -> tuple[Int[np.ndarray, "E K"], Float[np.ndarray, "E K"]]:
    """The first items of the rankings of a few queries, as the protocol sees them.

    Junk is left out, and so are images of the query's identity from the query's camera.

    Args:
        query: features [E,D], identities and cameras [E]; few, for all distances are held.
        gallery: features [N,D], identities and cameras [N].
        count: items of each list.
        distance: "euclidean" or "cosine".

    Returns:
        Positions in the gallery [E,K] int64 and distances [E,K] float32 in the unit of the
        distance; K is count, or fewer if a query has fewer items to rank.

    Raises:
        InputError: on wrong shapes or dtypes, an empty query set or gallery, a gallery of junk
            only, an unknown distance, or a count below 1.
    """
    check_sets(query, gallery, distance)
    check_count("count", count, least=1)
    distances = _distances(query, gallery, distance)
    left_out = _left_out(query, gallery)
    distances[left_out] = np.inf
    width = min(count, int((~left_out).sum(axis=1).min()))
    first = np.argsort(distances, axis=1, kind="stable")[:, :width]
    return first, np.take_along_axis(distances, first, axis=1)


def _left_out(query: Embedded, gallery: Embedded) -> Bool[np.ndarray, "E N"]:
    identities, cameras = (np.asarray(x) for x in (gallery.identities, gallery.cameras))
    same = identities == np.asarray(query.identities)[:, None]
    return (identities == -1) | (same & (cameras == np.asarray(query.cameras)[:, None]))


def _distances(query: Embedded, gallery: Embedded, distance: Distance) -> Float[np.ndarray, "E N"]:
    """Distances from differences, in float32: right wherever the features lie."""
    frame = Frame(distance, np.dtype(np.float64), scaled=distance == "cosine")
    queries, items = np.asarray(query.features), gallery.features
    squared = np.empty((len(queries), len(items)))
    for start in range(0, len(items), _BLOCK):
        part = embedded_rows(np.asarray(items[start : start + _BLOCK]), frame)
        for row, found in enumerate(embedded_rows(queries, frame)):
            squared[row, start : start + len(part)] = np.square(part - found).sum(axis=1)
    if distance == "euclidean":
        return np.sqrt(squared).astype(np.float32)
    zero = ~np.any(queries, axis=1)[:, None] | ~np.any(np.asarray(items), axis=1)
    return np.where(zero, 1, squared / 2).astype(np.float32)
