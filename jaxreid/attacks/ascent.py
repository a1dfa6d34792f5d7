"""Projected gradient ascent: the one loop under every attack."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreid.attacks.objectives import Objective
from jaxreid.attacks.threats import Threat
from jaxreid.checks import check_images, check_values, shape_of
from jaxreid.errors import InputError
from jaxreid.keys import keys_of_rows
from jaxreid.types import Array, ArrayLike

__all__ = ["Ascent", "projected_ascent"]


class Ascent(NamedTuple):
    """Result of `projected_ascent`.

    Attributes:
        images: [B,H,W,C] in [0, 1] and inside the threat model.
        objective: [steps,B], the objective where each step set out: row 0 is the start's, and the
            value of the returned images (one more forward pass) is not among them.
    """

    images: Array
    objective: Array


def _starting_point(
    images: Array, threat: Threat, key: Array | None, start: ArrayLike | None
) -> Array:
    if start is not None and key is not None:
        raise InputError("give either key (a random start) or start (your own), not both")
    if start is not None:
        if jnp.shape(start) != images.shape:
            raise InputError(
                f"start must be shaped like images {shape_of(images)}, got {shape_of(start)}"
            )
        check_values(start, jnp.isfinite, "start must be finite, but holds NaN or infinity")
        return threat.project(jnp.asarray(start, images.dtype), images)
    if key is not None:
        return threat.project(
            threat.random_start(keys_of_rows(key, images.shape[0]), images), images
        )
    return images


def projected_ascent(
    objective: Objective,
    images: ArrayLike,
    *,
    threat: Threat,
    rule: optax.GradientTransformation,
    steps: int,
    key: Array | None = None,
    start: ArrayLike | None = None,
) -> Ascent:
    """Climbs an objective inside a threat model, ``x <- project(x + rule(grad J(x)))``.

    Compose your own attack from an objective, a rule and a threat:

        objective = lambda x: -similarity(model(x), target)
        threat = attacks.linf(5 / 255)
        rule = attacks.steepest_step(threat.steepest, 1 / 255)
        attacks.projected_ascent(objective, images, threat=threat, rule=rule, steps=15).images

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
    https://arxiv.org/abs/1706.06083.

    Args:
        objective: images [B,H,W,C] -> [B], row i a function of image i only; it is maximised.
        images: [B,H,W,C] float32 or float64 in [0, 1], the clean images.
        threat: the allowed set, `linf(eps)` or `l2(eps)`.
        rule: optax transformation of the gradient [B,H,W,C]; its updates are added.
        steps: number of steps, >= 0, static.
        key: a random key, or [B] keys (`example_keys`), for a random start in the threat model.
        start: [B,H,W,C] starting images, projected first; without key and start it is `images`.

    Returns:
        An Ascent: images [B,H,W,C] in [0, 1], and the objective [steps,B].

    Raises:
        InputError: on bad images, steps, start or keys, or an objective of the wrong shape.
    """
    images = check_images("images", images)
    if not isinstance(steps, int | np.integer) or steps < 0:
        raise InputError(f"steps must be an integer of at least 0, got {steps!r}")
    adversarial = _starting_point(images, threat, key, start)

    def step(
        carry: tuple[Array, optax.OptState], _: None
    ) -> tuple[tuple[Array, optax.OptState], Array]:
        adversarial, state = carry
        value, pullback = jax.vjp(objective, adversarial)
        if value.shape != images.shape[:1]:
            raise InputError(
                f"the objective must return [B] = [{images.shape[0]}] values, got {shape_of(value)}"
            )
        (gradient,) = pullback(jnp.ones_like(value))
        updates, state = rule.update(gradient, state)
        if updates.shape != images.shape:
            raise InputError(
                f"the rule must return a step shaped like images {shape_of(images)}, "
                f"got {shape_of(updates)}"
            )
        return (threat.project(adversarial + updates, images), state), value

    carry = (adversarial, rule.init(adversarial))
    (adversarial, _), values = jax.lax.scan(step, carry, length=int(steps))
    return Ascent(adversarial, values)
