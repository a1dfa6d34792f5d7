"""From the arrays a caller has (features, masks) to signed guides, and up their objective."""

import jax
import jax.numpy as jnp
import optax

from jaxreid.attacks.arguments import (
    array_of,
    check_callable,
    features_of,
    images_of,
    mask_of,
)
from jaxreid.attacks.ascent import Ascent, projected_ascent
from jaxreid.attacks.objectives import signed_guides
from jaxreid.attacks.threats import Threat
from jaxreid.checks import Sizes, check_features, check_values, shape_of
from jaxreid.errors import InputError
from jaxreid.staging import staged
from jaxreid.types import Array, ArrayLike, Embed, Guides

__all__: list[str] = []  # the named attacks are the public face


def signed(name: str, features: ArrayLike, mask: ArrayLike | None, sign: float) -> Guides:
    """Guides of one sign from features [B,D] or [B,G,D] and their mask."""
    features = array_of(name, features)
    mask = None if mask is None else mask_of(f"{name}_mask", mask)
    if features.ndim == 2:
        features = features[:, None, :]
        mask = mask[:, None] if mask is not None and mask.ndim == 1 else mask
    sizes = Sizes()
    sizes.check(name, features, "BGD")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"{name} must be floating point features, got {shape_of(features)}")
    if mask is None:
        with staged():
            features = check_features(name, features)
        mask = jnp.ones(features.shape[:2], bool)
    sizes.check(f"{name}_mask", mask, "BG")
    return Guides(jnp.asarray(features), sign * mask.astype(jnp.float32))


def join(first: Guides, second: Guides) -> Guides:
    """Pushing and pulling guides of the same images as one set."""
    sizes = Sizes()
    sizes.check("push", first.features, "BGD")
    sizes.check("pull", jnp.swapaxes(second.features, 0, 1), "NBD")
    dtype = jnp.promote_types(first.features.dtype, second.features.dtype)
    return Guides(
        jnp.concatenate([first.features.astype(dtype), second.features.astype(dtype)], axis=1),
        jnp.concatenate([first.weights, second.weights], axis=1),
    )


def ascend_guides(
    embed: Embed,
    images: ArrayLike,
    guides: Guides,
    *,
    threat: Threat,
    rule: optax.GradientTransformation,
    steps: int,
    key: Array | None = None,
    start: ArrayLike | None = None,
) -> Ascent:
    """Runs the ascent; an image without any guide comes back as it was, random start or not."""
    images = images_of(images)
    check_callable("embed", embed, "images [B,H,W,C] -> features [B,D]")
    if guides.features.shape[0] != images.shape[0]:
        raise InputError(
            f"guides must have one row per image: got {guides.features.shape[0]} rows "
            f"for images {shape_of(images)}"
        )
    ascent = projected_ascent(
        signed_guides(embed, guides),
        images,
        threat=threat,
        rule=rule,
        steps=steps,
        key=key,
        start=start,
    )
    guided = jnp.any(guides.weights != 0, axis=1)
    ascent = ascent._replace(
        images=jnp.where(guided[:, None, None, None], ascent.images, images),
        nonfinite_steps=jnp.where(guided, ascent.nonfinite_steps, 0),
        zero_steps=jnp.where(guided, ascent.zero_steps, 0),
    )
    if steps:
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


def clean_features_of(embed: Embed, images: Array, given: ArrayLike | None) -> Array:
    """Features of the clean images, constant for every derivative."""
    check_callable("embed", embed, "images [B,H,W,C] -> features [B,D]")
    if given is None:
        features, message = features_of(embed, images), "embed gives NaN or infinity for an image"
    else:
        features = jnp.asarray(array_of("clean_features", given))
        message = "clean_features must be finite, but holds NaN or infinity"
    Sizes().check("what embed returns" if given is None else "clean_features", features, "BD")
    with staged():
        check_values(features, jnp.isfinite, message)
    return jax.lax.stop_gradient(check_features("clean_features", features))


def refuse_unit_length(name: str, features: Array) -> None:
    """Refuses to start at the clean image where its gradient is zero but for rounding.

    f is orthogonal to every change of a feature of fixed length, so ||f(x) + f||^2 is stationary.
    """
    tolerance = 1e-4 if jnp.finfo(features.dtype).bits >= 32 else 1e-2
    lengths = jnp.sqrt(jnp.sum(jnp.square(features.astype(jnp.float32)), axis=1))
    unit = jnp.abs(lengths - 1) <= tolerance
    with staged():
        check_values(
            jnp.all(unit | (lengths == 0)) & jnp.any(unit),
            jnp.logical_not,
            f"{name} needs key (or start) on features of unit length: at the clean image its "
            "gradient is zero",
        )
