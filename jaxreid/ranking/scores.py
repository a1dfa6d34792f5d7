"""Scores that order the gallery as distances do, and counts of the items below those of matches.

A score is made of one matrix product. Trap: a match's score and the scores it is compared with come
from products of different shapes, whose rounding may differ. So products have sides that are
multiples of ALIGN, for which XLA's CPU products are bitwise the same in every shape. Items of the
query's identity never meet themselves in the count: they are masked by identity and ordered among
themselves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jaxreid.ranking.arguments import Progress
from jaxreid.ranking.frames import Frame, padded, padded_rows
from jaxreid.ranking.protocol import Matches
from jaxreid.sharding import over_rows, replicated, row_mesh
from jaxreid.types import Array, ArrayLike

__all__: list[str] = []  # for this package only

# Products with sides that are multiples of this are bitwise independent of their shape on CPU.
ALIGN = 128
# Queries scored against their matches, and counted, at a time: a multiple of ALIGN, and small
# enough for 128 x 1,024 scores to stay in the cache while every match reads them.
CHUNK = 128
# Most gallery items gathered at a time: 8,192 x 2,048 x 4 bytes are 67 MB.
_ITEMS = 8192
# Partial counts per row; each is a byte and so holds at most 255 items.
_LANES = 32
MAX_BLOCK = 255 * _LANES // ALIGN * ALIGN
# Most rows of one matrix product: enough for full speed, 16 MB of scores against 1,024 items.
_QUERY_BATCH = 4096
_LAST = np.iinfo(np.int32).max


class RowTerms(NamedTuple):
    """What turns products into scores: ``score(q, n) = offset_n - scale_n q . g_n``.

    Within one query, scores are ordered like distances; the query's own norm changes nothing. The
    offset of items that take no part is infinite.
    """

    scale: Float[np.ndarray, " N"]
    offset: Float[np.ndarray, " N"]


class Items(NamedTuple):
    """The gallery of a search: features that are not yet in the frame, and how to score them."""

    features: Float[ArrayLike, "N D"]
    identities: Integer[ArrayLike, " N"]
    frame: Frame
    terms: RowTerms


class Queries(NamedTuple):
    """Queries in the frame of the items; neighbours should have similar numbers of matches."""

    features: Float[np.ndarray, "Q D"]
    identities: Int[np.ndarray, " Q"]
    matches: Matches
    scores: Float[np.ndarray, "Q M"]  # of the matches; meaningless in padding


class Targets(NamedTuple):
    """The scores to count below, in chunks of queries; slots beyond `slots` are padding."""

    scores: Float[ArrayLike, "batches chunks M rows"]
    items: Int[ArrayLike, "batches chunks M rows"]  # positions in the gallery
    slots: Int[ArrayLike, "batches chunks"]


class Block(NamedTuple):
    """A slice of the gallery, in the frame."""

    features: Float[ArrayLike, "n D"]
    scale: Float[ArrayLike, " n"]
    offset: Float[ArrayLike, " n"]
    identities: Int[ArrayLike, " n"]
    items: Int[ArrayLike, " n"]  # positions in the gallery


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple that is not below n."""
    return -(-n // multiple) * multiple


def row_terms(
    squared: Float[np.ndarray, " N"],
    zero: Bool[np.ndarray, " N"],
    kept: Bool[np.ndarray, " N"],
    frame: Frame,
) -> RowTerms:
    """Scale and offset of every item, in the dtype of the frame.

    From the squared norms in the frame, which rows are zero (their cosine distance to everything is
    1), and which items take part.
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


def _scores(
    queries: Float[Array, "q D"],
    features: Float[ArrayLike, "n D"],
    scale: Float[ArrayLike, " n"],
    offset: Float[ArrayLike, " n"],
) -> Float[Array, "q n"]:
    """Scores of items for each query, the smaller the closer, in full precision."""
    products = jax.lax.dot_general(
        queries, features, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.asarray(offset) - scale * products


@jax.jit
def _scores_at(
    queries: Array, features: Array, scale: Array, offset: Array, columns: Int[Array, "q M"]
) -> Float[Array, "q M"]:
    return jnp.take_along_axis(_scores(queries, features, scale, offset), columns, axis=1)


def match_scores(
    queries: Float[np.ndarray, "Q D"], gallery: Items, matches: Matches
) -> Float[np.ndarray, "Q M"]:
    """Scores of the matches, from products of each chunk of queries with all its matches.

    The queries are in the frame, and neighbours should share identities. Scores are meaningless in
    padding.
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
            found = _scores_of_items(queries[rows], gallery, part, (columns - first) * here)
            scores[rows] = np.where(here, found, scores[rows])
    return scores


def _scores_of_items(
    queries: Float[np.ndarray, "q D"],
    gallery: Items,
    items: Int[np.ndarray, " n"],
    columns: Int[np.ndarray, "q M"],
) -> Float[np.ndarray, "q M"]:
    """Scores of items[columns] for up to CHUNK queries."""
    # Powers of two: a handful of compilations whatever the identities look like.
    size = max(ALIGN, 1 << (len(items) - 1).bit_length())
    padding = (0, size - len(items))
    scores = _scores_at(
        padded(queries, CHUNK),
        padded_rows(gallery.features, items, size, gallery.frame),
        np.pad(gallery.terms.scale[items], padding),
        np.pad(gallery.terms.offset[items], padding),
        np.pad(columns, [(0, CHUNK - len(columns)), (0, 0)]),
    )
    return np.asarray(scores)[: len(columns)]


def _next_up(x: Array) -> Array:
    """The next larger number; never a subnormal, which processors may take for zero."""
    tiny = jnp.finfo(x.dtype).tiny
    return jnp.where(jnp.abs(x) < tiny, tiny, jnp.nextafter(x, jnp.full_like(x, jnp.inf)))


def _count(before: Bool[Array, "rows n"]) -> Int[Array, " rows"]:
    """Number of True per row; n is at most MAX_BLOCK."""
    # Bytes first: four times faster on a CPU than adding booleans as int32.
    lanes = before.astype(jnp.uint8).reshape(before.shape[0], -1, _LANES)
    return jnp.sum(jnp.sum(lanes, axis=1, dtype=jnp.uint8), axis=1, dtype=jnp.int32)


def count_block(
    shared: tuple[Array, Array, Targets], rows: tuple[Array, Block]
) -> Int[Array, "1 batches chunks M rows"]:
    """Adds, for every target, the items of this device's block that come before it."""
    counts, block = rows

    def count_batch(batch: tuple[Array, Array, Targets, Array]) -> Array:
        queries, identities, targets, counts = batch
        scores = _scores(queries, block.features, block.scale, block.offset)
        own = identities[:, None] == block.identities[None, :]
        scores = jnp.where(own, jnp.inf, scores)
        chunks = scores.reshape(-1, CHUNK, scores.shape[1])
        return jax.lax.map(count_chunk, (chunks, targets, counts))

    def count_chunk(chunk: tuple[Array, Targets, Array]) -> Array:
        scores, targets, counts = chunk

        def count_slot(slot: Array, counts: Array) -> Array:
            target, item = targets.scores[slot][:, None], targets.items[slot][:, None]
            # One comparison: equal scores of earlier items pass a target moved up by one bit.
            limit = jnp.where(block.items[None, :] < item, _next_up(target), target)
            return counts.at[slot].add(_count(scores < limit))

        return jax.lax.fori_loop(0, targets.slots, count_slot, counts)

    return jax.lax.map(count_batch, (*shared, counts[0]))[None]


def _in_chunks(x: Integer[np.ndarray, "Q M"] | Float[np.ndarray, "Q M"], size: int) -> np.ndarray:
    """[Q,M] -> [batches, chunks, M, CHUNK] for batches of `size` queries, padded with zeros."""
    batches = -(-len(x) // size)
    filled = np.pad(x, [(0, batches * size - len(x)), (0, 0)])
    return filled.reshape(batches, size // CHUNK, CHUNK, -1).swapaxes(2, 3)


def count_before(
    queries: Queries,
    gallery: Items,
    *,
    block_size: int,
    devices: Sequence[jax.Device],
    progress: Progress | None,
    pessimistic: bool = False,
) -> Int[np.ndarray, "Q M"]:
    """How many items of other identities come before each match; meaningless in padding.

    Of equal scores those of earlier items do, or all of them if `pessimistic`.

    The gallery passes block by block, spread over the devices, each of which counts for itself;
    `block_size` are items per device and step, a multiple of ALIGN up to MAX_BLOCK.
    """
    count, width = queries.matches.indices.shape
    batches = -(-count // _QUERY_BATCH)
    size = round_up(-(-count // batches), CHUNK)
    mesh = row_mesh(devices)
    per_query = _in_chunks(queries.matches.mask.sum(axis=1, keepdims=True), size)
    # Behind every item of the gallery, a match comes after all that have its score.
    indices = queries.matches.indices
    items = np.full_like(indices, _LAST) if pessimistic else indices
    targets = Targets(
        scores=_in_chunks(queries.scores, size),
        items=_in_chunks(items, size).astype(np.int32),
        slots=per_query.max(axis=(2, 3)).astype(np.int32),
    )
    rows = padded(queries.features, batches * size).reshape(batches, size, -1)
    identities = np.pad(queries.identities, (0, batches * size - count)).reshape(batches, size)
    shared = replicated((rows, identities, targets), mesh)
    counts: ArrayLike = np.zeros((len(devices), *targets.scores.shape), np.int32)
    total, step = gallery.features.shape[0], block_size * len(devices)
    for start in range(0, total, step):
        block = _block(gallery, start, min(start + step, total), step)
        counts = over_rows(count_block, mesh)(shared, (counts, block))
        if progress is not None:
            jax.block_until_ready(counts)
            progress(min(start + step, total), total)
    summed = np.asarray(jnp.sum(counts, axis=0))
    return summed.swapaxes(2, 3).reshape(batches * size, width)[:count]


def _block(gallery: Items, start: int, stop: int, size: int) -> Block:
    """Items from start to stop in the frame, and padding up to `size` that comes before nothing."""
    part, padding = slice(start, stop), (0, size - (stop - start))
    return Block(
        features=padded_rows(gallery.features, part, size, gallery.frame),
        scale=np.pad(gallery.terms.scale[part], padding),
        offset=np.pad(gallery.terms.offset[part], padding, constant_values=np.inf),
        identities=np.pad(np.asarray(gallery.identities[part], np.int32), padding),
        items=np.arange(start, start + size, dtype=np.int32),
    )
