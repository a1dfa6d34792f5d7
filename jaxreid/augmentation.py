"""The random part of training images, on the device: pad and crop, flip, erase.

Every function takes one image and one key, so the batch is a `vmap` and an image's randomness
depends on its own key alone. Make the keys from the examples' positions in the dataset:
`augment(images, example_keys(jax.random.fold_in(key, step), batch.indices))`.
"""

import jax
import jax.numpy as jnp

from jaxreid.errors import InputError
from jaxreid.keys import keys_of_rows
from jaxreid.types import Array, ArrayLike

__all__ = ["augment", "pad_crop", "random_erase", "random_flip", "to_float"]


def to_float(images: ArrayLike) -> Array:
    """Brings pixels into [0, 1], ``x / 255``; there is no other normalisation outside a model.

    Args:
        images: [...,H,W,C] uint8 in 0 to 255; floating point in [0, 1] is returned as it is.

    Returns:
        The same shape, float32 in [0, 1].

    Raises:
        InputError: another dtype.
    """
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    raise InputError(f"images must be uint8, or floating point in [0, 1], got {images.dtype}")


def pad_crop(image: Array, key: Array, *, pad: int = 10) -> Array:
    """Pads with black and crops the old size at a random place.

    Args:
        image: [H,W,C], any dtype.
        key: of this image.
        pad: pixels on every side.

    Returns:
        [H,W,C]; the image moved by -pad to pad pixels along each axis.

    Raises:
        InputError: pad is negative.
    """
    if pad < 0:
        raise InputError(f"pad must be 0 or more, got {pad}")
    height, width, channels = image.shape
    padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), (height, width, channels))


def random_flip(image: Array, key: Array, *, probability: float | Array = 0.5) -> Array:
    """Mirrors left and right.

    Args:
        image: [H,W,C], any dtype.
        key: of this image.
        probability: of mirroring, in [0, 1]; may be traced.

    Returns:
        [H,W,C].
    """
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def random_erase(
    image: Array,
    key: Array,
    *,
    probability: float | Array = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
) -> Array:
    """Fills a random rectangle with uniform noise.

    Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, https://arxiv.org/abs/1708.04896.
    The paper draws again while the rectangle does not fit; here its sides are cut to the image's,
    so that the cost does not vary.

    Args:
        image: [H,W,C] floating point in [0, 1].
        key: of this image.
        probability: of erasing, in [0, 1]; may be traced.
        area: smallest and largest share of the image that is erased.
        aspect: smallest ratio of height to width; the largest is its inverse.

    Returns:
        [H,W,C] in [0, 1].

    Raises:
        InputError: area or aspect out of range.
    """
    if not 0.0 < area[0] <= area[1] <= 1.0 or not 0.0 < aspect <= 1.0:
        raise InputError(
            f"area must be 0 < smallest <= largest <= 1 and aspect in (0, 1], "
            f"got area {area} and aspect {aspect}"
        )
    height, width, _ = image.shape
    chance, size, shape, place, noise = jax.random.split(key, 5)
    share = jax.random.uniform(size, minval=area[0], maxval=area[1]) * height * width
    # Uniform in the logarithm: tall and wide rectangles are equally likely.
    ratio = jnp.exp(jax.random.uniform(shape, minval=jnp.log(aspect), maxval=-jnp.log(aspect)))
    rows = jnp.clip(jnp.round(jnp.sqrt(share * ratio)), 1, height)
    columns = jnp.clip(jnp.round(jnp.sqrt(share / ratio)), 1, width)
    # A whole number of places is free along each axis, the last one included.
    free = jnp.stack([height - rows, width - columns]) + 1.0
    top, left = jnp.floor(jax.random.uniform(place, (2,)) * free)
    y, x = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    inside = (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)
    erased = inside & jax.random.bernoulli(chance, probability)
    return jnp.where(erased[..., None], jax.random.uniform(noise, image.shape, image.dtype), image)


def augment(
    images: ArrayLike,
    key: Array,
    *,
    pad: int = 10,
    flip: float | Array = 0.5,
    erase: float | Array = 0.0,
) -> Array:
    """Pad and crop, flip, and erase, each image with its own key.

    Args:
        images: [B,H,W,C] uint8 in 0 to 255, or floating point in [0, 1].
        key: [B] keys from `jaxreid.keys.example_keys`, or one key (the row number is folded in).
        pad: see `pad_crop`; 10 pixels is for 256x128.
        flip: probability of `random_flip`.
        erase: probability of `random_erase`; 0 (not traced) leaves it out.

    Returns:
        [B,H,W,C] float32 in [0, 1].

    Raises:
        InputError: bad images or keys.
    """
    if jnp.ndim(images) != 4:
        raise InputError(f"images must have shape [B,H,W,C], got {jnp.shape(images)}")
    pixels = to_float(images)
    erases = not (isinstance(erase, float | int) and erase == 0)

    def one(image: Array, own: Array) -> Array:
        for_crop, for_flip, for_erase = jax.random.split(own, 3)
        image = random_flip(pad_crop(image, for_crop, pad=pad), for_flip, probability=flip)
        return random_erase(image, for_erase, probability=erase) if erases else image

    return jax.vmap(one)(pixels, keys_of_rows(key, pixels.shape[0]))
