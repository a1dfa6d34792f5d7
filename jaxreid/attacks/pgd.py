"""Projected gradient ascent with a fixed step: the one loop under every attack."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.climbing import (
    check_climb,
    of_no_use,
    starting_point,
    value_and_gradient,
)
from jaxreid.attacks.objectives import Objective, signed_guides
from jaxreid.attacks.threats import Threat
from jaxreid.checks import check_callable, check_values, shape_of, staged
from jaxreid.errors import InputError
from jaxreid.types import (
    Array,
    CountPerImage,
    Embed,
    Guides,
    Images,
    ImagesLike,
    KeysLike,
)

__all__ = ["Ascent", "projected_ascent"]


class Ascent(NamedTuple):
    """Result of `projected_ascent`.

    Attributes:
        images: [B,H,W,C] in [0, 1] and inside the threat model.
        objective: [steps,B], the objective where each step set out: row 0 is the start's, and the
            value of the returned images (one more forward pass) is not among them.
        nonfinite_steps: int32 [B], steps at which an image's gradient held NaN or infinity. Pixels
            with such a gradient do not move; `(nonfinite_steps > 0).sum()` images had one.
        zero_steps: int32 [B], steps at which an image's whole gradient was zero (subnormal numbers,
            below 1.2e-38 in float32, count as zero): it has nowhere to go.
    """

    images: Images
    objective: Float[Array, "steps B"]
    nonfinite_steps: CountPerImage
    zero_steps: CountPerImage


class Step(NamedTuple):
    """What one step leaves behind, [B] each."""

    objective: Array
    nonfinite: Array
    zero: Array


def _update(
    rule: optax.GradientTransformation, gradient: Images, state: optax.OptState
) -> tuple[Images, optax.OptState]:
    """The step of a rule; no move where it has no finite one."""
    updates, state = rule.update(gradient, state)
    if jnp.shape(updates) != gradient.shape:
        raise InputError(
            f"the rule must return a step shaped like images {shape_of(gradient)}, "
            f"got {list(jnp.shape(updates))}"
        )
    return jnp.where(jnp.isfinite(updates), updates, 0), state


def _check_parts(
    objective: Objective, threat: Threat, rule: optax.GradientTransformation, steps: int
) -> None:
    check_climb(objective, threat, steps)
    if not (callable(getattr(rule, "init", None)) and callable(getattr(rule, "update", None))):
        raise InputError(
            "rule must be an optax transformation, as attacks.steepest_step makes them, "
            f"got a {type(rule).__name__}"
        )


def projected_ascent(
    objective: Objective,
    images: ImagesLike,
    *,
    threat: Threat,
    rule: optax.GradientTransformation,
    steps: int,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
) -> Ascent:
    """Climbs an objective inside a threat model, ``x <- project(x + rule(grad J(x)))``.

    Where the gradient, or the step that the rule makes of it, is NaN or infinite, a pixel does not
    move in that step.

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
        steps: number of steps, from 0 to 1,000,000, static.
        key: a random key, or [B] keys (`example_keys`), for a random start in the threat model.
        start: [B,H,W,C] starting images, projected first; without key and start it is `images`.

    Returns:
        An Ascent: images [B,H,W,C] in [0, 1] and in the budget whatever the gradient is, the
        objective [steps,B], and how often the gradient was of no use [B].

    Raises:
        InputError: on bad images, steps, start or keys, or an objective, threat or rule of another
            form.
    """
    images = images_of(images)
    _check_parts(objective, threat, rule, steps)
    return _climb(objective, images, threat=threat, rule=rule, steps=steps, key=key, start=start)


def _climb(
    objective: Objective,
    images: Images,
    *,
    threat: Threat,
    rule: optax.GradientTransformation,
    steps: int,
    key: KeysLike | None,
    start: ImagesLike | None,
) -> Ascent:
    """`projected_ascent` of arguments that were checked: under `jit` each check costs something."""
    adversarial = starting_point(images, threat, key, start)

    def step(
        carry: tuple[Array, optax.OptState], _: None
    ) -> tuple[tuple[Array, optax.OptState], Step]:
        adversarial, state = carry
        value, gradient, _ = value_and_gradient(lambda x: (objective(x), None), adversarial)
        nonfinite, zero = of_no_use(gradient)
        # Before the rule, or its norms and its memory would carry NaN to other pixels.
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0)
        updates, state = _update(rule, gradient, state)
        adversarial = threat.project(adversarial + updates, images)
        return (adversarial, state), Step(value, nonfinite, zero)

    carry = (adversarial, rule.init(adversarial))
    (adversarial, _), taken = jax.lax.scan(step, carry, length=int(steps))
    return ascent_of(adversarial, taken)


def ascent_of(adversarial: Images, taken: Step) -> Ascent:
    """Where a climb ended, and its steps [steps,B] summed up."""
    nonfinite, zero = (jnp.sum(each, axis=0, dtype=jnp.int32) for each in taken[1:])
    return Ascent(adversarial, taken.objective, nonfinite, zero)


def ascend_guides(
    embed: Embed,
    images: Images,
    guides: Guides,
    *,
    threat: Threat,
    rule: optax.GradientTransformation,
    steps: int,
    key: KeysLike | None = None,
    start: ImagesLike | None = None,
) -> Ascent:
    """Runs the ascent for images that were checked by who made the guides of them."""
    check_callable("embed", embed, "images [B,H,W,C] -> features [B,D]")
    if guides.features.shape[0] != images.shape[0]:
        raise InputError(
            f"guides must have one row per image: got {guides.features.shape[0]} rows "
            f"for images {shape_of(images)}"
        )
    objective = signed_guides(embed, guides)
    _check_parts(objective, threat, rule, steps)
    ascent = _climb(
        objective,
        images,
        threat=threat,
        rule=rule,
        steps=steps,
        key=key,
        start=start,
    )
    return only_guided(ascent, images, guides)


def only_guided(ascent: Ascent, images: Images, guides: Guides) -> Ascent:
    """An image without any guide comes back as it was; features that are NaN are refused."""
    guided = jnp.any(guides.weights != 0, axis=1)
    ascent = ascent._replace(
        images=jnp.where(guided[:, None, None, None], ascent.images, images),
        nonfinite_steps=jnp.where(guided, ascent.nonfinite_steps, 0),
        zero_steps=jnp.where(guided, ascent.zero_steps, 0),
    )
    if len(ascent.objective):
        _refuse_nan_features(ascent)
    return ascent


def _refuse_nan_features(ascent: Ascent) -> None:
    """NaN at the start with a gradient to match: it is the feature that is NaN, or too large."""
    with staged():
        check_values(
            jnp.isnan(ascent.objective[0]) & (ascent.nonfinite_steps > 0),
            jnp.logical_not,
            "embed gives NaN or infinity for an image in [0, 1], or features whose squares leave "
            "the range of their dtype (beyond 1e19 in float32); they must be finite, and smaller",
        )
