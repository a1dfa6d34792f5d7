"""The one objective of all metric attacks: signed squared distances to guides."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.attacks.arguments import array_of, mask_of
from jaxreid.checks import (
    Sizes,
    check_callable,
    check_features,
    check_values,
    checked_features,
    is_finite,
    is_known,
    shape_of,
    staged,
)
from jaxreid.errors import InputError
from jaxreid.types import (
    Array,
    ArrayLike,
    Embed,
    Guides,
    Images,
    MaskLike,
    PerImage,
    PullLike,
    PushLike,
    Scalar,
)

__all__ = ["Objective", "signed_guides"]

Objective = Callable[[Images], PerImage]
"""images [B,H,W,C] -> what to maximise, [B]; row i depends on image i only."""


class _Paraboloid(NamedTuple):
    """sum_k w_k ||f - g_k||^2 as a function of f alone, about an origin near the guides."""

    origin: Float[Array, " D"]
    curvature: Scalar  # sum_k w_k
    slope: Float[Array, " D"]  # sum_k w_k (g_k - origin)
    constant: Scalar  # sum_k w_k ||g_k - origin||^2


@jax.jit
@jax.vmap
def _paraboloids(guides: Float[Array, "G D"], weights: Float[Array, " G"]) -> _Paraboloid:
    """Sums up the guides [G,D] of each image, so that a step does not pay for their number."""
    used = weights != 0
    guides = jnp.where(used[:, None], guides, 0)
    # About the guides' mean the large terms W ||f||^2 and 2 f.(sum w g) no longer cancel, and with
    # one guide the value is exactly w ||f - g||^2.
    origin = jnp.sum(guides, axis=0) / jnp.maximum(jnp.sum(used), 1)
    centred = jnp.where(used[:, None], guides - origin, 0)
    return _Paraboloid(
        origin=origin,
        curvature=jnp.sum(weights),
        slope=jnp.einsum("g,gd->d", weights, centred, precision=jax.lax.Precision.HIGHEST),
        constant=jnp.sum(weights * jnp.sum(jnp.square(centred), axis=-1)),
    )


def _height(feature: Float[Array, " D"], paraboloid: _Paraboloid) -> Scalar:
    """Value of the paraboloid at one feature [D]."""
    centred = feature - paraboloid.origin
    return (
        paraboloid.curvature * jnp.sum(jnp.square(centred))
        - 2 * jnp.sum(centred * paraboloid.slope)
        + paraboloid.constant
    )


def _checked(guides: Guides) -> Guides:
    """The same guides as JAX arrays."""
    if not isinstance(guides, Guides):
        raise InputError(f"guides must be Guides(features, weights), got a {type(guides).__name__}")
    sizes = Sizes()
    sizes.check("guides.features", guides.features, "BGD")
    sizes.check("guides.weights", guides.weights, "BG")
    features = array_of("guides.features", guides.features)
    weights = array_of("guides.weights", guides.weights)
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise InputError(f"guides.features must be floating point, got {shape_of(features)}")
    used = (np.asarray(weights) if is_known(weights) else weights) != 0
    masked: ArrayLike = features
    if isinstance(weights, jax.core.Tracer):
        # What is masked out may be NaN, and which that is shows only when the program runs.
        masked = jnp.where(used[..., None], features, 0)
    with staged():
        check_values(weights, is_finite, "guide weights must be finite, but hold NaN")
        check_values(
            masked,
            lambda g: is_finite(g) | ~used[..., None],
            "guide features must be finite where their mask is set, but hold NaN or infinity",
        )
    return Guides(jnp.asarray(features), jnp.asarray(weights))


def signed_guides(embed: Embed, guides: Guides) -> Objective:
    """Signed squared distances to guides, ``J(x) = sum_k w_k ||f(x) - g_k||^2``.

    Weights above 0 push away from a guide, those below 0 pull towards it, and 0 is padding: +1 and
    -1 for sums over guides, +1/P and -1/k for means. Computed in closed form,
    ``W ||f||^2 - 2 f.(sum_k w_k g_k) + const`` with W = sum_k w_k, about the guides' mean: the cost
    of a step does not grow with the number of guides. Bouniot et al., CVPRW 2020,
    https://openaccess.thecvf.com/content_CVPRW_2020/html/w47/Bouniot_Vulnerability_of_Person_Re-Identification_Models_to_Metric_Adversarial_Attacks_CVPRW_2020_paper.html

    Args:
        embed: images [B,H,W,C] in [0, 1] -> features [B,D].
        guides: features [B,G,D] in the unit of the embedding, finite weights [B,G],
            without unit.

    Returns:
        A function images [B,H,W,C] -> [B] in squared unit of the features, in float32 at least
        whatever precision the embedding computes in. Rows without a guide give 0.

    Raises:
        InputError: if shapes or types do not fit, or a weight, or a guide with one, is NaN or
            infinite.
    """
    check_callable("embed", embed, "images [B,H,W,C] -> features [B,D]")
    guides = _checked(guides)
    dtype = jnp.promote_types(guides.features.dtype, jnp.float32)
    paraboloids = _paraboloids(guides.features.astype(dtype), guides.weights.astype(dtype))

    def objective(images: Images) -> PerImage:
        features = checked_features(embed, images)
        expected = (guides.features.shape[0], guides.features.shape[-1])
        if features.shape != expected:
            raise InputError(
                f"embed returned {shape_of(features)} for images {shape_of(images)}; with guides "
                f"{shape_of(guides.features)} ([B,G,D]) it must return [B,D] = {list(expected)}"
            )
        return jax.vmap(_height)(features.astype(dtype), paraboloids)

    return objective


def signed(name: str, features: PushLike | PullLike, mask: MaskLike | None, sign: float) -> Guides:
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


def averaged(guides: Guides) -> Guides:
    """The same guides, those of an image weighing 1 together; none stay none."""
    total = jnp.sum(jnp.abs(guides.weights), axis=1, keepdims=True)
    return guides._replace(weights=guides.weights / jnp.maximum(total, 1))


def join(first: Guides, second: Guides) -> Guides:
    """Pushing and pulling guides of the same images as one set."""
    sizes = Sizes()
    sizes.check("push", first.features, "BGD")
    sizes.check("pull", second.features, "BND")
    dtype = jnp.promote_types(first.features.dtype, second.features.dtype)
    return Guides(
        jnp.concatenate([first.features.astype(dtype), second.features.astype(dtype)], axis=1),
        jnp.concatenate([first.weights, second.weights], axis=1),
    )
