"""What is asked of triplets whose images an adversary moved."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.distances import euclidean
from jaxreid.errors import InputError
from jaxreid.losses.consistency import spread
from jaxreid.losses.triplets import nearer_half
from jaxreid.training.defenses import BothSides, Consistency
from jaxreid.training.triplet_adversaries import moves_candidates
from jaxreid.types import Array

__all__ = ["TripletTerm", "triplet_term"]

TripletTerm = Literal["triplets", "candidates", "decoupled"]
"""Which images of a triplet are seen as attacked, see `triplet_term`."""

# Of Tian et al., for features of unit length.
_COLLAPSE_WEIGHT, _COLLAPSE_MARGIN = 0.5, 0.04


def triplet_term(
    kind: TripletTerm, weight: float, *, margin: float = 0.2, structure: float = 0.0
) -> Consistency:
    """Makes the term on the triplets (a, p, n) that a `triplet_adversary` attacked.

    ``weight * (mean relu(d(a, p) - d(a, n) + margin) + structure * S)``, where attacked are

    - triplets: all three images. Zhou and Patel, CVPR 2022, https://arxiv.org/abs/2203.01439.
    - candidates: p and n (ACT). Zhou et al., https://arxiv.org/abs/2106.03614.
    - decoupled: p and n in even steps, a in odd ones, as the adversary has it; beside it
      ``relu(h(d(a, p)) - h(d(a, n)) + 0.04) / 2`` with h the mean of the nearer half of such
      distances over the whole batch, which keeps features from collapsing (CA-TRIDE). Tian et al.,
      ICML 2024, https://arxiv.org/abs/2312.07364.

    ``S = mean relu(d(a, a') - d(a, p))`` of clean a and p and attacked a' is the intra-class
    structure of Zhou and Patel. Distances are Euclidean, over the root of the mean squared distance
    of the batch's clean features to their mean.

    Args:
        kind: "triplets", "candidates" or "decoupled".
        weight: above 0.
        margin: above 0, without unit.
        structure: at least 0.

    Returns:
        The Consistency. Its metrics: `triplet_loss`, the mean over triplets; `structure`, S, if it
        weighs anything; `collapse`, what is beside a decoupled loss.

    Raises:
        InputError: another kind, or a number out of range.
    """
    check_choice("kind", kind, get_args(TripletTerm))
    if not (weight > 0 and margin > 0 and structure >= 0):
        raise InputError(
            "weight and margin must be above 0 and structure 0 or more, got "
            f"{weight:g}, {margin:g} and {structure:g}"
        )

    def loss(sides: BothSides, devices: Collective) -> tuple[Array, dict[str, Array]]:
        if sides.triplets is None:
            raise InputError("this term needs an adversary on triplets: triplet_adversary(...)")
        places, mask = sides.triplets.positive, sides.triplets.mask
        unit = jnp.sqrt(spread(devices.gather(sides.clean)))
        clean, attacked = sides.clean / unit, sides.attacked / unit
        anchors, others = _seen(kind, clean, attacked, sides, devices)
        to_positive = euclidean(anchors, others[places])
        to_negative = euclidean(anchors, others[sides.triplets.negative])
        # Triplets are counted over all devices: one may hold fewer than another.
        count = devices.number_of(mask)

        def mean(values: Array) -> Array:
            return jnp.sum(jnp.where(mask, jax.nn.relu(values), 0)) / count

        value = mean(to_positive - to_negative + margin)
        total, metrics = value, {"triplet_loss": value}
        if structure:
            shift = euclidean(clean, attacked) - euclidean(clean, devices.gather(clean)[places])
            metrics["structure"] = mean(shift)
            total = total + structure * metrics["structure"]
        if kind == "decoupled":
            metrics["collapse"] = _collapse(to_positive, to_negative, mask, devices)
            total = total + metrics["collapse"]
        return weight * total, metrics

    return loss


def _seen(
    kind: TripletTerm, clean: Array, attacked: Array, sides: BothSides, devices: Collective
) -> tuple[Array, Array]:
    """Features of this device's anchors, and of everyone who may be a positive or a negative."""
    if kind == "triplets":
        return attacked, devices.gather(attacked)
    if kind == "candidates":
        return clean, devices.gather(attacked)
    others = moves_candidates(jnp.asarray(sides.step))
    moved = jnp.where(others, attacked, clean)
    return jnp.where(others, clean, attacked), devices.gather(moved)


def _collapse(to_positive: Array, to_negative: Array, mask: Array, devices: Collective) -> Array:
    """By how much the nearer positives are not nearer than the nearer negatives."""
    known = devices.gather(mask)
    halves = [nearer_half(devices.gather(each), known) for each in (to_positive, to_negative)]
    missing = jax.nn.relu(halves[0] - halves[1] + _COLLAPSE_MARGIN)
    return jnp.where(jnp.any(known), _COLLAPSE_WEIGHT * missing, 0)
