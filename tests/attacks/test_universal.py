"""One change for all images: the budget to the float, the definitions in loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import random_images

from jaxreid.attacks import saturated, shifted, total_variation
from jaxreid.errors import InputError

EPS = 5 / 255


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-4, EPS, 1.0]))
def test_shifted_images_lie_in_the_budget_and_in_the_range(seed, eps):
    images = random_images(3, seed=seed % 100)
    change = np.random.default_rng(seed).normal(0, 2 * EPS, images.shape[1:]).astype(np.float32)
    found = np.asarray(shifted(images, change, eps=eps))
    budget, clean = np.float32(eps), np.asarray(images)
    assert (found >= np.maximum(clean - budget, 0)).all()
    assert (found <= np.minimum(clean + budget, 1)).all()
    within = np.abs(change) <= eps
    inside = within & (clean + change >= 0) & (clean + change <= 1)
    np.testing.assert_allclose(found[inside], (clean + change)[inside], atol=1e-6)


def test_a_change_of_each_image_is_its_own():
    images = random_images(2)
    change = np.stack([np.full(images.shape[1:], EPS), np.full(images.shape[1:], -EPS)])
    found = shifted(images, change.astype(np.float32), eps=EPS)
    assert (found[0] >= images[0]).all()
    assert (found[1] <= images[1]).all()
    same = jax.jit(lambda x: shifted(x, change[0], eps=EPS))(images)
    np.testing.assert_array_equal(same[0], found[0])


def test_total_variation_is_its_definition():
    images = np.random.default_rng(0).uniform(size=(2, 4, 3, 2)).astype(np.float32)
    for image, found in zip(images, total_variation(images), strict=True):
        down = [
            (image[i + 1, j, c] - image[i, j, c]) ** 2
            for i in range(3)
            for j in range(3)
            for c in range(2)
        ]
        across = [
            (image[i, j + 1, c] - image[i, j, c]) ** 2
            for i in range(4)
            for j in range(2)
            for c in range(2)
        ]
        expected = 2 * (np.mean(down) + np.mean(across))
        assert found == pytest.approx(expected, rel=1e-5)
    assert (total_variation(images[:, :1, :1]) == 0).all()


def test_saturated_puts_a_share_on_the_border():
    change = jnp.linspace(-EPS / 2, EPS / 2, 201)
    found = saturated(change, eps=EPS)
    assert np.mean(np.abs(found) == np.float32(EPS)) == pytest.approx(0.8, abs=0.01)
    assert (np.sign(found) == np.sign(change)).all()
    inner = np.abs(found) < np.float32(EPS)
    ratio = np.asarray(found)[inner & (change != 0)] / np.asarray(change)[inner & (change != 0)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    np.testing.assert_array_equal(saturated(found, eps=EPS), found)
    np.testing.assert_array_equal(saturated(jnp.zeros(5), eps=EPS), np.zeros(5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shifted(random_images(2) * 255, np.zeros((16, 8, 3)), eps=EPS), "images"),
        (lambda: shifted(random_images(2), np.zeros((8, 16, 3)), eps=EPS), r"\[16, 8, 3\]"),
        (lambda: shifted(random_images(2), "x", eps=EPS), "change"),
        (lambda: shifted(random_images(2), np.zeros((16, 8, 3)), eps=5), "five grey levels"),
        (lambda: total_variation(np.zeros((16, 8, 3), np.float32)), "images"),
        (lambda: total_variation(np.zeros((2, 16, 8, 3), int)), "floating point"),
        (lambda: saturated(np.zeros(3, int), eps=EPS), "floating point"),
        (lambda: saturated(np.zeros(3), eps=-1), "eps must lie in"),
        (lambda: saturated(np.zeros(3), eps=EPS, share=2), "share must lie in"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
