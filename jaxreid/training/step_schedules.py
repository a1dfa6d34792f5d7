"""How long the steps of an inner attack are, one after the other."""

from collections.abc import Callable
from typing import Literal

import optax

from jaxreid.attacks import Ascent, Threat, adaptive_ascent
from jaxreid.types import Array, ImagesLike, KeysLike, PerImage

__all__ = ["StepSchedule", "adapted", "scheduled"]

StepSchedule = Literal["constant", "cosine", "adaptive"]
"""constant: as long as the first. cosine: ``step_size (1 + cos(pi t / S)) / 2`` for t = 0 to S - 1.

adaptive: `jaxreid.attacks.adaptive_ascent`, which the worst case climbs by: twice the budget at
first, halved where it leads no further; with momentum, and the best image that it met.
"""


def scheduled(
    rule: optax.GradientTransformation, schedule: StepSchedule, steps: int
) -> optax.GradientTransformation:
    """The rule of a step with its length over so many of them; not for an adaptive one."""
    if schedule == "constant":
        return rule
    return optax.chain(rule, optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, steps)))


def adapted(
    value: Callable[[Array], PerImage],
    images: Array,
    *,
    threat: Threat,
    steps: int,
    key: KeysLike | None,
    start: ImagesLike | None,
    active: Array | None = None,
) -> Ascent:
    """The adaptive ascent, told as one of fixed steps is; inactive images stay as they are."""
    climbed = adaptive_ascent(
        value, images, threat=threat, steps=steps, key=key, start=start, active=active
    )
    return Ascent(climbed.images, climbed.values[:-1], climbed.nonfinite_steps, climbed.zero_steps)
