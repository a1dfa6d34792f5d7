"""One step of the adaptive ascent: what it remembers of each image, and what it does with it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Int

from jaxreid.attacks.climbing import better, chosen, per_row, radius_of
from jaxreid.attacks.threats import Threat
from jaxreid.types import Array, Images, PerImage

__all__: list[str] = []  # for this package only


class Kept(NamedTuple):
    """The best images by a score, and the score.

    Attributes:
        images: [B,H,W,C] in [0, 1] and inside the threat model.
        score: [B,L], of these images; NaN only where no image had a number.
    """

    images: Images
    score: Array


class Plan(NamedTuple):
    """What happens at each of the S+1 evaluations; [S+1] each."""

    first: Array  # is it the very first?
    sets_out: Array  # does the ascent set out anew?
    period: Array  # steps since the last checkpoint if this is one, else 0


class Best(NamedTuple):
    """The best image by value since the ascent set out, and its gradient."""

    images: Images
    value: PerImage
    gradient: Images


class State(NamedTuple):
    """What an image takes from step to step."""

    images: Images
    previous: Images
    best: Best
    kept: tuple[Kept, ...]
    step_size: PerImage
    value: PerImage  # at the previous image
    rises: Int[Array, " B"]  # since the last checkpoint
    checked: PerImage  # the best value at the last checkpoint
    halved: Bool[Array, " B"]  # was the step halved there?


class Seen(NamedTuple):
    """What an evaluation leaves behind."""

    value: PerImage
    deciding: tuple[Array, ...]
    nonfinite: Bool[Array, " B"]
    zero: Bool[Array, " B"]


def noted(state: State, seen: Seen, gradient: Images, plan: Plan, active: Array) -> State:
    """Takes a new image in: is it the best so far, did the value rise?"""
    value = seen.value
    wins = plan.sets_out | (active & better(value[:, None], state.best.value[:, None]))
    best = chosen(wins, Best(state.images, value, gradient), state.best)
    kept = tuple(
        chosen(plan.first | (active & better(score, old.score)), Kept(state.images, score), old)
        for score, old in zip(seen.deciding, state.kept, strict=True)
    )
    rises = jnp.where(plan.sets_out, 0, state.rises + (value > state.value))
    return state._replace(
        best=best,
        kept=kept,
        value=value,
        rises=rises,
        step_size=jnp.where(plan.sets_out, 2, state.step_size),
        checked=jnp.where(plan.sets_out, value, state.checked),
        halved=~plan.sets_out & state.halved,
    )


def halved_at_checkpoints(state: State, gradient: Images, plan: Plan) -> tuple[State, Images]:
    """At a checkpoint halves the step of images that rose too seldom or found nothing better."""
    due = plan.period > 0
    seldom = 4 * state.rises < 3 * plan.period
    stuck = ~state.halved & ~better(state.best.value[:, None], state.checked[:, None])
    halve = due & (seldom | stuck)
    images, gradient = chosen(
        halve, (state.best.images, state.best.gradient), (state.images, gradient)
    )
    state = state._replace(
        images=images,
        step_size=jnp.where(halve, state.step_size / 2, state.step_size),
        rises=jnp.where(due, 0, state.rises),
        checked=jnp.where(due, state.best.value, state.checked),
        halved=jnp.where(due, halve, state.halved),
    )
    return state, gradient


def moved(
    state: State, gradient: Images, plan: Plan, clean: Images, threat: Threat, active: Array
) -> State:
    """``z = project(x + step g); x <- project(x + 0.75 (z - x) + 0.25 (x - previous))``."""
    finite = jnp.isfinite(gradient)
    direction = threat.steepest(jnp.where(finite, gradient, 0))
    length = per_row(state.step_size, clean).astype(clean.dtype) * radius_of(threat, clean)
    ahead = threat.project(state.images + length * direction, clean)
    drift = jnp.where(
        plan.sets_out,
        ahead - state.images,
        0.75 * (ahead - state.images) + 0.25 * (state.images - state.previous),
    )
    moved = threat.project(state.images + jnp.where(finite, drift, 0), clean)
    return state._replace(images=chosen(active, moved, state.images), previous=state.images)
