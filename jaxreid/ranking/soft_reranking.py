"""Re-ranking with slopes: what an attacker climbs who knows that lists are put in a new order."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.checks import Sizes, check_choice, check_floating, check_number
from jaxreid.constants import Distance
from jaxreid.distances import l2_normalize, pairwise_squared_euclidean
from jaxreid.precision import at_least_float32
from jaxreid.ranking.reranking import KReciprocal, check_settings
from jaxreid.types import Array, ArrayLike, FeaturesLike

__all__ = ["soft_k_reciprocal"]

_EXACTLY = jax.lax.Precision.HIGHEST
# Halves of sets overlap by multiples of a third; the border lies between two of them.
_SHARE, _BETWEEN = 2 / 3, 1 / 6


def soft_k_reciprocal(
    features: FeaturesLike,
    items: Float[ArrayLike, "B C D"],
    *,
    settings: KReciprocal | None = None,
    temperature: float = 0.01,
    distance: Distance = "euclidean",
) -> Float[Array, "B C"]:
    """Distances of queries to items after k-reciprocal re-ranking, smooth in the queries' features.

    `k_reciprocal` with sets of degrees in [0, 1]: j is among the k nearest of i by the degree
    ``sigmoid((b_i - d_ij) / t)``, d the squared distance over the largest one of row i and b_i
    half-way between the k-th and the next; degrees multiply where both must hold, and add up to 1
    at most where one of several does. As t tends to 0 it tends to the distances that `k_reciprocal`
    gives for that query and these items alone (Zhong et al., CVPR 2017,
    https://arxiv.org/abs/1701.08398). What a query looks like changes whose neighbours all items
    are, and that is followed, too: time and memory grow as C^3 and C^2, so take the items that are
    nearest to the clean query, some hundreds.

    Args:
        features: [B,D] floating point, of the queries, in the unit of the embedding.
        items: [B,C,D] the same, those that take part in each search.
        settings: see `KReciprocal`; its `top` is not used, all items are put in order.
        temperature: t above 0, a share of the largest distance.
        distance: "euclidean" or "cosine" (features are normalised first).

    Returns:
        [B,C] without unit, differentiable in features and items.

    Raises:
        InputError: on wrong shapes or dtypes, settings or a temperature out of range.
    """
    sizes = Sizes()
    sizes.check("features", features, "BD")
    sizes.check("items", items, "BCD")
    check_choice("distance", distance, ("euclidean", "cosine"))
    check_number("temperature", temperature, lambda t: (t > 0) & (t < jnp.inf), "be above 0")
    settings = KReciprocal() if settings is None else settings
    check_settings(settings)
    query = check_floating("features", features)
    whole = jnp.concatenate([query[:, None], check_floating("items", items)], axis=1)
    whole = at_least_float32(whole)
    if distance == "cosine":
        whole = l2_normalize(whole)
    return jax.vmap(lambda rows: _reranked(rows, settings, temperature))(whole)


def _reranked(
    features: Float[Array, "n D"], settings: KReciprocal, temperature: float
) -> Float[Array, " C"]:
    """Final distances of the first row to all others."""
    squared = pairwise_squared_euclidean(features, features)
    # Of a row to itself it is rounding.
    squared = jnp.where(np.eye(len(squared), dtype=bool), 0, squared)
    furthest = jnp.max(squared, axis=1, keepdims=True)
    scaled = squared / jnp.where(furthest > 0, furthest, 1)
    encodings = _members(scaled, settings.k1, temperature) * jnp.exp(-scaled)
    encodings = encodings / jnp.sum(encodings, axis=1, keepdims=True)
    if settings.k2 > 1:
        near = _near(scaled, settings.k2, temperature)
        near = near / jnp.sum(near, axis=1, keepdims=True)
        encodings = jnp.matmul(near, encodings, precision=_EXACTLY)
    overlap = jnp.sum(jnp.minimum(encodings[0], encodings[1:]), axis=1)
    jaccard = 1 - overlap / (2 - overlap)
    return (1 - settings.weight) * jaccard + settings.weight * scaled[0, 1:]


def _near(scaled: Float[Array, "n n"], count: int, temperature: float) -> Float[Array, "n n"]:
    """Degree to which j is among the first items of row i, i itself being the first of them."""
    if count >= len(scaled):
        return jnp.ones_like(scaled)
    ordered = jnp.sort(scaled, axis=1)
    border = (ordered[:, count - 1] + ordered[:, count]) / 2
    return jax.nn.sigmoid((border[:, None] - scaled) / temperature)


def _members(scaled: Float[Array, "n n"], k1: int, temperature: float) -> Float[Array, "n n"]:
    """Degree to which j is in the expanded k-reciprocal set of i."""
    near, fewer = (_near(scaled, count + 1, temperature) for count in (k1, int(np.around(k1 / 2))))
    base, half = near * near.T, fewer * fewer.T
    shared = jnp.matmul(base, half.T, precision=_EXACTLY)
    excess = shared - _SHARE * jnp.sum(half, axis=1) - _BETWEEN
    joined = base * jax.nn.sigmoid(excess / temperature)
    return jnp.minimum(base + jnp.matmul(joined, half, precision=_EXACTLY), 1)
