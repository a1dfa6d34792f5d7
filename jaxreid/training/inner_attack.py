"""The attack inside a training step: its budget, its ascent, and what it hands to the step."""

from collections.abc import Callable
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxreid.attacks import (
    Ascent,
    AttackInput,
    AttackSpec,
    linf,
    projected_ascent,
    signed_guides,
    steepest_step,
)
from jaxreid.checks import check_choice
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses.triplets import Triplets
from jaxreid.random import numbered
from jaxreid.training.state import TrainBatch, TrainState
from jaxreid.training.step_schedules import StepSchedule, adapted, scheduled
from jaxreid.types import Array, ArrayLike, Embed, PerImage

__all__ = ["Adversary", "Attacked", "InnerAttack", "refreshed", "share_at", "with_clean"]

# Of a pixel range of 1: float32 images differ from clean +- eps by rounding.
_AT_BUDGET = 1e-6


class Attacked(NamedTuple):
    """What an adversary makes of a batch.

    Attributes:
        images: [B,H,W,3] in [0, 1] to learn from.
        adversarial: [B,H,W,3] in [0, 1], the same before any clean ones were mixed in.
        bank: the features of all training images after this batch, or None.
        metrics: name -> [], for the log.
        triplets: those that were attacked, one per image, or None.
        aims: [B,L] integer, labels of the people that the attack pulled each image towards, -1 in
            padding; or None.
        targets: [B,K] shares of classes to learn of the images, rows that sum to 1; None for the
            labels of the batch.
        follow: gradient of what the step minimises to `images` [B,H,W,3] -> `state.universal` of
            after; None where no perturbation outlives its batch.
    """

    images: Array
    adversarial: Array
    bank: Array | None
    metrics: dict[str, Array]
    triplets: Triplets | None = None
    aims: Array | None = None
    targets: Array | None = None
    follow: Callable[[Array], Array] | None = None


Adversary = Callable[[TrainState, TrainBatch, Array, Array | None, Collective], Attacked]
"""(state, batch, [B] keys, start [B,H,W,3] or None, devices) -> Attacked; None starts at random."""


class InnerAttack(NamedTuple):
    """What all adversaries have in common, see `jaxreid.training.adversaries.goat`.

    Attributes:
        eps: budget, in pixel range; a number or [C].
        step_size: in pixel range; a number or [C].
        steps: at least 1, static.
        clean_fraction: share of images that stay as they are, in [0, 1].
        strength: step [] -> factor [] of eps and step_size; None for 1.
        schedule: how long the steps are, one after the other.
    """

    eps: float | ArrayLike
    step_size: float | ArrayLike
    steps: int
    clean_fraction: float
    strength: Callable[[Array], Array] | None
    schedule: StepSchedule = "constant"

    def check(self) -> None:
        """Raises InputError where a count or a share is out of range, or a schedule unknown."""
        check_choice("step_schedule", self.schedule, get_args(StepSchedule))
        if self.steps < 1 or not 0 <= self.clean_fraction <= 1:
            raise InputError(
                "steps must be 1 or more and clean_fraction lie in [0, 1], got "
                f"{self.steps} and {self.clean_fraction:g}"
            )

    def budget(self, state: TrainState, batch: TrainBatch) -> tuple[Array, Array]:
        """Budget and step size of this step, in pixel range."""
        factor = 1.0 if self.strength is None else self.strength(state.step)
        dtype = batch.images.dtype
        eps, step_size = (jnp.asarray(x, dtype) * factor for x in (self.eps, self.step_size))
        return eps, step_size

    def climb(
        self,
        value: Callable[[Array], PerImage],
        state: TrainState,
        batch: TrainBatch,
        keys: Array,
        start: Array | None,
    ) -> Ascent:
        """Climbs an objective of the batch's images, from a random start if none is given."""
        eps, step_size = self.budget(state, batch)
        threat, key = linf(eps), keys if start is None else None
        if self.schedule == "adaptive":
            return adapted(
                value, batch.images, threat=threat, steps=self.steps, key=key, start=start
            )
        rule = steepest_step(threat.steepest, step_size)
        return projected_ascent(
            value,
            batch.images,
            threat=threat,
            rule=scheduled(rule, self.schedule, self.steps),
            steps=self.steps,
            key=key,
            start=start,
        )

    def ascend(self, attack: AttackSpec, embed: Embed, images: Array, given: AttackInput) -> Ascent:
        """Runs a named attack, of its steps and in its budget, with the schedule of these."""
        rule = attack.rule
        assert rule is not None
        if self.schedule != "adaptive":
            attack = attack._replace(
                rule=lambda threat, used: scheduled(rule(threat, used), self.schedule, self.steps)
            )
            return attack.ascend(embed, images, given)
        guides = attack.guides(given)
        assert guides is not None
        return adapted(
            signed_guides(embed, guides),
            images,
            threat=linf(given.eps),
            steps=self.steps,
            key=given.key,
            start=given.start,
            active=jnp.any(guides.weights != 0, axis=1),
        )

    def result(
        self,
        ascent: Ascent,
        state: TrainState,
        batch: TrainBatch,
        keys: Array,
        *,
        bank: Array | None,
        unguided: Array,
        triplets: Triplets | None = None,
        aims: Array | None = None,
    ) -> Attacked:
        """What the step learns from, and what the log shows.

        Args:
            ascent: of the batch's images.
            state: of before.
            batch: this device's.
            keys: [B].
            bank: the features of all training images after this batch, or None.
            unguided: boolean [B], which images had nothing to go for.
            triplets: those that were attacked, or None.
            aims: [B,L] labels of those who pulled, -1 in padding, or None.
        """
        eps, _ = self.budget(state, batch)
        adversarial = lax.stop_gradient(ascent.images)
        return Attacked(
            images=with_clean(batch.images, adversarial, keys, self.clean_fraction),
            adversarial=adversarial,
            bank=bank,
            metrics=_metrics(ascent, batch.images, eps, unguided),
            triplets=triplets,
            aims=aims,
        )


def _metrics(ascent: Ascent, images: Array, budget: Array, unguided: Array) -> dict[str, Array]:
    return {
        "objective_start": jnp.mean(ascent.objective[0]),
        "objective_end": jnp.mean(ascent.objective[-1]),
        "at_budget": share_at(budget, ascent.images - images),
        "unguided": jnp.mean(unguided),
    }


def share_at(budget: Array, change: Array) -> Array:
    """The share of pixel values that are changed by the budget, []."""
    return jnp.mean(jnp.abs(change) >= budget - _AT_BUDGET)


def with_clean(images: Array, adversarial: Array, keys: Array, fraction: float) -> Array:
    """Adversarial images of which a share stays clean, drawn by each example's own key."""
    if not fraction:
        return adversarial

    stays = jax.vmap(lambda key: jax.random.bernoulli(key, fraction))(numbered(keys, 1))
    return jnp.where(stays[:, None, None, None], images, adversarial)


def refreshed(
    bank: ArrayLike | None, own: Array | None, indices: ArrayLike, devices: Collective
) -> Array | None:
    """The bank with the clean features of the whole batch in their places.

    Args:
        bank: [N,D], or None for no bank.
        own: [B,D] features of this device's clean images, or None to leave the bank as it is.
        indices: [B] integer, their places.
        devices: those of the whole batch.
    """
    if bank is None or own is None:
        return None if bank is None else jnp.asarray(bank)
    return jnp.asarray(bank).at[devices.gather(indices)].set(devices.gather(own))
