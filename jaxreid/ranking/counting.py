"""The part of the search that runs on devices: scores, and counts of what comes before.

Trap: a match's score and the scores it is compared with come from matrix products of different
shapes, whose rounding may differ. So items of the query's identity never meet themselves in the
count (they are masked by identity and ordered among themselves), and blocks are padded to multiples
of ALIGN, for which XLA's CPU products are bitwise the same in every shape.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxreid.errors import InputError
from jaxreid.ranking.protocol import Matches
from jaxreid.types import Array, ArrayLike, Embedded

__all__ = [
    "ALIGN",
    "MAX_BLOCK",
    "Distance",
    "RowTerms",
    "count_before",
    "match_scores",
    "round_up",
    "row_terms",
]

Distance = Literal["euclidean", "cosine"]

# Products with sides that are multiples of this are bitwise independent of their shape on CPU.
ALIGN = 128
# Partial counts per row; each is a byte and so holds at most 255 items.
_LANES = 32
MAX_BLOCK = 255 * _LANES // ALIGN * ALIGN
# Most rows of one matrix product: enough for full speed, 16 MB of scores against 1,024 items.
_QUERY_BATCH = 4096
# Rows whose norms are taken at a time.
_NORMS = 1024
# Rows counted at a time: 128 x 1,024 scores stay in the cache while every slot reads them.
_CHUNK = 128


class RowTerms(NamedTuple):
    """What turns products into scores: ``score(q, n) = offset_n - scale_n q . g_n``.

    Within one query, scores are ordered like distances; the query's own norm changes nothing.
    """

    scale: np.ndarray  # [N]
    offset: np.ndarray  # [N], infinite for items that take no part


class _Targets(NamedTuple):
    """The scores to count below, in chunks of queries; slots beyond `slots` are padding."""

    scores: ArrayLike  # [batches, chunks, M, _CHUNK]
    items: ArrayLike  # [batches, chunks, M, _CHUNK] int32, positions in the gallery
    slots: ArrayLike  # [batches, chunks] int32


class _Block(NamedTuple):
    """A slice of the gallery."""

    features: ArrayLike  # [n,D]
    scale: ArrayLike  # [n]
    offset: ArrayLike  # [n]
    identities: ArrayLike  # [n] int32
    items: ArrayLike  # [n] int32, positions in the gallery


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple that is not below n.

    Args:
        n: any size.
        multiple: at least 1.

    Returns:
        A multiple of `multiple`.
    """
    return -(-n // multiple) * multiple


def _rows(x: ArrayLike, index: slice | np.ndarray, size: int, dtype: np.dtype) -> ArrayLike:
    """Rows of x, padded with zeros to `size`: a view where it can be."""
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
            _terms_of_block(_rows(features, slice(i, i + _NORMS), _NORMS, dtype), distance=distance)
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


def _scores(queries: Array, features: ArrayLike, scale: ArrayLike, offset: ArrayLike) -> Array:
    products = jax.lax.dot_general(
        queries, features, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.asarray(offset) - scale * products


@jax.jit
def _scores_at(
    queries: Array, features: Array, scale: Array, offset: Array, columns: Array
) -> Array:
    return jnp.take_along_axis(_scores(queries, features, scale, offset), columns, axis=1)


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
    scores = np.empty(matches.indices.shape, queries.dtype)
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(queries)))
        items, columns = np.unique(matches.indices[rows], return_inverse=True)
        # Powers of two: a handful of compilations whatever the identities look like.
        size = max(ALIGN, 1 << (len(items) - 1).bit_length())
        padding = (0, size - len(items))
        count = rows.stop - rows.start
        scores[rows] = _scores_at(
            _rows(queries, rows, _CHUNK, queries.dtype),
            _rows(gallery, items, size, queries.dtype),
            np.pad(terms.scale[items], padding),
            np.pad(terms.offset[items], padding),
            np.pad(columns.reshape(count, -1), [(0, _CHUNK - count), (0, 0)]),
        )[:count]
    return scores


def _next_up(x: Array) -> Array:
    """The next larger number; never a subnormal, which processors may take for zero."""
    tiny = jnp.finfo(x.dtype).tiny
    return jnp.where(jnp.abs(x) < tiny, tiny, jnp.nextafter(x, jnp.full_like(x, jnp.inf)))


def _count(before: Array) -> Array:
    """Number of True per row of [rows,n]; n is at most MAX_BLOCK."""
    # Bytes first: four times faster on a CPU than adding booleans as int32.
    lanes = before.astype(jnp.uint8).reshape(before.shape[0], -1, _LANES)
    return jnp.sum(jnp.sum(lanes, axis=1, dtype=jnp.uint8), axis=1, dtype=jnp.int32)


