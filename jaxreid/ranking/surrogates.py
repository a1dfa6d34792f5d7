"""What to climb in order to spoil a ranking: differentiable stand-ins for rank and precision.

All of them take the distances of `list_distances`, by whatever distance, and give one value per
row, which is the larger the worse the matches are found: an attacker who evades maximises it. Who
wants to be found as somebody else makes lists whose matches are that person's images (`targets` of
`search_lists`) and maximises the negated value.

A row without matches or without others has value 0 and gradient 0.

Temperatures are in the unit of the distances. They are best taken from the distances themselves
(`temperature_of`), which have no common scale from one network to the next.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxreid.checks import check_count
from jaxreid.constants import Distance
from jaxreid.distances import l2_normalize
from jaxreid.precision import in_double
from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances, SearchLists, checked_lists, inverse_norms
from jaxreid.ranking.temperatures import Temperature, column_of, mean_over, temperature_of
from jaxreid.types import Array, FeaturesLike, PerImage

__all__ = [
    "log_intruders",
    "margin",
    "nearest_match",
    "nearest_others",
    "opposite_means",
    "scaled_margin",
    "smooth_ap",
    "soft_margin",
    "temperature_of",
]


def _valid(distances: ListDistances) -> Bool[Array, " B"]:
    """Which rows have a match and an other."""
    return jnp.any(distances.mask, axis=1) & jnp.any(distances.others, axis=1)


def _over(values: Array, mask: Array, otherwise: float) -> Array:
    """Values where they count; of others not even a gradient of NaN is left."""
    return jnp.where(mask, values, otherwise)


def _where_valid(distances: ListDistances, values: PerImage) -> PerImage:
    return jnp.where(_valid(distances), values, 0)


def margin(distances: ListDistances) -> PerImage:
    """Distance of the nearest match less that of the nearest other, ``min_P d - min_N d``.

    Above 0 the first item found is a wrong one. The twin of the loss of Carlini and Wagner, S&P
    2017, https://arxiv.org/abs/1608.04644, for a ranking.

    Args:
        distances: of `list_distances`.

    Returns:
        [B] in the unit of the distances.

    Raises:
        InputError: on what is no ListDistances.
    """
    check_distances(distances)
    match = jnp.min(_over(distances.matched, distances.mask, jnp.inf), axis=1)
    other = jnp.min(_over(distances.other, distances.others, jnp.inf), axis=1)
    valid = _valid(distances)
    return jnp.where(valid, jnp.where(valid, match, 0) - jnp.where(valid, other, 0), 0)


def nearest_match(distances: ListDistances) -> PerImage:
    """Distance of the nearest match, ``min_P d``, whoever else is there.

    What a threshold sees: somebody is taken for a person as soon as one image of that person is
    near enough.

    Args:
        distances: of `list_distances`.

    Returns:
        [B] in the unit of the distances.

    Raises:
        InputError: on what is no ListDistances.
    """
    check_distances(distances)
    nearest = jnp.min(_over(distances.matched, distances.mask, jnp.inf), axis=1)
    return _where_valid(distances, nearest)


def scaled_margin(distances: ListDistances) -> PerImage:
    """The margin over the spread of the nearest items, ``(min_P d - min_N d) / (d_(k) - d_(1))``.

    d_(i) is the distance of the i-th nearest item, match or other, and k = P + 2 for P matches: the
    twin of the difference of logits ratio of Croce and Hein, ICML 2020,
    https://arxiv.org/abs/2003.01690. Neither the unit nor an offset of the distances changes it.

    Args:
        distances: of `list_distances`.

    Returns:
        [B] without unit.

    Raises:
        InputError: on what is no ListDistances.
    """
    check_distances(distances)
    items = jnp.concatenate(
        [
            _over(distances.matched, distances.mask, jnp.inf),
            _over(distances.other, distances.others, jnp.inf),
        ],
        axis=1,
    )
    matches = jnp.sum(distances.mask, axis=1)
    size = min(distances.mask.shape[1] + 2, items.shape[1])
    nearest = -jax.lax.top_k(-items, size)[0]
    # Where there are fewer items than that: the last of them.
    present = matches + jnp.sum(distances.others, axis=1)
    last = jnp.clip(jnp.minimum(matches + 2, present) - 1, 0, size - 1)
    kth = jnp.take_along_axis(nearest, last[:, None], axis=1)[:, 0]
    valid = _valid(distances)
    spread = jnp.where(valid, kth, 0) - jnp.where(valid, nearest[:, 0], 0)
    return margin(distances) / jnp.where(spread > 0, spread, 1)


def soft_margin(distances: ListDistances, *, temperature: Temperature) -> PerImage:
    """The margin with many others at once, ``t (lse_N(-d / t) - lse_P(-d / t))``.

    lse is the logarithm of the sum of exponentials; it tends to `margin` as t tends to 0.

    Args:
        distances: of `list_distances`.
        temperature: t above 0, one or [B], in the unit of the distances.

    Returns:
        [B] in the unit of the distances.

    Raises:
        InputError: on a temperature of another shape, or not above 0.
    """
    check_distances(distances)
    scale = column_of(temperature, distances)

    def soft_nearest(values: Array, mask: Array) -> Array:
        some = jnp.any(mask, axis=1, keepdims=True)
        # An empty row would be the logarithm of 0, whose gradient is NaN.
        powers = jnp.where(mask, -_over(values, mask, 0.0) / scale, jnp.where(some, -jnp.inf, 0))
        return jax.nn.logsumexp(powers, axis=1)

    others = soft_nearest(distances.other, distances.others)
    matches = soft_nearest(distances.matched, distances.mask)
    return _where_valid(distances, scale[:, 0] * (others - matches))


def nearest_others(distances: ListDistances, *, count: int) -> PerImage:
    """Away from all matches and towards the nearest others, ``mean_P d - mean_{N_k} d``.

    N_k are the `count` nearest others of the moment, or all where there are fewer. With squared
    distances (`distances._replace` with squares of both) it is the cost of `nna`.

    Args:
        distances: of `list_distances`.
        count: k, at least 1.

    Returns:
        [B] in the unit of the distances.

    Raises:
        InputError: on a count below 1.
    """
    check_distances(distances)
    size = min(check_count("count", count, least=1), distances.others.shape[1])
    nearest = -jax.lax.top_k(-_over(distances.other, distances.others, jnp.inf), size)[0]
    there = jnp.arange(size) < jnp.sum(distances.others, axis=1, keepdims=True)
    value = mean_over(distances.matched, distances.mask) - mean_over(nearest, there)
    return _where_valid(distances, value)


@in_double
def opposite_means(
    features: FeaturesLike, lists: SearchLists, *, distance: Distance = "euclidean"
) -> PerImage:
    """Away from what matches are on average and towards what others are, ``-cos(f, m_P - m_N)``.

    m_P and m_N are the mean features of the matches and of the others, of rows of unit length for
    the cosine distance. It has no temperature and chooses nobody, so that its direction is the same
    all the way: after Wang et al., "Semantic-Aware Adversarial Training for Reliable Deep Hashing
    Retrieval", 2023, https://arxiv.org/abs/2310.14637.

    Args:
        features: [B,D] floating point, in the unit of the embedding.
        lists: of the same rows.
        distance: "euclidean" or "cosine".

    Returns:
        [B] in [-1, 1], without unit; 0 where f or the difference is a zero row.

    Raises:
        InputError: on wrong shapes or dtypes, or an unknown distance.
    """
    rows, gallery = checked_lists(features, lists, distance)
    # Numbers, not rows of unit length: there is no second gallery.
    scale = inverse_norms(gallery) if distance == "cosine" else jnp.ones(len(gallery), rows.dtype)
    # About one of the items: the difference of the means does not lose what they have in common.
    origin = gallery[0] * scale[0]
    precision = jax.lax.Precision.HIGHEST
    mask, others = jnp.asarray(lists.mask), jnp.asarray(lists.others)
    matched = gallery[lists.matches] * scale[lists.matches][..., None]
    near = jnp.where(mask[..., None], matched - origin, 0)
    match = jnp.sum(near, axis=1) / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    count = jnp.maximum(jnp.sum(others, axis=1, keepdims=True), 1)
    apart = gallery * scale[:, None] - origin
    other = jnp.matmul(others.astype(rows.dtype) / count, apart, precision=precision)
    direction = l2_normalize(jax.lax.stop_gradient(match - other))
    cosine = jnp.sum(l2_normalize(rows) * direction, axis=1)
    return jnp.where(jnp.any(mask, axis=1) & jnp.any(others, axis=1), -cosine, 0)


def _soft_counts(
    distances: ListDistances, temperature: Temperature
) -> tuple[Float[Array, "B M"], Float[Array, "B M"]]:
    """Softly, how many matches (itself left out) and how many others come before each match.

    One match of every row at a time, forwards and backwards: [B,M,N] is never there.
    """
    scale = column_of(temperature, distances)
    matched = _over(distances.matched, distances.mask, 0.0)
    other = _over(distances.other, distances.others, 0.0)

    def count(target: Array, slot: Array) -> tuple[Array, Array]:
        alike = distances.mask & (jnp.arange(matched.shape[1]) != slot)
        gaps = (target[:, None] - matched) / scale, (target[:, None] - other) / scale
        within = jnp.sum(_over(jax.nn.sigmoid(gaps[0]), alike, 0.0), axis=1)
        return within, jnp.sum(_over(jax.nn.sigmoid(gaps[1]), distances.others, 0.0), axis=1)

    # The whole step, with its condition: what a branch holds on to would be kept for every match.
    @jax.checkpoint
    def step(_: None, row: tuple[Array, Array, Array]) -> tuple[None, tuple[Array, Array]]:
        target, slot, used = row
        zero = jnp.zeros_like(target)
        return None, jax.lax.cond(used, count, lambda *_: (zero, zero), target, slot)

    slots = jnp.arange(matched.shape[1])
    _, (within, before) = jax.lax.scan(step, None, (matched.T, slots, jnp.any(distances.mask, 0)))
    return within.T, before.T


def smooth_ap(distances: ListDistances, *, temperature: Temperature) -> PerImage:
    """One less the smoothed average precision, ``1 - mean_P (1 + s_P(p)) / (1 + s_P(p) + s_N(p))``.

    ``s_X(p) = sum_{x in X, x != p} sigmoid((d_p - d_x) / t)`` counts softly what comes before match
    p: Brown et al., "Smooth-AP", ECCV 2020, https://arxiv.org/abs/2007.12163. As t tends to 0 it
    tends to ``1 - average_precision_sum``. Its gradient vanishes where all distances differ by many
    t: begin with a large one.

    Args:
        distances: of `list_distances`.
        temperature: t above 0, one or [B], in the unit of the distances.

    Returns:
        [B] in [0, 1]. With its gradient, that of the distances and the standing it takes about 30 B
        N bytes (160 MB for 64 rows and MSMT17's gallery), whatever M is.

    Raises:
        InputError: on a temperature of another shape, or not above 0.
    """
    check_distances(distances)
    within, before = _soft_counts(distances, temperature)
    precision = mean_over((1 + within) / (1 + within + before), distances.mask)
    return _where_valid(distances, 1 - precision)


def log_intruders(distances: ListDistances, *, temperature: Temperature) -> PerImage:
    """Mean logarithm of how many others come before a match, ``mean_P log(1 + s_N(p))``.

    ``s_N(p) = sum_{n in N} sigmoid((d_p - d_n) / t)``. Unlike those of `smooth_ap` its gradients do
    not fade as a match falls down the list.

    Args:
        distances: of `list_distances`.
        temperature: t above 0, one or [B], in the unit of the distances.

    Returns:
        [B] in nats, at least 0. It takes as much memory as `smooth_ap`.

    Raises:
        InputError: on a temperature of another shape, or not above 0.
    """
    check_distances(distances)
    _, before = _soft_counts(distances, temperature)
    return _where_valid(distances, mean_over(jnp.log1p(before), distances.mask))
