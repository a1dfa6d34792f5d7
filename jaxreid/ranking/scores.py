"""Scores: numbers that order the gallery like distances do, made of one matrix product each.

Trap: a match's score and the scores it is compared with come from products of different shapes,
whose rounding may differ. So products have sides that are multiples of ALIGN, for which XLA's CPU
products are bitwise the same in every shape.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.ranking.protocol import Matches
from jaxreid.types import Array, ArrayLike

__all__ = [
    "ALIGN",
    "CHUNK",
    "Distance",
    "RowTerms",
    "match_scores",
    "padded_rows",
    "row_terms",
    "scores_of",
]

Distance = Literal["euclidean", "cosine"]

# Products with sides that are multiples of this are bitwise independent of their shape on CPU.
ALIGN = 128
# Queries scored against their matches, and counted, at a time: a multiple of ALIGN, and small
# enough for 128 x 1,024 scores to stay in the cache while every match reads them.
CHUNK = 128
# Most gallery items gathered at a time: 8,192 x 2,048 x 4 bytes are 67 MB.
_ITEMS = 8192
# Rows whose norms are taken at a time.
_NORMS = 1024


class RowTerms(NamedTuple):
    """What turns products into scores: ``score(q, n) = offset_n - scale_n q . g_n``.

    Within one query, scores are ordered like distances; the query's own norm changes nothing.
    """

    scale: np.ndarray  # [N]
    offset: np.ndarray  # [N], infinite for items that take no part


def padded_rows(x: ArrayLike, index: slice | np.ndarray, size: int, dtype: np.dtype) -> ArrayLike:
    """Rows of x, padded with zeros: a view where it can be.

    Args:
        x: [N,D] floating point.
        index: which rows.
        size: how many rows to return, at least as many as index names.
        dtype: what to compute in.

    Returns:
        [size,D], NumPy if x is.
    """
    part = x[index]
    numpy = np if isinstance(part, np.ndarray) else jnp
    part = part.astype(dtype, copy=False) if isinstance(part, np.ndarray) else part.astype(dtype)
    missing = size - part.shape[0]
    return numpy.pad(part, [(0, missing), (0, 0)]) if missing else part


@partial(jax.jit, static_argnames="distance")
def _terms_of_block(block: Array, *, distance: Distance) -> tuple[Array, Array]:
    squared = jnp.sum(jnp.square(block), axis=1)
    if distance == "euclidean":
        return jnp.ones_like(squared), squared / 2
    norm = jnp.sqrt(squared)
    # 0 * squared is 0, or NaN where a feature is not finite: the caller looks at the offset.
    return jnp.where(norm > 0, 1 / norm, 0), 0 * squared


def row_terms(features: ArrayLike, dtype: np.dtype, distance: Distance, name: str) -> RowTerms:
    """Scale and offset of every item, from blocks of one shape: every use sees the same bits.

    Args:
        features: [N,D] floating point.
        dtype: what to compute in.
        distance: "euclidean" or "cosine".
        name: of the argument, for the message.

    Returns:
        RowTerms with scale [N] and offset [N].

    Raises:
        InputError: if a feature is NaN or infinite.
    """
    parts = [
        jax.device_get(
            _terms_of_block(
                padded_rows(features, slice(i, i + _NORMS), _NORMS, dtype), distance=distance
            )
        )
        for i in range(0, features.shape[0], _NORMS)
    ]
    scale, offset = (np.concatenate(part)[: features.shape[0]] for part in zip(*parts, strict=True))
    if not np.isfinite(offset).all():
        first = int(np.argmin(np.isfinite(offset)))
        raise InputError(
            f"{name}.features must be finite; row {first} is the first that holds NaN or infinity"
        )
    return RowTerms(scale, offset)


def scores_of(queries: Array, features: ArrayLike, scale: ArrayLike, offset: ArrayLike) -> Array:
    """Scores of gallery items for each query, the smaller the closer, in full precision.

    Args:
        queries: [Q,D] floating point.
        features: [N,D] floating point.
        scale: [N], see `RowTerms`.
        offset: [N], see `RowTerms`.

    Returns:
        [Q,N] in the dtype of the queries.
    """
    products = jax.lax.dot_general(
        queries, features, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.asarray(offset) - scale * products


@jax.jit
def _scores_at(
    queries: Array, features: Array, scale: Array, offset: Array, columns: Array
) -> Array:
    return jnp.take_along_axis(scores_of(queries, features, scale, offset), columns, axis=1)


def match_scores(
    queries: np.ndarray, gallery: ArrayLike, terms: RowTerms, matches: Matches
) -> np.ndarray:
    """Scores of the matches, from products of each chunk of queries with all its matches.

    Args:
        queries: [Q,D] floating point; neighbouring rows should share identities.
        gallery: [N,D] floating point.
        terms: scale and offset [N].
        matches: indices and mask [Q,M] in the order of the queries.

    Returns:
        [Q,M] scores in the dtype of the queries; meaningless in padding.
    """
    scores = np.zeros(matches.indices.shape, queries.dtype)
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, min(start + CHUNK, len(queries)))
        items, columns = np.unique(matches.indices[rows], return_inverse=True)
        columns = columns.reshape(rows.stop - rows.start, -1)
        # In parts, so that an identity with very many images does not fill the memory.
        for first in range(0, len(items), _ITEMS):
            part = items[first : first + _ITEMS]
            here = (columns >= first) & (columns < first + len(part))
            found = _scores_of_items(queries[rows], gallery, terms, part, (columns - first) * here)
            scores[rows] = np.where(here, found, scores[rows])
    return scores


def _scores_of_items(
    queries: np.ndarray,
    gallery: ArrayLike,
    terms: RowTerms,
    items: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Scores [q,M] of items[columns] for up to CHUNK queries [q,D]."""
    # Powers of two: a handful of compilations whatever the identities look like.
    size = max(ALIGN, 1 << (len(items) - 1).bit_length())
    padding = (0, size - len(items))
    scores = _scores_at(
        padded_rows(queries, slice(None), CHUNK, queries.dtype),
        padded_rows(gallery, items, size, queries.dtype),
        np.pad(terms.scale[items], padding),
        np.pad(terms.offset[items], padding),
        np.pad(columns, [(0, CHUNK - len(columns)), (0, 0)]),
    )
    return np.asarray(scores)[: len(columns)]
