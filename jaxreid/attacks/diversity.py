"""What makes a perturbation work elsewhere than on the very network, images and pixels it met."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import check_floating, check_images, check_number, shape_of, shown
from jaxreid.errors import InputError
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, ArrayLike, Image, Images, ImagesLike, KeysLike, RandomKey

__all__ = ["input_diversity", "smoothed_gradients"]

_RADIUS = 3  # deviations, as of 15 taps from -3 to 3


def input_diversity(
    images: ImagesLike, key: KeysLike, *, probability: float = 0.5, smallest: float = 1 / 1.1
) -> Images:
    """Input diversity (DI): some of the images, each a little smaller and somewhere else, on black.

    ``x'(p) = x((p - t) / q)``, black outside, bilinear; q uniform in [smallest, 1], for height and
    width alike, so that a person keeps their proportions, and t uniform where all of the image
    stays inside. Xie et al., "Improving Transferability of Adversarial Examples with Input
    Diversity", CVPR 2019, https://arxiv.org/abs/1803.06978, which enlarges, pads and shrinks back
    to the same effect. The same key gives the same q and t, for both sides of a distance.

    Args:
        images: float [B,H,W,C] in [0, 1].
        key: a single key, or [B] keys as `example_keys` makes them.
        probability: that an image is changed, in [0, 1].
        smallest: of the factors q, above 0 and at most 1.

    Returns:
        [B,H,W,C] in [0, 1], differentiable in images.

    Raises:
        InputError: a shape, type or number is not as it must be.
    """
    images = check_images("images", images)
    check_number("probability", probability, lambda p: (p >= 0) & (p <= 1), "lie in [0, 1]")
    check_number("smallest", smallest, lambda q: (q > 0) & (q <= 1), "lie in (0, 1]")

    def one(image: Image, key: RandomKey) -> Image:
        # In single precision, so that a key gives float64 images what it gives others.
        draws = jax.random.uniform(key, (4,)).astype(image.dtype)
        size = smallest + (1 - smallest) * draws[0]
        free = (1 - size) * jnp.asarray(image.shape[:2], image.dtype)
        moved = jax.image.scale_and_translate(
            image,
            image.shape,
            (0, 1),
            jnp.stack([size, size]),
            draws[1:3] * free,
            method="linear",
            antialias=False,
        )
        return jnp.where(draws[3] < probability, jnp.clip(moved, 0, 1), image)

    return jax.vmap(one)(images, keys_of_rows(key, len(images)))


def smoothed_gradients(gradients: ArrayLike, *, sigma: float) -> Array:
    """Translation-invariant gradients (TI): each channel blurred by a Gaussian.

    ``g'(p) = sum_d w(d) g(p + d)``, w the Gaussian of deviation sigma within 3 sigma of 0,
    normalised, and g = 0 outside: about the mean gradient at the image and at all small shifts of
    it. Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant
    Attacks", CVPR 2019, https://arxiv.org/abs/1904.02884.

    Args:
        gradients: float [...,H,W,C].
        sigma: at least 0, in pixels; 0 changes nothing. The published kernel of 15 pixels has 7/3.

    Returns:
        [...,H,W,C].

    Raises:
        InputError: gradients are not floating point or have no three axes; sigma is negative.
    """
    gradients = check_floating("gradients", gradients)
    if gradients.ndim < 3:
        raise InputError(f"gradients must be [...,H,W,C], got {shape_of(gradients)}")
    if not (isinstance(sigma, int | float) and math.isfinite(sigma) and sigma >= 0):
        raise InputError(f"sigma must be a number of pixels, 0 or more, got {shown(sigma)}")
    if sigma == 0:
        return gradients
    down, across = (
        jnp.asarray(_blur(side, sigma), gradients.dtype) for side in gradients.shape[-3:-1]
    )
    return jnp.einsum("ih,...hwc,jw->...ijc", down, gradients, across)


def _blur(side: int, sigma: float) -> np.ndarray:
    """The blur along an axis as a matrix [side,side]: products are what accelerators do best."""
    steps = np.arange(side)[:, None] - np.arange(side)
    radius = math.ceil(_RADIUS * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.exp(-0.5 * (steps / sigma) ** 2) / taps.sum()
    return np.where(np.abs(steps) <= radius, weights, 0)
