"""The random part of training images, on the device: pad and crop, flip, erase, noise.

Every function takes one image and one key, so the batch is a `vmap` and an image's randomness
depends on its own key alone. Make the keys from the examples' positions in the dataset:
`augment(images, example_keys(jax.random.fold_in(key, step), batch.indices))`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped, UInt8

from jaxreid.checks import (
    Sizes,
    check_array,
    check_count,
    check_key,
    check_number,
    check_values,
    shape_of,
    shown,
)
from jaxreid.errors import InputError
from jaxreid.random import keys_of_rows
from jaxreid.types import (
    Array,
    ArrayLike,
    Image,
    ImageLike,
    Images,
    ImagesLike,
    KeysLike,
    RandomKey,
)

__all__ = ["augment", "pad_crop", "random_erase", "random_flip", "to_float"]

AnyImage = Shaped[Array, "H W C"]
AnyImageLike = Shaped[ArrayLike, "H W C"]

# Pixels on every side; a border of more leaves nothing of any image.
_MOST = 10_000


def _check_image(image: ArrayLike, key: Array) -> Array:
    """One image and its own key."""
    Sizes().check("image", image, "HWC")
    if check_key("key", key) != 0:
        raise InputError(f"key must be a single key, of this image, got {shape_of(key)}")
    return jnp.asarray(image)


def _check_pad(pad: int) -> int:
    pad = check_count("pad", pad, least=-_MOST, most=_MOST, of="pixels")
    if pad < 0:
        raise InputError(f"pad must be 0 or more, got {pad}")
    return pad


def _check_share(name: str, value: float | Array) -> None:
    check_number(name, value, lambda p: (p >= 0) & (p <= 1), "lie in [0, 1]")


def to_float(
    images: Float[ArrayLike, "*S H W C"] | UInt8[ArrayLike, "*S H W C"],
) -> Float[Array, "*S H W C"]:
    """Brings pixels into [0, 1], ``x / 255``; there is no other normalisation outside a model.

    Args:
        images: [...,H,W,C] uint8 in 0 to 255; floating point in [0, 1] is returned as it is.

    Returns:
        The same shape, float32 in [0, 1], or the floating dtype that was given.

    Raises:
        InputError: another dtype, fewer than three axes, or floating point values outside [0, 1].
    """
    dtype = check_array("images", images, "[...,H,W,C]")
    if images.ndim < 3:
        raise InputError(f"images must have shape [...,H,W,C], got {shape_of(images)}")
    if dtype == jnp.uint8:
        return jnp.asarray(images).astype(jnp.float32) / 255.0
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"images must be uint8, or floating point in [0, 1], got {images.dtype}")
    check_values(
        images,
        lambda x: (x >= 0) & (x <= 1),
        "images must lie in [0, 1] (no NaN) if they are floating point; "
        "divide 8-bit values by 255, or give them as uint8",
    )
    return jnp.asarray(images)


def pad_crop(image: AnyImageLike, key: RandomKey, *, pad: int = 10) -> AnyImage:
    """Pads with black and crops the old size at a random place.

    Args:
        image: [H,W,C], any dtype.
        key: of this image.
        pad: pixels on every side.

    Returns:
        [H,W,C]; the image moved by -pad to pad pixels along each axis.

    Raises:
        InputError: another shape, no key, or a pad that is no integer of at least 0.
    """
    image = _check_image(image, key)
    pad = _check_pad(pad)
    height, width, channels = image.shape
    padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), (height, width, channels))


def random_flip(
    image: AnyImageLike, key: RandomKey, *, probability: float | Array = 0.5
) -> AnyImage:
    """Mirrors left and right.

    Args:
        image: [H,W,C], any dtype.
        key: of this image.
        probability: of mirroring, in [0, 1]; may be traced.

    Returns:
        [H,W,C].

    Raises:
        InputError: another shape, no key, or a probability outside [0, 1].
    """
    image = _check_image(image, key)
    _check_share("probability", probability)
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def _check_rectangle(area: tuple[float, float], aspect: float) -> None:
    expected = "be in (0, 1], as in area=(0.02, 0.4): the smallest and the largest share"
    if not isinstance(area, tuple | list) or len(area) != 2:
        raise InputError(f"area must {expected}, got {shown(area)}")
    for name, value in (("area", area[0]), ("area", area[1]), ("aspect", aspect)):
        # Known before tracing: they decide what can be drawn at all.
        if isinstance(value, jax.core.Tracer):
            raise InputError(f"{name} must be known before tracing")
        check_number(
            name,
            value,
            lambda x: (x > 0) & (x <= 1),
            expected if name == "area" else "be in (0, 1]",
        )
    if area[0] > area[1]:
        raise InputError(f"area must {expected}, got {shown(area)}")


def random_erase(
    image: ImageLike,
    key: RandomKey,
    *,
    probability: float | Array = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
) -> Image:
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
        InputError: another shape or dtype, no key, or a probability, area or aspect out of range.
    """
    image = _check_image(image, key)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise InputError(f"image must be floating point in [0, 1], got {shape_of(image)}")
    _check_share("probability", probability)
    _check_rectangle(area, aspect)
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
    images: ImagesLike | UInt8[ArrayLike, "B H W C"],
    key: KeysLike,
    *,
    pad: int = 10,
    flip: float | Array = 0.5,
    erase: float | Array = 0.0,
    noise: float | Array = 0.0,
) -> Images:
    """Pad and crop, flip, erase, and add noise, each image with its own key.

    Args:
        images: [B,H,W,C] uint8 in 0 to 255, or floating point in [0, 1].
        key: [B] keys from `jaxreid.random.example_keys`, or one key (the row number is folded in).
        pad: see `pad_crop`; 10 pixels is for 256x128.
        flip: probability of `random_flip`.
        erase: probability of `random_erase`; 0 (not traced) leaves it out.
        noise: standard deviation of Gaussian noise on every value, in pixel range, after which the
            image is cut to [0, 1]; 0 (not traced) leaves it out.

    Returns:
        [B,H,W,C] float32 in [0, 1].

    Raises:
        InputError: bad images or keys, or a pad, flip, erase or noise out of range.
    """
    Sizes().check("images", images, "BHWC")
    pad = _check_pad(pad)
    _check_share("flip", flip)
    _check_share("erase", erase)
    check_number("noise", noise, lambda s: (s >= 0) & (s < jnp.inf), "be at least 0")
    pixels = to_float(images)
    erases, noisy = (not (isinstance(x, float | int) and x == 0) for x in (erase, noise))

    def one(image: Array, own: Array) -> Array:
        for_crop, for_flip, for_erase = jax.random.split(own, 3)
        image = random_flip(pad_crop(image, for_crop, pad=pad), for_flip, probability=flip)
        if erases:
            image = random_erase(image, for_erase, probability=erase)
        if noisy:
            # A key of its own: without noise, images are what they always were.
            drawn = jax.random.normal(jax.random.fold_in(own, 3), image.shape)
            image = jnp.clip(image + (noise * drawn).astype(image.dtype), 0, 1)
        return image

    return jax.vmap(one)(pixels, keys_of_rows(key, pixels.shape[0]))
