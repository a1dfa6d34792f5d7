"""From the arrays a caller has (features, masks) to signed guides, and up their objective."""

import jax
import jax.numpy as jnp
import optax

from jaxreid.attacks.ascent import Ascent, projected_ascent
from jaxreid.attacks.objectives import signed_guides
from jaxreid.attacks.threats import Threat
from jaxreid.checks import Sizes, check_features, check_images, shape_of
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Embed, Guides

__all__: list[str] = []  # the named attacks are the public face


def signed(name: str, features: ArrayLike, mask: ArrayLike | None, sign: float) -> Guides:
    """Guides of one sign from features [B,D] or [B,G,D] and their mask."""
    features = jnp.asarray(features)
    mask = None if mask is None else jnp.asarray(mask, bool)
    if features.ndim == 2:
        features = features[:, None, :]
        mask = mask[:, None] if mask is not None and mask.ndim == 1 else mask
    sizes = Sizes()
    sizes.check(name, features, "BGD")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"{name} must be floating point features, got {shape_of(features)}")
    if mask is None:
        features = check_features(name, features)
        mask = jnp.ones(features.shape[:2], bool)
    sizes.check(f"{name}_mask", mask, "BG")
    return Guides(features, sign * mask.astype(jnp.float32))


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
    images = check_images("images", images)
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
    return ascent._replace(images=jnp.where(guided[:, None, None, None], ascent.images, images))


def clean_features_of(embed: Embed, images: Array, given: ArrayLike | None) -> Array:
    """Features of the clean images, constant for every derivative."""
    features = embed(images) if given is None else check_features("clean_features", given)
    return jax.lax.stop_gradient(features)
