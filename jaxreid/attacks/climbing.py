"""What every climb inside a threat model shares: its start, its gradient, its checks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from jaxreid.attacks.arguments import array_of, mask_of
from jaxreid.attacks.threats import Threat
from jaxreid.checks import check_callable, check_count, check_values, is_finite, shape_of, staged
from jaxreid.constants import MOST_STEPS
from jaxreid.errors import InputError
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, Images, ImagesLike, Keys, KeysLike, MaskLike, PerImage

__all__ = ["better", "chosen"]  # the rest is for this package only


def check_climb(objective: object, threat: Threat, steps: int) -> None:
    """Checks what every climb takes."""
    check_callable("objective", objective, "images [B,H,W,C] -> [B]")
    check_threat(threat)
    check_count("steps", steps, most=MOST_STEPS)


def check_threat(threat: Threat) -> None:
    """Checks that an argument is a threat model, and not a function that makes one."""
    if not isinstance(threat, Threat):
        raise InputError(
            "threat must be a Threat, as attacks.linf(5 / 255) is one, "
            f"got a {type(threat).__name__}"
        )


def starting_point(
    images: Images,
    threat: Threat,
    key: KeysLike | None,
    start: ImagesLike | None,
    *,
    drawn: Callable[[Keys, Images], Images] | None = None,
) -> Images:
    """The start that was given, or one drawn (by default in the ball), or the clean images."""
    if start is not None and key is not None:
        raise InputError("give either key (a random start) or start (your own), not both")
    if start is not None:
        return threat.project(_checked_start(start, images), images)
    if key is not None:
        draw = threat.random_start if drawn is None else drawn
        return threat.project(draw(keys_of_rows(key, images.shape[0]), images), images)
    return images


def _checked_start(start: ImagesLike, images: Images) -> Images:
    start = array_of("start", start)
    if start.shape != images.shape:
        raise InputError(
            f"start must be shaped like images {shape_of(images)}, got {shape_of(start)}"
        )
    with staged():
        check_values(start, is_finite, "start must be finite, but holds NaN or infinity")
    return jnp.asarray(start, images.dtype)


def value_and_gradient(
    objective: Callable[[Images], tuple[PerImage, Any]], images: Images
) -> tuple[PerImage, Images, Any]:
    """Value [B] and gradient [B,H,W,C] of an objective, and what it returns beside its value."""
    value, pullback, beside = jax.vjp(objective, images, has_aux=True)
    check_value(value, images)
    (gradient,) = pullback(jnp.ones_like(value))
    return value, gradient, beside


def check_value(value: Any, images: Images) -> None:
    """Checks what an objective returned for images."""
    if not hasattr(value, "shape") or value.shape != images.shape[:1]:
        got = shape_of(value) if hasattr(value, "shape") else f"a {type(value).__name__}"
        raise InputError(f"the objective must return [B] = [{images.shape[0]}] values, got {got}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(f"the objective must return floating point, got {shape_of(value)}")


def check_score(name: str, score: Any, images: Images) -> Array:
    """Checks scores that are compared column by column, and cuts their gradient."""
    if not hasattr(score, "shape") or score.ndim != 2 or 0 in score.shape[1:]:
        got = shape_of(score) if hasattr(score, "shape") else f"a {type(score).__name__}"
        raise InputError(f"{name} must be [B,L] = [{images.shape[0]},L], got {got}")
    real = any(jnp.issubdtype(score.dtype, kind) for kind in (jnp.floating, jnp.integer))
    if score.shape[0] != images.shape[0] or not real:
        raise InputError(
            f"{name} must be numbers [B,L] = [{images.shape[0]},L], got {shape_of(score)}"
        )
    return jax.lax.stop_gradient(score)


def of_no_use(gradient: Images) -> tuple[Bool[Array, " B"], Bool[Array, " B"]]:
    """Which images' gradients hold NaN or infinity, and which are zero throughout."""
    nonfinite = ~jnp.all(jnp.isfinite(gradient), axis=(1, 2, 3))
    return nonfinite, ~nonfinite & jnp.all(gradient == 0, axis=(1, 2, 3))


def per_row(values: Array, images: Images) -> Array:
    """[B] as [B,1,1,1], to meet images."""
    return values.reshape(values.shape + (1,) * (images.ndim - 1))


def radius_of(threat: Threat, images: Images) -> Array:
    """The budget of a threat model that says it."""
    if not callable(threat.radius):
        raise InputError(
            "threat must have a radius (images -> the budget, which broadcasts against them), as "
            "attacks.linf and attacks.l2 have: the step begins at twice of it"
        )
    return jnp.asarray(threat.radius(images), images.dtype)


def better(score: Array, than: Array) -> Bool[Array, " B"]:
    """Whether scores [B,L] come before others in lexicographic order; NaN is below all numbers."""
    score, than = (_below_all(each) for each in (score, than))
    differs = score != than
    column = jnp.argmax(differs, axis=1)[:, None]
    ahead = jnp.take_along_axis(score, column, 1) > jnp.take_along_axis(than, column, 1)
    return ahead[:, 0]


def _below_all(score: Array) -> Array:
    if not jnp.issubdtype(score.dtype, jnp.floating):
        return score
    return jnp.where(jnp.isnan(score), -jnp.inf, score)


def chosen(mask: Bool[Array, " B"], new: Any, old: Any) -> Any:
    """Rows of one pytree where the mask is set, of another where not."""

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, new, old)


def active_rows(active: MaskLike | None, images: Images) -> Bool[Array, " B"]:
    """Which rows take part: all, unless it is said."""
    if active is None:
        return jnp.ones_like(images, bool, shape=images.shape[:1])
    mask = mask_of("active", active)
    if mask.shape != images.shape[:1]:
        raise InputError(f"active must be [B] = [{images.shape[0]}], got {shape_of(mask)}")
    return mask
