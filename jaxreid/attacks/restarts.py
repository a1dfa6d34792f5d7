"""Parts around an ascent: several starts, and means over the draws of a random model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreid.attacks.apgd import AdaptiveAscent, Judged, judged
from jaxreid.attacks.climbing import better, chosen, per_row, value_and_gradient
from jaxreid.checks import check_callable, check_count, check_keys, shape_of
from jaxreid.constants import MOST_STEPS
from jaxreid.errors import InputError
from jaxreid.random import numbered
from jaxreid.types import Array, Images, Keys, PerImage

__all__ = ["better_of", "mean_over_draws", "restarted"]


def better_of(first: AdaptiveAscent, second: AdaptiveAscent) -> AdaptiveAscent:
    """Joins two ascents of the same images into the best that either met, image by image.

    Args:
        first: an AdaptiveAscent of S steps.
        second: another of S steps, whose objective has the same scale and decides by the same
            scores.

    Returns:
        An AdaptiveAscent: images and value by value, each of `kept` by its own score; where they
        are equal, of `first`. Values, history and step size are of the one that wins by value;
        steps without a useful gradient are added up.

    Raises:
        InputError: if the two are not of the same number of steps and scores.
    """
    for name, ascent in (("first", first), ("second", second)):
        if not isinstance(ascent, AdaptiveAscent):
            raise InputError(f"{name} must be an AdaptiveAscent, got {shape_of(ascent)}")
    if jax.tree.map(jnp.shape, first) != jax.tree.map(jnp.shape, second):
        raise InputError(
            "the two ascents must have the same images, steps and scores, got values "
            f"{shape_of(first.values)} and {shape_of(second.values)}, with {len(first.kept)} and "
            f"{len(second.kept)} kept scores"
        )
    wins = better(second.value[:, None], first.value[:, None])
    joined = _rows_first(chosen(wins, _rows_first(second), _rows_first(first)))
    return joined._replace(
        kept=tuple(
            chosen(better(new.score, old.score), new, old)
            for new, old in zip(second.kept, first.kept, strict=True)
        ),
        nonfinite_steps=first.nonfinite_steps + second.nonfinite_steps,
        zero_steps=first.zero_steps + second.zero_steps,
    )


def _rows_first(ascent: AdaptiveAscent) -> AdaptiveAscent:
    """Steps and rows change places in what has both."""
    values, history = jax.tree.map(lambda x: x.swapaxes(0, 1), (ascent.values, ascent.history))
    return ascent._replace(values=values, history=history)


def restarted(
    ascend: Callable[[Keys], AdaptiveAscent], keys: Keys, *, restarts: int
) -> AdaptiveAscent:
    """Runs an ascent from several random starts and returns the best that any of them met.

    Restart r of image i draws with ``fold_in(keys[i], r)``; all run in one scan, one after the
    other, in the memory of one.

    Args:
        ascend: [B] keys -> AdaptiveAscent, as `lambda keys: adaptive_ascent(..., key=keys)`.
        keys: [B] keys, of `example_keys`.
        restarts: how many starts, from 1 to 1,000,000, static.

    Returns:
        An AdaptiveAscent, joined as by `better_of`.

    Raises:
        InputError: if ascend is no such function, keys are not one per image, or restarts is no
            integer of at least 1.
    """
    check_callable("ascend", ascend, "[B] keys -> AdaptiveAscent")
    check_keys("keys", keys)
    restarts = check_count("restarts", restarts, least=1, most=MOST_STEPS)

    def run(number: Array | int) -> AdaptiveAscent:
        found = ascend(numbered(keys, number))
        if not isinstance(found, AdaptiveAscent):
            raise InputError(f"ascend must return an AdaptiveAscent, got a {type(found).__name__}")
        return found

    def step(best: AdaptiveAscent, number: Array) -> tuple[AdaptiveAscent, None]:
        found = run(number)
        joined = better_of(best, found)
        return jax.tree.map(lambda *each: jnp.where(number == 0, *each), found, joined), None

    # Not the first run itself: it would be compiled twice.
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(run, 0))
    best, _ = jax.lax.scan(step, nothing, jnp.arange(restarts))
    return best


def mean_over_draws(
    objective: Callable[[Images, Keys], PerImage | Judged], keys: Keys, *, draws: int
) -> Callable[[Images, Array | int], Judged]:
    """The mean of a random objective over draws, and of its gradient: what is to be climbed.

    ``J(x) = 1/n sum_d J(x, k_d)`` with ``k_d = fold_in(fold_in(keys[i], step), d)``: new draws at
    every step, the same whatever batch or device an image is in. Expectation over transformation,
    Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018,
    https://arxiv.org/abs/1707.07397. Value and gradient are computed draw by draw, in the memory of
    one.

    Climb it with the number of each step:

        mean = attacks.mean_over_draws(objective, keys, draws=20)
        attacks.adaptive_ascent(mean, images, threat=threat, per_step=jnp.arange(steps + 1))

    The image that is best by such means was also lucky with its draws: its value is too good. Score
    the images that are chosen once more, with keys that no step used.

    Args:
        objective: (images [B,H,W,C], [B] keys) -> value [B] or `Judged`, row i a function of image
            i and its key only.
        keys: [B] keys, of `example_keys`.
        draws: how many, from 1 to 1,000,000, static.

    Returns:
        A function (images [B,H,W,C], step) -> Judged, with means over the draws of value and
        deciding scores (integers become floating point).

    Raises:
        InputError: if objective is no function, keys are not one per image, or draws is no integer
            of at least 1.
    """
    check_callable("objective", objective, "(images [B,H,W,C], keys [B]) -> [B]")
    check_keys("keys", keys)
    draws = check_count("draws", draws, least=1, most=MOST_STEPS)

    def mean(images: Images, step: Array | int) -> Judged:
        if len(images) != len(keys):
            raise InputError(f"keys must be one per image, got {len(keys)} for {len(images)}")
        return _mean(objective, images, numbered(keys, step), draws)

    return mean


def _mean(
    objective: Callable[[Images, Keys], PerImage | Judged], images: Images, keys: Keys, draws: int
) -> Judged:
    """The mean over draws; its gradient is summed up on the way and not by going back."""

    def values(images: Images, number: Array) -> tuple[PerImage, tuple[Array, ...]]:
        return judged(objective, images, (numbered(keys, number),))

    def summed(drawn: Callable[[Array], Any]) -> Any:
        def add(total: Any, number: Array) -> tuple[Any, None]:
            return jax.tree.map(lambda sum_, new: sum_ + new / draws, total, drawn(number)), None

        shapes = jax.eval_shape(drawn, jnp.zeros((), jnp.int32))
        total = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), shapes
        )
        return jax.lax.scan(add, total, jnp.arange(draws))[0]

    @jax.custom_vjp
    def mean(images: Images) -> tuple[PerImage, tuple[Array, ...]]:
        return summed(lambda number: values(images, number))

    def forward(images: Images) -> tuple[tuple[PerImage, tuple[Array, ...]], Images]:
        value, gradient, deciding = summed(
            lambda number: value_and_gradient(lambda x: values(x, number), images)
        )
        return (value, deciding), gradient

    def backward(gradient: Images, along: tuple[PerImage, Any]) -> tuple[Images]:
        return (gradient * per_row(along[0], gradient).astype(gradient.dtype),)

    mean.defvjp(forward, backward)
    return Judged(*mean(images))
