"""What to climb in order to move chosen items of a ranking up or down: candidate and query attacks.

All of them take distances and give one value per row, which an attacker maximises: the published
losses, which are minimised, with the opposite sign. Whether the query or the candidate is changed
makes no difference here: of a query attack all distances move, of a candidate attack those of the
candidate alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxreid.checks import Sizes, check_floating, check_number, shape_of
from jaxreid.errors import InputError
from jaxreid.precision import in_double
from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import Array, ArrayLike, PerImage

__all__ = ["candidates_lowered", "candidates_raised", "furthest_margin", "guarded"]

# That of the paper's larger data sets, CARS and SOP; it has 2e4 and 4e4 for others.
_CARE = 7e4
# More of a guard than this and nothing is left of the attack in float32.
_MOST_CARE = 1e9


def _checked(
    chosen: ArrayLike, items: ArrayLike, rivals: ArrayLike
) -> tuple[Float[Array, "B M"], Float[Array, "B N"], Bool[Array, "B N"]]:
    """Distances and their mask as JAX arrays."""
    sizes = Sizes()
    sizes.check("chosen", chosen, "BM")
    sizes.check("items", items, "BN")
    sizes.check("rivals", rivals, "BN")
    if rivals.dtype != bool:
        raise InputError(f"rivals must be boolean, got {shape_of(rivals)}")
    own, others = check_floating("chosen", chosen), check_floating("items", items)
    dtype = jnp.promote_types(own.dtype, others.dtype)
    return own.astype(dtype), others.astype(dtype), jnp.asarray(rivals)


def _violated(lead: Float[Array, "B M N"], rivals: Bool[Array, "B N"]) -> PerImage:
    """Mean over candidates and rivals of what is above 0; 0 for a row without either."""
    # Of what does not take part not even a gradient of NaN is left.
    positive = jnp.maximum(jnp.where(rivals[:, None, :], lead, 0), 0)
    pairs = jnp.sum(rivals, axis=1) * lead.shape[1]
    return jnp.sum(positive, axis=(1, 2)) / jnp.maximum(pairs, 1)


@in_double
def candidates_raised(
    chosen: Float[ArrayLike, "B M"], items: Float[ArrayLike, "B N"], rivals: Bool[ArrayLike, "B N"]
) -> PerImage:
    """What brings candidates before all others, ``-mean_{c,x} max(0, d(q,c) - d(q,x))``.

    Its greatest value, 0, is a ranking with the candidates first. CA+ and QA+ of Zhou et al.,
    "Adversarial Ranking Attack and Defense", ECCV 2020, https://arxiv.org/abs/2002.11293.

    Args:
        chosen: [B,M] distances of the query to its candidates c.
        items: [B,N] distances of the query to all items x, in the same unit.
        rivals: [B,N] boolean, the items that the candidates are to come before.

    Returns:
        [B] in the unit of the distances, at most 0; 0 for a row without rivals.

    Raises:
        InputError: on other shapes or dtypes.
    """
    own, others, mask = _checked(chosen, items, rivals)
    return -_violated(own[:, :, None] - others[:, None, :], mask)


@in_double
def candidates_lowered(
    chosen: Float[ArrayLike, "B M"], items: Float[ArrayLike, "B N"], rivals: Bool[ArrayLike, "B N"]
) -> PerImage:
    """What sends candidates behind all others, ``-mean_{c,x} max(0, d(q,x) - d(q,c))``.

    Its greatest value, 0, is a ranking with the candidates last. CA- and QA- of Zhou et al.,
    "Adversarial Ranking Attack and Defense", ECCV 2020, https://arxiv.org/abs/2002.11293; of the
    query's own first item, the greedy top-1 translocation (GTT) of Zhou et al., "Adversarial Attack
    and Defense in Deep Ranking", https://arxiv.org/abs/2106.03614.

    Args:
        chosen: [B,M] distances of the query to its candidates c.
        items: [B,N] distances of the query to all items x, in the same unit.
        rivals: [B,N] boolean, the items that the candidates are to come after.

    Returns:
        [B] in the unit of the distances, at most 0; 0 for a row without rivals.

    Raises:
        InputError: on other shapes or dtypes.
    """
    own, others, mask = _checked(chosen, items, rivals)
    return -_violated(others[:, None, :] - own[:, :, None], mask)


def guarded(
    attack: Float[ArrayLike, " B"],
    guard: Float[ArrayLike, " B"],
    *,
    care: float | ArrayLike = _CARE,
) -> PerImage:
    """An attack that leaves other items where they are, ``J + xi G, xi = min(e^(-care G), 1e9)``.

    J moves the candidates, and G is `candidates_raised` of items that are to stay first. xi is a
    weight, without gradient: the further these items have fallen, the more they count. SP-QA of
    Zhou et al., "Adversarial Attack and Defense in Deep Ranking",
    https://arxiv.org/abs/2106.03614; there xi is of the mean of a batch, here of each row.

    Args:
        attack: J [B], in the unit of the distances.
        guard: G [B], in the same unit, at most 0.
        care: at least 0, in one over that unit.

    Returns:
        [B] in the unit of the distances.

    Raises:
        InputError: on other shapes or dtypes, or if care is below 0 or no number.
    """
    sizes = Sizes()
    sizes.check("attack", attack, "B")
    sizes.check("guard", guard, "B")
    own, others = check_floating("attack", attack), check_floating("guard", guard)
    check_number("care", care, lambda c: (c >= 0) & (c < jnp.inf), "be at least 0")
    # Before the exponential, or it would be infinite.
    power = jnp.minimum(-care * jax.lax.stop_gradient(others), jnp.log(_MOST_CARE))
    return own + jnp.exp(power) * others


def furthest_margin(distances: ListDistances) -> PerImage:
    """What brings all others before the matches, ``-max(0, max_N d - min_P d)``.

    Its greatest value, 0, is a ranking in which even the furthest other item is nearer than the
    nearest match. LTM of Zhou et al., "Adversarial Attack and Defense in Deep Ranking",
    https://arxiv.org/abs/2106.03614, after Wang et al., "Transferable, Controllable, and
    Inconspicuous Adversarial Attacks on Person Re-identification With Deep Mis-Ranking", CVPR 2020,
    https://arxiv.org/abs/2004.04199.

    Args:
        distances: of `list_distances`.

    Returns:
        [B] in the unit of the distances, at most 0; 0 for a row without matches or without others.

    Raises:
        InputError: on what is no ListDistances.
    """
    check_distances(distances)
    valid = jnp.any(distances.mask, axis=1) & jnp.any(distances.others, axis=1)
    match = jnp.min(jnp.where(distances.mask, distances.matched, jnp.inf), axis=1)
    other = jnp.max(jnp.where(distances.others, distances.other, -jnp.inf), axis=1)
    lead = jnp.where(valid, other, 0) - jnp.where(valid, match, 0)
    return -jnp.maximum(lead, 0)
