"""Exact ranks and average precision inside a compiled program, by counting.

Equal distances are ordered against the matches: others come first. A model that maps all images to
one feature then finds nobody, where an order by gallery index would let it find some.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import Array, PerImage

__all__ = ["Standing", "standing"]


class Standing(NamedTuple):
    """Where the matches of each row stand.

    Attributes:
        average_precision: protocol ("market1501": trapezoid, "torchreid": sum of precisions) ->
            [B] in [0, 1]; 0 for a row without a match.
        first_rank: [B] int32, 1-based rank of the first match; 0 for a row without a match.
        ranks: [B,M] int32, 1-based ranks of all matches, ascending; 0 in padding, which comes last.
    """

    average_precision: dict[str, PerImage]
    first_rank: Int[Array, " B"]
    ranks: Int[Array, "B M"]


def _others_before(
    targets: Float[Array, "B M"], distances: ListDistances, slots: Array
) -> Int[Array, "B M"]:
    """How many others are at most as far as each target, for the slots that anybody uses."""

    def count(slot: tuple[Array, Array]) -> Array:
        target, used = slot

        def counted() -> Array:
            before = (distances.other <= target[:, None]) & distances.others
            return jnp.sum(before, axis=1, dtype=jnp.int32)

        return jax.lax.cond(used, counted, lambda: jnp.zeros(len(target), jnp.int32))

    return jax.lax.map(count, (targets.T, slots)).T


def standing(distances: ListDistances) -> Standing:
    """Ranks of all matches and both average precisions, exact, with ties against the matches.

    ``r_j = j + |{n in others: d_n <= d_j}|`` for the j-th nearest match, as `match_ranks` counts
    with ``ties="pessimistic"``; average precision as `average_precision_trapezoid` and
    `average_precision_sum` have it. No derivative flows through it.

    Args:
        distances: of `list_distances`. What is at no finite distance makes no rank worse: an other
            comes before nothing, and a match comes first.

    Returns:
        Standing. One match of every row is counted at a time: beside the distances it takes B N
        bytes (5 MB for 64 rows and MSMT17's gallery), whatever M is.

    Raises:
        InputError: on what is no ListDistances.
    """
    check_distances(distances)
    distances = jax.lax.stop_gradient(distances)
    mask = jnp.sort(jnp.asarray(distances.mask), axis=1, descending=True)
    # A match that is at no distance counts as found: what breaks the network is no success.
    matched = jnp.where(jnp.isfinite(distances.matched), distances.matched, -jnp.inf)
    targets = jnp.sort(jnp.where(distances.mask, matched, jnp.inf), axis=1)
    before = _others_before(targets, distances, jnp.any(mask, axis=0))
    found = jnp.arange(1, mask.shape[1] + 1, dtype=jnp.int32)
    ranks = jnp.where(mask, before + found, 0)
    matches = jnp.maximum(jnp.sum(mask, axis=1), 1)
    precision = found / jnp.where(mask, ranks, 1)
    earlier = jnp.where(ranks > 1, (found - 1) / jnp.maximum(ranks - 1, 1), 1)

    def mean(terms: Array) -> Array:
        return jnp.sum(jnp.where(mask, terms, 0), axis=1) / matches

    return Standing(
        average_precision={
            "market1501": mean((earlier + precision) / 2),
            "torchreid": mean(precision),
        },
        first_rank=ranks[:, 0],
        ranks=ranks,
    )
