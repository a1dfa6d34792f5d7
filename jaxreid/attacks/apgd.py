"""Adaptive ascent: a step that halves itself, momentum, and the best of all images met."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.attacks.adaptive_step import (
    Best,
    Kept,
    Plan,
    Seen,
    State,
    halved_at_checkpoints,
    moved,
    noted,
)
from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.climbing import (
    active_rows,
    check_climb,
    check_score,
    check_value,
    chosen,
    of_no_use,
    radius_of,
    starting_point,
    value_and_gradient,
)
from jaxreid.attacks.threats import Threat
from jaxreid.checks import check_count, shape_of, shown
from jaxreid.errors import InputError
from jaxreid.types import (
    Array,
    CountPerImage,
    Images,
    ImagesLike,
    KeysLike,
    MaskLike,
    PerImage,
)

__all__ = ["AdaptiveAscent", "Judged", "Kept", "adaptive_ascent", "checkpoints"]

# Of the steps, in per cent: the first period is 22 long, each one after it 3 shorter, but never
# less than 6.
_CHECKED = (22, 41, 57, 70, 80, 87, 93, 99)


class Judged(NamedTuple):
    """What an objective may return in place of its value alone.

    Attributes:
        value: [B] floating point, what is climbed.
        deciding: arrays [B,L], floating point or integer, the larger the better for the attacker;
            of each, the image that was best by it is kept. Its columns are compared one after the
            other: the second decides where the first is equal. No gradient flows through them.
    """

    value: PerImage
    deciding: tuple[Array, ...] = ()


class AdaptiveAscent(NamedTuple):
    """Result of `adaptive_ascent`, of S steps.

    Attributes:
        images: [B,H,W,C], of all images met the best by value (since the last of the `stages`).
        value: [B], theirs; NaN only where no image had a number.
        kept: for each entry of `Judged.deciding` the best images by it, of all images met, the
            earlier one where two are equal, with their scores [B,L].
        values: [S+1,B], the objective at the start and after each step.
        history: for each entry of `Judged.deciding` its values [S+1,B,L], likewise.
        step_size: [B] at the end, in units of the threat's radius; it began at 2.
        nonfinite_steps: int32 [B], images met, the last one left out, whose gradient held NaN or
            infinity. Pixels with such a gradient do not move.
        zero_steps: int32 [B], images met, the last one left out, whose whole gradient was zero.
    """

    images: Images
    value: PerImage
    kept: tuple[Kept, ...]
    values: Float[Array, "steps B"]
    history: tuple[Array, ...]
    step_size: PerImage
    nonfinite_steps: CountPerImage
    zero_steps: CountPerImage


Judge = Callable[..., PerImage | Judged]
"""images [B,H,W,C] -> value [B] or Judged; with `per_step`, (images, row of the step) -> that."""


def checkpoints(steps: int) -> tuple[int, ...]:
    """Steps after which the step size may be halved, ``ceil(p_j steps)``.

    ``p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06)``, Croce and Hein, "Reliable
    Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML
    2020, https://arxiv.org/abs/2003.01690.

    Args:
        steps: number of steps, at least 0.

    Returns:
        Ascending, all below `steps`: 22, 41, 57, 70, 80, 87, 93 and 99 of 100.

    Raises:
        InputError: if steps is no integer of at least 0.
    """
    steps = check_count("steps", steps)
    marks = {-(-percent * steps // 100) for percent in _CHECKED}
    return tuple(sorted(mark for mark in marks if 0 < mark < steps))


def _plan(steps: int, stages: Sequence[int]) -> Plan:
    sets_out = np.zeros(steps + 1, bool)
    period = np.zeros(steps + 1, np.int32)
    begins = (0, *stages)
    # A stage ends where the next one sets out: one move less than evaluations.
    for begin, end in zip(begins, (*stages, steps + 1), strict=True):
        sets_out[begin] = True
        marks = (0, *checkpoints(end - begin - 1))
        for last, mark in itertools.pairwise(marks):
            period[begin + mark] = mark - last
    return Plan(jnp.arange(steps + 1) == 0, jnp.asarray(sets_out), jnp.asarray(period))


def judged(judge: Judge, images: Images, row: tuple[Any, ...]) -> tuple[PerImage, Any]:
    """Value and what decides, checked."""
    found = judge(images, *row)
    if not isinstance(found, Judged):
        return found, ()
    if not isinstance(found.deciding, tuple | list):
        raise InputError(
            "what the objective returns as deciding must be a tuple of arrays [B,L], "
            f"got {shape_of(found.deciding)}"
        )
    deciding = tuple(
        check_score(f"entry {number} of what the objective returns as deciding", score, images)
        for number, score in enumerate(found.deciding)
    )
    return found.value, deciding


def _checked_stages(stages: Sequence[int], steps: int) -> tuple[int, ...]:
    """Steps known before tracing, ascending, after the first and not after the last."""
    if np.ndim(stages) != 1:
        raise InputError(f"stages must be a sequence of steps, got {shown(stages)}")
    numbers = tuple(
        check_count(f"stages[{index}]", stage, least=1, most=max(steps, 1))
        for index, stage in enumerate(stages)
    )
    if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
        raise InputError(f"stages must ascend, got {list(numbers)}")
    return numbers


def _rows(per_step: Any, steps: int) -> tuple[Any, ...]:
    """The further argument of each evaluation, if there is one."""
    if per_step is None:
        return ()
    for leaf in jax.tree.leaves(per_step):
        if jnp.shape(leaf)[:1] != (steps + 1,):
            raise InputError(
                f"per_step must have a row for each of the steps + 1 = {steps + 1} evaluations, "
                f"got an array {list(jnp.shape(leaf))}"
            )
    return (jax.tree.map(jnp.asarray, per_step),)


def adaptive_ascent(
    objective: Judge,
    images: ImagesLike,
    *,
    threat: Threat,
    steps: int = 100,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
    per_step: Any = None,
    stages: Sequence[int] = (),
    active: MaskLike | None = None,
) -> AdaptiveAscent:
    """Climbs an objective with a step that finds its own length, and returns the best image met.

    ``z = project(x + s r steepest(g)); x <- project(x + 0.75 (z - x) + 0.25 (x - x_previous))``
    with the radius r of the threat model and s = 2 at first, the first step straight to z. At each
    of the `checkpoints` s is halved, and the image goes back to the best one met, where the value
    rose in less than 3 of 4 steps since the last one, or s was not halved there and nothing better
    was found since. Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble
    of Diverse Parameter-free Attacks", ICML 2020, https://arxiv.org/abs/2003.01690.

    All of it happens for each image on its own. The objective is evaluated steps + 1 times, at the
    start and after every step. Where the gradient is NaN or infinite a pixel does not move in that
    step; a value or score of NaN is below all numbers.

    Args:
        objective: images [B,H,W,C] -> [B] or `Judged`, row i a function of image i only; it is
            maximised. With `per_step` it is called as objective(images, row).
        images: [B,H,W,C] float32 or float64 in [0, 1], the clean images.
        threat: the allowed set, `linf(eps)` or `l2(eps)`; one of your own needs a `radius`, too.
        steps: number of steps, from 0 to 1,000,000, static.
        key: a random key, or [B] keys (`example_keys`), for a random start on the surface of the
            ball.
        start: [B,H,W,C] starting images, projected first; without key and start it is `images`.
        per_step: pytree of arrays [steps+1,...], whose rows the evaluations are given: a
            temperature, the number of the step, random keys.
        stages: steps, ascending and static, at which the objective changes so that values before do
            not compare. There the ascent sets out anew, with a long step and checkpoints of its
            own, from the best image so far by the first of `deciding`, or by value without it.
        active: [B] boolean; a row where it is False stays what it is: `start`, or the clean image.

    Returns:
        An AdaptiveAscent, all its images in [0, 1] and in the budget whatever the gradient is.

    Raises:
        InputError: on bad images, steps, stages, per_step, start or keys, or an objective or threat
            of another form.
    """
    images = images_of(images)
    check_climb(objective, threat, steps)
    plan, rows = _plan(steps, _checked_stages(stages, steps)), _rows(per_step, steps)
    drawn = threat.surface_start or threat.random_start
    begin = starting_point(images, threat, key, start, drawn=drawn)
    alive = active_rows(active, images)
    if key is not None:
        begin = chosen(alive, begin, images)
    return _climb(objective, begin, images, threat, (plan, rows), alive)


def _initial(judge: Judge, begin: Images, row: tuple[Any, ...]) -> State:
    """The state before anything was evaluated."""
    value, deciding = jax.eval_shape(lambda x, *row: judged(judge, x, row), begin, *row)
    check_value(value, begin)
    # Made of the images, so that they are spread over devices as the images are.
    values = jnp.zeros_like(begin, value.dtype, shape=value.shape)
    none = jnp.zeros_like(begin, bool, shape=value.shape)
    scores = (jnp.zeros_like(begin, score.dtype, shape=score.shape) for score in deciding)
    return State(
        images=begin,
        previous=begin,
        best=Best(begin, values, jnp.zeros_like(begin)),
        kept=tuple(Kept(begin, score) for score in scores),
        step_size=jnp.full_like(begin, 2, shape=value.shape),
        value=values,
        rises=none.astype(jnp.int32),
        checked=values,
        halved=none,
    )


def _climb(
    judge: Judge,
    begin: Images,
    clean: Images,
    threat: Threat,
    along: tuple[Plan, tuple[Any, ...]],
    active: Array,
) -> AdaptiveAscent:
    """The scan over all evaluations; `along` are the plan and the rows of `per_step`."""
    radius_of(threat, clean)  # says what is missing before anything is traced

    def step(state: State, now: tuple[Plan, tuple[Any, ...]]) -> tuple[State, Seen]:
        plan, row = now
        origin = state.kept[0].images if state.kept else state.best.images
        state = state._replace(images=jnp.where(plan.sets_out, origin, state.images))
        value, gradient, deciding = value_and_gradient(
            lambda x: judged(judge, x, row), state.images
        )
        seen = Seen(value, deciding, *of_no_use(gradient))
        state = noted(state, seen, gradient, plan, active)
        state, gradient = halved_at_checkpoints(state, gradient, plan)
        return moved(state, gradient, plan, clean, threat, active), seen

    state = _initial(judge, begin, jax.tree.map(lambda leaf: leaf[0], along[1]))
    state, seen = jax.lax.scan(step, state, along)
    # No step sets out from the last image.
    nonfinite, zero = (
        jnp.sum(each[:-1] & active, axis=0, dtype=jnp.int32) for each in (seen.nonfinite, seen.zero)
    )
    return AdaptiveAscent(
        images=state.best.images,
        value=state.best.value,
        kept=state.kept,
        values=seen.value,
        history=seen.deciding,
        step_size=state.step_size,
        nonfinite_steps=nonfinite,
        zero_steps=zero,
    )
