"""JPEG's loss beside Pillow's JPEG, and its derivative."""

import io

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxreid.errors import InputError
from jaxreid.evaluation.defended import jpeg, straight_through

SMOOTH = 3  # pixels


def pictures(kind, size, seed=0):
    """uint8 [1,H,W,3]: noise, or what a photograph is like."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (1, *size, 3), np.uint8)
    blurred = cv2.GaussianBlur(rng.uniform(-4, 5, (*size, 3)), (0, 0), SMOOTH)
    return np.clip(255 * (blurred - blurred.mean() + 0.5), 0, 255).astype(np.uint8)[None]


def by_pillow(levels, quality, *, subsampled):
    buffer = io.BytesIO()
    subsampling = 2 if subsampled else 0
    Image.fromarray(levels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"), np.float64)


@pytest.mark.parametrize("subsampled", [False, True])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
@pytest.mark.parametrize(
    "size", [pytest.param((64, 32), marks=pytest.mark.slow), (37, 21), (16, 9)]
)
def test_it_is_what_pillow_gives(size, kind, subsampled):
    """Up to waves on the border between two multiples, which a level of 8 bits decides."""
    levels = pictures(kind, size)
    for quality in (1, 10, 49, 50, 75, 100):
        images = jnp.asarray(levels / 255, jnp.float32)
        found = 255 * np.asarray(jpeg(images, quality=quality, subsampled=subsampled))[0]
        np.testing.assert_allclose(found, np.round(found), atol=1e-4)
        apart = np.abs(found - by_pillow(levels[0], quality, subsampled=subsampled))
        lost = np.abs(found - levels[0]).mean()
        assert apart.mean() < max(0.1 * lost, 0.4), quality
        assert np.mean(apart > 1.5) < 0.2, quality


def test_pillow_s_default_is_the_default():
    levels = pictures("smooth", (64, 32))
    buffer = io.BytesIO()
    Image.fromarray(levels[0]).save(buffer, "JPEG")
    with Image.open(buffer) as image:
        expected = np.asarray(image, np.float64)
    found = 255 * np.asarray(jpeg(jnp.asarray(levels / 255, jnp.float32), quality=75))[0]
    assert np.abs(found - expected).mean() < 0.2
    other = 255 * np.asarray(jpeg(jnp.asarray(levels / 255, jnp.float32), quality=90))[0]
    assert np.abs(other - expected).mean() > 0.5


@pytest.mark.parametrize("quality", [1, 75])
def test_at_full_colours_the_derivative_is_the_identity_s(quality):
    rng = np.random.default_rng(quality)
    images = jnp.asarray(rng.uniform(0, 1, (2, 8, 8, 3)), jnp.float32)
    along = jnp.asarray(rng.normal(size=images.shape), jnp.float32)

    @jax.jit
    def coded(x):
        return jpeg(x, quality=quality, subsampled=False)

    value, slope = jax.jvp(coded, (images,), (along,))
    np.testing.assert_allclose(slope, along, atol=1e-4)
    np.testing.assert_array_equal(value, coded(images))
    (back,) = jax.vjp(coded, images)[1](along)
    np.testing.assert_allclose(back, along, atol=1e-4)


def test_averaged_colours_keep_the_derivative_of_grey():
    """Of equal changes of all channels it is the identity's; colours next to each other mix."""
    images = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, (1, 32, 32, 3)), jnp.float32)
    grey = jnp.asarray(np.random.default_rng(1).normal(size=(1, 32, 32, 1)), jnp.float32)
    grey = jnp.broadcast_to(grey, images.shape)

    @jax.jit
    def coded(x):
        return jpeg(x, quality=30)

    slope = jax.jvp(coded, (images,), (grey,))[1]
    np.testing.assert_allclose(slope, grey, atol=1e-4)
    red = jnp.zeros_like(images).at[0, 8, 8, 0].set(1.0)
    mixed = jax.jvp(coded, (images,), (red,))[1]
    assert jnp.abs(mixed[0, 9, 9]).max() > 0.01
    np.testing.assert_allclose(mixed.sum((1, 2))[0], [1, 0, 0], atol=1e-3)


def test_straight_through_is_the_function_with_another_derivative():
    floor = straight_through(jnp.floor)
    x = jnp.asarray([0.3, 1.7, -2.5])
    np.testing.assert_array_equal(floor(x), [0, 1, -3])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(floor(x) * x))(x), jnp.floor(x) + x)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (jnp.zeros((1, 8, 8, 3)), {"quality": 0}, "quality must be 1 to 100|at least 1"),
        (jnp.zeros((1, 8, 8, 3)), {"quality": 101}, "quality must be 1 to 100"),
        (jnp.zeros((1, 8, 8, 3)), {"quality": 7.5}, "quality must be an integer"),
        (jnp.zeros((1, 8, 8, 3)), {"quality": 75, "subsampled": 2}, "subsampled must be True"),
        (jnp.zeros((8, 8, 3)), {"quality": 75}, r"expected images \[B,H,W,3\]"),
        (jnp.zeros((1, 8, 8, 3), int), {"quality": 75}, "divide by 255"),
    ],
)
def test_wrong_arguments_are_named(images, options, message):
    with pytest.raises(InputError, match=message):
        jpeg(images, **options)
