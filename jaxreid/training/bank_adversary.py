"""An adversary that spoils the ranking itself, among all training images."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxreid.attacks import unchecked
from jaxreid.cameras import seen_by
from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.constants import EPS, NEAREST, STEP_SIZE
from jaxreid.errors import InputError
from jaxreid.models.normalization import Statistics
from jaxreid.ranking import (
    ListDistances,
    SearchLists,
    list_distances,
    log_intruders,
    margin,
    nearest_others,
    smooth_ap,
    soft_margin,
    temperature_of,
)
from jaxreid.training.inner_attack import Adversary, Attacked, InnerAttack, refreshed
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step_schedules import StepSchedule
from jaxreid.types import Array, ArrayLike, PerImage

__all__ = ["OBJECTIVES", "RankingObjective", "ranking_adversary"]

RankingObjective = Literal["margin", "soft_margin", "nearest_others", "smooth_ap", "log_intruders"]
"""What is climbed, by the names of `jaxreid.ranking`."""

OBJECTIVES: Mapping[RankingObjective, Callable[[ListDistances], PerImage]] = {
    "margin": margin,
    "soft_margin": lambda d: soft_margin(d, temperature=temperature_of(d)),
    "nearest_others": lambda d: nearest_others(d, count=NEAREST),
    "smooth_ap": lambda d: smooth_ap(d, temperature=temperature_of(d)),
    "log_intruders": lambda d: log_intruders(d, temperature=temperature_of(d)),
}
"""name -> a surrogate of the ranking with its usual temperature or count."""


def ranking_adversary(
    objective: RankingObjective,
    labels: ArrayLike,
    *,
    eps: float | ArrayLike = EPS,
    step_size: float | ArrayLike = STEP_SIZE,
    steps: int = 7,
    batch_norm: Statistics = "running",
    clean_fraction: float = 0.0,
    strength: Callable[[Array], Array] | None = None,
    step_schedule: StepSchedule = "constant",
) -> Adversary:
    """Makes an adversary that descends the place of an image's person among all training images.

    ``x' = argmax J(d(f(x'), bank))`` within eps of x, from a random start, on the weights of now: J
    is an objective of the worst case (`jaxreid.ranking`), and the bank `state.bank`, the clean
    features of all training images, each as of the batch that it was last in. Matches are all other
    images of the person, others all images of other people; cameras do not matter.

    Args:
        objective: its name.
        labels: [N] integer training labels of all training images, on the host.
        eps: budget, in pixel range; a number or [C].
        step_size: in pixel range; a number or [C].
        steps: inner attack steps, at least 1, static.
        batch_norm: statistics of the attack's BatchNorm; the attack never changes them.
        clean_fraction: share of images that stay as they are, in [0, 1].
        strength: step [] -> factor [] of eps and step_size; 1 by default.
        step_schedule: "constant", "cosine" or "adaptive", as of `goat`.

    Returns:
        The Adversary; its state needs a bank [N,D]. Its metrics: `objective_start` and
        `objective_end`, the mean objective where the first and the last step set out; `at_budget`,
        the share of pixel values that are changed by eps; `unguided`, the share of images without a
        match.

    Raises:
        InputError: an unknown objective or schedule, a count or share out of range.
    """
    check_choice("objective", objective, get_args(RankingObjective))
    inner = InnerAttack(eps, step_size, steps, clean_fraction, strength, step_schedule)
    inner.check()
    everyone = _lists_among(np.asarray(labels))
    surrogate = OBJECTIVES[objective]

    @unchecked
    def adversary(
        state: TrainState, batch: TrainBatch, keys: Array, start: Array | None, devices: Collective
    ) -> Attacked:
        embed = seen_by(state.embed(batch_norm), batch.cameras)
        own = lax.stop_gradient(embed(batch.images))
        bank = refreshed(state.bank, own, batch.indices, devices)
        if bank is None:
            raise InputError("this adversary needs a bank: TrainState.create(bank=...)")
        lists = everyone(bank, batch)
        ascent = inner.climb(
            lambda images: surrogate(list_distances(embed(images), lists)),
            state,
            batch,
            keys,
            start,
        )
        unguided = ~jnp.any(lists.mask, axis=1)
        return inner.result(ascent, state, batch, keys, bank=bank, unguided=unguided)

    return adversary


def _lists_among(labels: np.ndarray) -> Callable[[Array, TrainBatch], SearchLists]:
    """(bank, batch) -> lists of a search among all training images, each leaving itself out."""
    same = labels[:, None] == labels
    np.fill_diagonal(same, False)
    width = max(int(same.sum(1).max()), 1)
    order = np.argsort(~same, axis=1, kind="stable")[:, :width]
    matches, mask = order.astype(np.int32), np.take_along_axis(same, order, axis=1)

    def lists(bank: Array, batch: TrainBatch) -> SearchLists:
        rows = jnp.asarray(batch.indices)
        other = jnp.asarray(batch.labels)[:, None] != jnp.asarray(labels)
        return SearchLists(bank, jnp.asarray(matches)[rows], jnp.asarray(mask)[rows], other)

    return lists