def _count_block(
    counts: Array, queries: Array, identities: Array, targets: _Targets, block: _Block
) -> Array:
    """Adds, for every slot, the block's items that come before it; [batches, chunks, M, _CHUNK]."""

    def count_batch(batch: tuple[Array, Array, _Targets, Array]) -> Array:
        queries, identities, targets, counts = batch
        scores = _scores(queries, block.features, block.scale, block.offset)
        own = identities[:, None] == block.identities[None, :]
        scores = jnp.where(own, jnp.inf, scores)
        chunks = scores.reshape(-1, _CHUNK, scores.shape[1])
        return jax.lax.map(count_chunk, (chunks, targets, counts))

    def count_chunk(chunk: tuple[Array, _Targets, Array]) -> Array:
        scores, targets, counts = chunk

        def count_slot(slot: Array, counts: Array) -> Array:
            target, item = targets.scores[slot][:, None], targets.items[slot][:, None]
            # One comparison: equal scores of earlier items pass a target moved up by one bit.
            limit = jnp.where(block.items[None, :] < item, _next_up(target), target)
            return counts.at[slot].add(_count(scores < limit))

        return jax.lax.fori_loop(0, targets.slots, count_slot, counts)

    return jax.lax.map(count_batch, (queries, identities, targets, counts))


@cache
def _counter(mesh: Mesh) -> Callable[..., Array]:
    """`_count_block` with the gallery spread over the mesh; one partial count per device."""
    spread, same = P("gallery"), P()

    def count(
        counts: Array, queries: Array, identities: Array, targets: _Targets, block: _Block
    ) -> Array:
        return _count_block(counts[0], queries, identities, targets, block)[None]

    mapped = jax.shard_map(
        count,
        mesh=mesh,
        in_specs=(spread, same, same, same, spread),
        out_specs=spread,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)


def _in_chunks(x: np.ndarray, batches: int, rows: int) -> np.ndarray:
    """[Q,M] -> [batches, chunks, M, _CHUNK], padded with zeros."""
    padded = np.pad(x, [(0, batches * rows - len(x)), (0, 0)])
    return padded.reshape(batches, rows // _CHUNK, _CHUNK, -1).swapaxes(2, 3)


def count_before(
    queries: np.ndarray,
    identities: np.ndarray,
    gallery: Embedded,
    terms: RowTerms,
    matches: Matches,
    scores: np.ndarray,
    *,
    block_size: int,
    devices: Sequence[jax.Device],
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """How many items of other identities come before each match.

    Args:
        queries: [Q,D] floating point; neighbours should have similar numbers of matches.
        identities: [Q] int32.
        gallery: features [N,D], identities [N].
        terms: scale [N] and offset [N], infinite for items that take no part.
        matches: indices and mask [Q,M].
        scores: [Q,M] scores of the matches.
        block_size: gallery items per device and step, a multiple of ALIGN up to MAX_BLOCK.
        devices: where to run.
        progress: called with (gallery items done, all of them) after each step.

    Returns:
        [Q,M] int32 counts; meaningless in padding.
    """
    count, width = matches.indices.shape
    batches = -(-count // _QUERY_BATCH)
    rows = round_up(-(-count // batches), _CHUNK)
    mesh = Mesh(np.array(devices), ("gallery",))
    spread, same = NamedSharding(mesh, P("gallery")), NamedSharding(mesh, P())

    per_query = _in_chunks(matches.mask.sum(axis=1, keepdims=True), batches, rows)
    targets = _Targets(
        scores=_in_chunks(scores, batches, rows),
        items=_in_chunks(matches.indices, batches, rows).astype(np.int32),
        slots=per_query.max(axis=(2, 3)).astype(np.int32),
    )
    fixed = jax.device_put(
        (
            _rows(queries, slice(None), batches * rows, queries.dtype).reshape(batches, rows, -1),
            np.pad(identities, (0, batches * rows - count)).reshape(batches, rows),
            targets,
        ),
        same,
    )
    counts = jnp.zeros(
        (len(devices), batches, rows // _CHUNK, width, _CHUNK), jnp.int32, device=spread
    )
    total = gallery.features.shape[0]
    step = block_size * len(devices)
    for start in range(0, total, step):
        part = slice(start, min(start + step, total))
        padding = (0, step - (part.stop - start))
        block = _Block(
            features=_rows(gallery.features, part, step, queries.dtype),
            scale=np.pad(terms.scale[part], padding),
            offset=np.pad(terms.offset[part], padding, constant_values=np.inf),
            identities=np.pad(np.asarray(gallery.identities[part], np.int32), padding),
            items=np.arange(start, start + step, dtype=np.int32),
        )
        counts = _counter(mesh)(counts, *fixed, jax.device_put(block, spread))
        if progress is not None:
            counts.block_until_ready()
            progress(part.stop, total)
    summed = np.asarray(jnp.sum(counts, axis=0))
    return summed.swapaxes(2, 3).reshape(batches * rows, width)[:count]
