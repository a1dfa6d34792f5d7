"""Adversaries that move several images of a triplet at once."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.attacks import unchecked
from jaxreid.cameras import seen_by
from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.constants import EPS, STEP_SIZE
from jaxreid.distances import euclidean, pairwise_euclidean
from jaxreid.errors import InputError
from jaxreid.losses.consistency import spread
from jaxreid.losses.triplets import (
    Mining,
    Triplets,
    hardness,
    mined,
    nearer_half,
    weighted_mean,
)
from jaxreid.models.normalization import Statistics
from jaxreid.random import numbered
from jaxreid.training.inner_attack import Adversary, Attacked, InnerAttack, refreshed
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.types import Array, ArrayLike, PerImage

__all__ = ["Destination", "TripletObjective", "moves_candidates", "triplet_adversary"]

TripletObjective = Literal["hardness", "collapse", "misorder", "decoupled"]
"""What is climbed, see `triplet_adversary`."""

Destination = Literal["gradual", "semihard", "softhard"]
"""How hard triplets are made, see `triplet_adversary`."""

# What is folded into an image's key: 1 is for the share of clean images.
_SOURCE, _DESTINATION = 2, 3


class _Choices(NamedTuple):
    """Which adversary it is, see `triplet_adversary`."""

    objective: TripletObjective
    mining: Mining
    destination: Destination
    margin: float
    sharpness: float


class _Given(NamedTuple):
    """What an objective is made of; features are over the root of their spread.

    Attributes:
        own: [B,D] clean features of this device.
        everyone: [N,D] clean features of the whole batch.
        triplets: of this device's anchors.
        goal: [B], the hardness to be reached.
        step: [].
        sharpness: of weighted means.
        devices: of the whole batch.
    """

    own: Array
    everyone: Array
    triplets: Triplets
    goal: Array
    step: Array
    sharpness: float
    devices: Collective


def moves_candidates(step: Array) -> Array:
    """Whether "decoupled" moves positives and negatives in this step, [] boolean; else anchors."""
    return step % 2 == 0


def _hardness(attacked: Array, given: _Given) -> PerImage:
    """Up to the destination, and no further."""
    everyone, triplets = given.devices.gather(attacked), given.triplets
    found = hardness(attacked, everyone[triplets.positive], everyone[triplets.negative])
    return -jnp.square(jnp.minimum(found - given.goal, 0))


def _collapse(attacked: Array, given: _Given) -> PerImage:
    """Positives and negatives onto each other."""
    everyone = given.devices.gather(attacked)
    return -euclidean(everyone[given.triplets.positive], everyone[given.triplets.negative])


def _misorder(attacked: Array, given: _Given) -> PerImage:
    """All three, as far as they go."""
    everyone, triplets = given.devices.gather(attacked), given.triplets
    return hardness(attacked, everyone[triplets.positive], everyone[triplets.negative])


def _decoupled(attacked: Array, given: _Given) -> PerImage:
    """Either positives and negatives, or anchors; one number of the whole batch."""
    gather, triplets = given.devices.gather, given.triplets
    mask = gather(triplets.mask)

    def all_distances(anchors: Array, others: Array) -> tuple[Array, Array]:
        to_positive = euclidean(anchors, others[triplets.positive])
        return gather(to_positive), gather(euclidean(anchors, others[triplets.negative]))

    def mean(distances: Array) -> Array:
        return weighted_mean(distances, mask, sharpness=given.sharpness)

    positive, negative = all_distances(given.own, gather(attacked))
    candidates = -jax.nn.relu(mean(negative) - mean(positive))
    positive, negative = all_distances(attacked, given.everyone)
    gap = mean(positive) - mean(negative)
    shift = jnp.where(mask, gather(euclidean(attacked, given.own)), 0)
    shift = jnp.sum(shift) / jnp.maximum(jnp.sum(mask), 1)
    # A weight, which is not itself descended.
    gamma = lax.stop_gradient(jnp.exp(-jax.nn.relu(-gap)))
    anchors = -(jax.nn.relu(gap) + gamma * jax.nn.relu(nearer_half(negative, mask) - shift))
    value = jnp.where(moves_candidates(given.step), candidates, anchors)
    return jnp.broadcast_to(value, triplets.mask.shape)


_OBJECTIVES: Mapping[TripletObjective, Callable[[Array, _Given], PerImage]] = {
    "hardness": _hardness,
    "collapse": _collapse,
    "misorder": _misorder,
    "decoupled": _decoupled,
}


def triplet_adversary(
    objective: TripletObjective,
    *,
    mining: Mining = "softhard",
    destination: Destination = "gradual",
    margin: float = 0.2,
    sharpness: float = 10.0,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = 7,
    batch_norm: Statistics = "running",
    clean_fraction: float = 0.0,
    strength: Callable[[Array], Array] | None = None,
    step_schedule: Literal["constant", "cosine"] = "constant",
) -> Adversary:
    """Makes an adversary that moves the images (a, p, n) of triplets together.

    Every image of the whole batch is the anchor a of one triplet, whose positive p and negative n
    are mined by clean features on the weights of now. Each image has one perturbation, within eps,
    from a random start, however many triplets it is in; the published attacks have one per place in
    a triplet, and no random start. What is maximised, with ``H = d(a', p') - d(a', n')``:

    - hardness: ``-min(0, H - H_D)^2``, up to a destination H_D (HM): that of another triplet of the
      clean anchor, mined as `destination` says, or gradual, ``-min(loss, margin)`` of the triplets
      of the update before. Zhou and Patel, CVPR 2022, https://arxiv.org/abs/2203.01439.
    - collapse: ``-d(p', n')`` (ACT), Zhou et al., https://arxiv.org/abs/2106.03614, and misorder:
      ``H`` (AMD), of the same authors, https://github.com/cdluminate/robrank.
    - decoupled: with weighted means D of distances over the triplets of the batch, in even steps
      ``-relu(D(a, n') - D(a, p'))``, in odd ones ``-relu(D(a', p) - D(a', n)) - g relu(h - s)``,
      with h the mean of the nearer half of ``d(a', n)``, s the mean of ``d(a', a)``, and the weight
      ``g = exp(-relu(D(a', n) - D(a', p)))`` (CA-TRIDE). Tian et al., ICML 2024,
      https://arxiv.org/abs/2312.07364. They let the step grow over all epochs: see strength.

    Distances are Euclidean, over the root of the mean squared distance of clean features to their
    mean: for features of unit length about zero, as those papers have, that root is 1.

    Args:
        objective: its name.
        mining: "softhard" or "semihard", how triplets are drawn.
        destination: of hardness: "gradual", "semihard" or "softhard".
        margin: of semihard and gradual, above 0, without unit.
        sharpness: of decoupled, at least 0: how much more the larger distances weigh in the means.
        eps: budget, in pixel range; a number or [C].
        step_size: in pixel range; a number or [C].
        steps: inner attack steps, at least 1, static.
        batch_norm: statistics of the attack's BatchNorm; the attack never changes them.
        clean_fraction: share of images that stay as they are, in [0, 1].
        strength: step [] -> factor [] of eps and step_size; 1 by default.
        step_schedule: "constant" or "cosine", as of `goat`; images that move together are not the
            best of what each met.

    Returns:
        The Adversary, which says its triplets; a gradual destination needs a state with a
        triplet_loss. Its metrics: `objective_start` and `objective_end`, the mean objective where
        the first and the last step set out; `at_budget`, the share of pixel values that are changed
        by eps; `unguided`, the share of images without a triplet.

    Raises:
        InputError: an unknown objective, mining, destination or schedule, or a number out of range.
    """
    chosen = _Choices(objective, mining, destination, margin, sharpness)
    _check(chosen)
    check_choice("step_schedule", step_schedule, ("constant", "cosine"))
    inner = InnerAttack(eps, step_size, steps, clean_fraction, strength, step_schedule)
    inner.check()

    @unchecked
    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        embed = seen_by(state.embed(batch_norm), batch.cameras)
        features = lax.stop_gradient(embed(batch.images))
        unit = jnp.sqrt(spread(devices.gather(features)))
        given = _given(chosen, features / unit, state, batch.labels, keys, devices)
        unguided = ~given.triplets.mask

        def value(images: Array) -> Array:
            return jnp.where(unguided, 0, _OBJECTIVES[objective](embed(images) / unit, given))

        ascent = inner.climb(value, state, batch, keys, start)
        return inner.result(
            ascent,
            state,
            batch,
            keys,
            bank=refreshed(state.bank, features, batch.indices, devices),
            unguided=unguided,
            triplets=given.triplets,
        )

    return adversary


def _check(chosen: _Choices) -> None:
    for name, known in (
        ("objective", TripletObjective),
        ("mining", Mining),
        ("destination", Destination),
    ):
        check_choice(name, getattr(chosen, name), get_args(known))
    if not (chosen.margin > 0 and chosen.sharpness >= 0):
        raise InputError(
            "margin must be above 0 and sharpness 0 or more, got "
            f"{chosen.margin:g} and {chosen.sharpness:g}"
        )


def _given(
    chosen: _Choices,
    own: Array,
    state: TrainState,
    labels: ArrayLike,
    keys: Array,
    devices: Collective,
) -> _Given:
    """The triplets of clean features [B,D], and how hard they are to be made."""
    everyone, people = devices.gather(own), devices.gather(labels)
    distances = pairwise_euclidean(own, everyone)
    negative = jnp.asarray(labels)[:, None] != people
    himself = devices.positions(len(own))[:, None] == jnp.arange(len(people))

    def mine(rule: Mining, use: int) -> Triplets:
        draw = numbered(keys, use)
        return mined(rule, distances, ~negative & ~himself, negative, draw, margin=chosen.margin)

    triplets = mine(chosen.mining, _SOURCE)
    goal = jnp.zeros(len(own), own.dtype)
    if chosen.objective != "hardness":
        pass
    elif chosen.destination != "gradual":
        other = mine(chosen.destination, _DESTINATION)
        goal = hardness(own, everyone[other.positive], everyone[other.negative])
    elif state.triplet_loss is None:
        raise InputError(
            "a gradual destination needs the loss of before: TrainState.create(triplet_loss=...)"
        )
    else:
        goal = goal - jnp.clip(state.triplet_loss, 0, chosen.margin).astype(own.dtype)
    return _Given(own, everyone, triplets, goal, state.step, chosen.sharpness, devices)
