"""Scores: numbers that order the gallery like distances do, made of one matrix product each.

Trap: a match's score and the scores it is compared with come from products of different shapes,
whose rounding may differ. So products have sides that are multiples of ALIGN, for which XLA's CPU
products are bitwise the same in every shape.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.ranking.frames import Frame, padded, padded_rows
from jaxreid.ranking.protocol import Matches
from jaxreid.types import Array, ArrayLike

__all__ = [
    "ALIGN",
    "CHUNK",
    "RowTerms",
    "match_scores",
    "row_terms",
    "scores_of",
]

# Products with sides that are multiples of this are bitwise independent of their shape on CPU.
ALIGN = 128
# Queries scored against their matches, and counted, at a time: a multiple of ALIGN, and small
# enough for 128 x 1,024 scores to stay in the cache while every match reads them.
CHUNK = 128
# Most gallery items gathered at a time: 8,192 x 2,048 x 4 bytes are 67 MB.
_ITEMS = 8192


class RowTerms(NamedTuple):
    """What turns products into scores: ``score(q, n) = offset_n - scale_n q . g_n``.

    Within one query, scores are ordered like distances; the query's own norm changes nothing.
    """

    scale: np.ndarray  # [N]
    offset: np.ndarray  # [N], infinite for items that take no part


def row_terms(squared: np.ndarray, zero: np.ndarray, kept: np.ndarray, frame: Frame) -> RowTerms:
    """Scale and offset of every item.

    Args:
        squared: [N] squared norms of the rows in the frame.
        zero: [N] boolean, whether a row is zero: its cosine distance to everything is 1.
        kept: [N] boolean, which items take part.
        frame: see `Frame`.

    Returns:
        RowTerms with scale [N] and offset [N] in the dtype of the frame.
    """
    scale, offset = np.ones_like(squared), squared / 2
    if frame.distance == "cosine":
        if frame.centre is None:
            norm = np.sqrt(squared)
            scale = np.divide(1, norm, where=norm > 0, out=np.zeros_like(norm))
            offset = np.zeros_like(squared)
        else:
            # Half the squared distance of two rows of unit length is 1 - cos, and 1/2 if one is 0.
            offset = offset + np.where(zero, squared.dtype.type(0.5), 0)
    return RowTerms(scale, np.where(kept, offset, np.inf).astype(squared.dtype))


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
    queries: np.ndarray, gallery: ArrayLike, frame: Frame, terms: RowTerms, matches: Matches
) -> np.ndarray:
    """Scores of the matches, from products of each chunk of queries with all its matches.

    Args:
        queries: [Q,D] in the frame; neighbouring rows should share identities.
        gallery: [N,D] floating point, not yet in the frame.
        frame: see `Frame`.
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
            found = _scores_of_items(
                queries[rows], gallery, frame, terms, part, (columns - first) * here
            )
            scores[rows] = np.where(here, found, scores[rows])
    return scores


def _scores_of_items(
    queries: np.ndarray,
    gallery: ArrayLike,
    frame: Frame,
    terms: RowTerms,
    items: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Scores [q,M] of items[columns] for up to CHUNK queries [q,D]."""
    # Powers of two: a handful of compilations whatever the identities look like.
    size = max(ALIGN, 1 << (len(items) - 1).bit_length())
    padding = (0, size - len(items))
    scores = _scores_at(
        padded(queries, CHUNK),
        padded_rows(gallery, items, size, frame),
        np.pad(terms.scale[items], padding),
        np.pad(terms.offset[items], padding),
        np.pad(columns, [(0, CHUNK - len(columns)), (0, 0)]),
    )
    return np.asarray(scores)[: len(columns)]
