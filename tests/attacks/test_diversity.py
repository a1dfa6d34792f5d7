"""Diverse inputs and smoothed gradients, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from jaxreid.attacks import example_keys, input_diversity, smoothed_gradients
from jaxreid.errors import InputError

IMAGES = np.random.default_rng(0).uniform(size=(6, 16, 8, 3)).astype(np.float32)
KEY = jax.random.key(3)
diverse = jax.jit(input_diversity, static_argnames=("probability", "smallest"))


def placed(image, size, offset):
    """x((p - t) / q) by SciPy, with the centres of pixels at halves."""
    axes = [
        (np.arange(side) + 0.5 - t) / size - 0.5 for side, t in zip((16, 8), offset, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    inside = np.ones(grid[0].shape, bool)
    for values, side in zip(grid, (16, 8), strict=True):
        inside &= (values >= -0.5) & (values <= side - 0.5)
    channels = [map_coordinates(image[..., c], grid, order=1, mode="nearest") for c in range(3)]
    return np.stack(channels, -1) * inside[..., None]


def test_it_is_a_smaller_image_somewhere_on_black():
    found = diverse(IMAGES, KEY, probability=1.0, smallest=0.6)
    places = []
    for image, key, result in zip(IMAGES, example_keys(KEY, np.arange(6)), found, strict=True):
        draws = np.asarray(jax.random.uniform(key, (4,)), np.float64)
        size = 0.6 + 0.4 * draws[0]
        offset = draws[1:3] * (1 - size) * np.array([16, 8])
        places.append((size, *offset))
        np.testing.assert_allclose(result, placed(image, size, offset), atol=1e-5)
    assert len(set(places)) == 6
    assert all(0.6 <= size <= 1 and 0 <= top <= 16 * 0.4 for size, top, _ in places)


def test_both_sides_keep_their_proportions_and_nothing_is_cut_off():
    white = np.ones((200, 40, 20, 1), np.float32)
    found = np.asarray(diverse(white, KEY, probability=1.0, smallest=0.5))
    area = found.sum((1, 2, 3)) / 800  # q^2, whatever the place: white keeps its mass at the rim
    height = (found.max((2, 3)) > 0.5).sum(1) / 40
    width = (found.max((1, 3)) > 0.5).sum(1) / 20
    np.testing.assert_allclose(height, width, atol=0.06)
    np.testing.assert_allclose(area, height * width, atol=0.06)
    assert 0.5 <= height.min() < 0.55
    assert height.max() > 0.95
    # Uniform in [0.5, 1].
    np.testing.assert_allclose(height.mean(), 0.75, atol=0.03)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_as_many_as_said_are_changed(probability):
    images = np.random.default_rng(1).uniform(size=(400, 4, 4, 1)).astype(np.float32)
    found = np.asarray(diverse(images, KEY, probability=probability))
    changed = (found != images).any((1, 2, 3)).mean()
    np.testing.assert_allclose(changed, probability, atol=0.08)
    assert ((found >= 0) & (found <= 1)).all()


def test_an_image_depends_on_its_own_key_alone():
    keys = example_keys(KEY, np.arange(6))
    whole = diverse(IMAGES, keys, probability=1.0)
    alone = diverse(IMAGES[4:5], keys[4:5], probability=1.0)[0]
    # Another program, which may round otherwise.
    np.testing.assert_allclose(alone, whole[4], atol=1e-6)


def test_gradients_go_through_it():
    keys = example_keys(KEY, np.arange(6))
    target = np.random.default_rng(2).normal(size=IMAGES.shape).astype(np.float32)

    def value(images):
        return jnp.sum(input_diversity(images, keys, probability=1.0) * target)

    slope = jax.jit(jax.grad(value))(IMAGES)
    # Linear in the images where nothing is clipped: the value is the slope times them.
    np.testing.assert_allclose(
        jnp.sum(slope * IMAGES), jax.jit(value)(IMAGES), rtol=1e-4, atol=1e-3
    )
    assert (np.abs(slope).max((1, 2, 3)) > 0).all()


@pytest.mark.slow
@given(
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([0.4, 0.75, 7 / 3, 3.0, 9.0]),
    st.integers(0, 99),
)
def test_gradients_are_blurred_as_scipy_blurs(height, width, sigma, seed):
    slopes = np.random.default_rng(seed).normal(size=(2, height, width, 3)).astype(np.float32)
    found = smoothed_gradients(slopes, sigma=sigma)
    radius = int(np.ceil(3 * sigma))
    kernel = {"sigma": sigma, "radius": radius, "mode": "constant"}
    expected = [
        np.stack([gaussian_filter(one[..., c].astype(np.float64), **kernel) for c in range(3)], -1)
        for one in slopes
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_published_kernel_has_fifteen_taps_to_three_deviations():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    taps = np.exp(-0.5 * np.linspace(-3, 3, 15) ** 2)
    expected = np.outer(taps, taps) / taps.sum() ** 2
    found = np.asarray(smoothed_gradients(point, sigma=7 / 3))[..., 0]
    np.testing.assert_allclose(found[13:28, 13:28], expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)


def test_without_a_deviation_nothing_is_blurred():
    np.testing.assert_array_equal(smoothed_gradients(IMAGES, sigma=0), IMAGES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: input_diversity(IMAGES * 255, KEY), r"images must lie in \[0, 1\]"),
        (lambda: input_diversity(IMAGES[0], KEY), "images"),
        (lambda: input_diversity(IMAGES, example_keys(KEY, np.arange(5))), "5 keys for 6 rows"),
        (
            lambda: input_diversity(IMAGES, KEY, probability=1.5),
            r"probability must lie in \[0, 1\]",
        ),
        (lambda: input_diversity(IMAGES, KEY, smallest=0), r"smallest must lie in \(0, 1\]"),
        (lambda: smoothed_gradients(IMAGES[0, 0], sigma=1.0), r"must be \[\.\.\.,H,W,C\]"),
        (lambda: smoothed_gradients(IMAGES.astype(int), sigma=1.0), "gradients must be floating"),
        (lambda: smoothed_gradients(IMAGES, sigma=-1), "sigma must be a number of pixels"),
        (lambda: smoothed_gradients(IMAGES, sigma=np.nan), "sigma must be a number of pixels"),
        (lambda: smoothed_gradients(IMAGES, sigma="1"), "sigma must be a number of pixels"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
