"""The part of the search that runs on devices: counts of the items that come before each match.

Items of the query's identity never meet themselves in the count, where two roundings of one score
could differ: they are masked by identity and ordered among themselves.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxreid.ranking.frames import Frame, padded, padded_rows
from jaxreid.ranking.protocol import Matches
from jaxreid.ranking.scores import ALIGN, CHUNK, RowTerms, scores_of
from jaxreid.types import Array, ArrayLike, Embedded

__all__ = ["MAX_BLOCK", "count_before", "round_up"]

# Partial counts per row; each is a byte and so holds at most 255 items.
_LANES = 32
MAX_BLOCK = 255 * _LANES // ALIGN * ALIGN
# Most rows of one matrix product: enough for full speed, 16 MB of scores against 1,024 items.
_QUERY_BATCH = 4096


class _Targets(NamedTuple):
    """The scores to count below, in chunks of queries; slots beyond `slots` are padding."""

    scores: ArrayLike  # [batches, chunks, M, CHUNK]
    items: ArrayLike  # [batches, chunks, M, CHUNK] int32, positions in the gallery
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
    """Adds, for every slot, the block's items that come before it; [batches, chunks, M, CHUNK]."""

    def count_batch(batch: tuple[Array, Array, _Targets, Array]) -> Array:
        queries, identities, targets, counts = batch
        scores = scores_of(queries, block.features, block.scale, block.offset)
        own = identities[:, None] == block.identities[None, :]
        scores = jnp.where(own, jnp.inf, scores)
        chunks = scores.reshape(-1, CHUNK, scores.shape[1])
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
    """[Q,M] -> [batches, chunks, M, CHUNK], padded with zeros."""
    padded = np.pad(x, [(0, batches * rows - len(x)), (0, 0)])
    return padded.reshape(batches, rows // CHUNK, CHUNK, -1).swapaxes(2, 3)


def count_before(
    queries: np.ndarray,
    identities: np.ndarray,
    gallery: Embedded,
    frame: Frame,
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
        queries: [Q,D] in the frame; neighbours should have similar numbers of matches.
        identities: [Q] int32.
        gallery: features [N,D], not yet in the frame, and identities [N].
        frame: see `Frame`.
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
    rows = round_up(-(-count // batches), CHUNK)
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
            padded(queries, batches * rows).reshape(batches, rows, -1),
            np.pad(identities, (0, batches * rows - count)).reshape(batches, rows),
            targets,
        ),
        same,
    )
    counts = jnp.zeros(
        (len(devices), batches, rows // CHUNK, width, CHUNK), jnp.int32, device=spread
    )
    total = gallery.features.shape[0]
    step = block_size * len(devices)
    for start in range(0, total, step):
        part = slice(start, min(start + step, total))
        padding = (0, step - (part.stop - start))
        block = _Block(
            features=padded_rows(gallery.features, part, step, frame),
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
