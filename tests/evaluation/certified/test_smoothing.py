"""An embedding smoothed by noise: what it is, what it depends on, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
from toy import random_embed, random_images

from jaxreid.errors import InputError
from jaxreid.evaluation import smoothed

KEY = jax.random.key(3)
IMAGES = np.asarray(random_images(3))


def test_the_mean_of_noisy_copies_one_by_one():
    embed, sigma = random_embed(), 0.2
    rows = []
    for image in IMAGES:
        total = 0
        for draw in range(5):
            noise = jax.random.normal(jax.random.fold_in(KEY, draw), image.shape)
            feature = np.asarray(embed(jnp.clip(image + sigma * noise, 0, 1)[None])[0])
            total += feature / np.linalg.norm(feature)
        rows.append(total / 5)
    found = smoothed(embed, sigma=sigma, samples=5, key=KEY)(IMAGES)
    np.testing.assert_allclose(found, rows, atol=1e-6)
    assert np.all(np.linalg.norm(found, axis=1) < 1)


def test_linear_features_of_equal_length_are_what_the_closed_form_says():
    """sign(w . x) is its own unit length; smoothed it is erf, while nothing is cut to [0, 1]."""
    plane = np.zeros((16, 8, 3), np.float32)
    plane[3, 2, 1] = 1
    images = np.full((3, 16, 8, 3), 0.5, np.float32)
    images[:, 3, 2, 1] = [0.45, 0.5, 0.62]

    def sign(x):
        return jnp.where(jnp.sum((x - 0.5) * plane, axis=(1, 2, 3)) >= 0, 1.0, -1.0)[:, None]

    sigma, samples = 0.08, 4000
    found = smoothed(sign, sigma=sigma, samples=samples, key=KEY)(images)
    exact = jax.scipy.special.erf((images[:, 3, 2, 1] - 0.5) / sigma / np.sqrt(2))
    np.testing.assert_allclose(found[:, 0], exact, atol=4 / np.sqrt(samples))


def test_a_feature_depends_on_its_image_alone():
    embed = smoothed(random_embed(), sigma=0.1, samples=4, key=KEY)
    whole = np.asarray(jax.jit(embed)(IMAGES))
    np.testing.assert_allclose(jax.jit(embed)(IMAGES[::-1])[::-1], whole, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda x: embed(x[None])[0])(IMAGES), whole, atol=1e-6)
    another = smoothed(random_embed(), sigma=0.1, samples=4, key=jax.random.key(4))
    assert np.abs(another(IMAGES) - whole).max() > 1e-4


def test_its_gradient_is_that_of_the_mean():
    embed = smoothed(random_embed(), sigma=0.1, samples=3, key=KEY)
    inside = 0.35 + 0.3 * IMAGES  # where little is cut
    direction = np.random.default_rng(0).normal(size=IMAGES.shape).astype(np.float32)

    def value(t):
        return jnp.sum(embed(inside + t * direction)[:, 0])

    step = 1e-3
    slope = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(value)(0.0), slope, rtol=0.02, atol=1e-3)


def test_it_is_a_pytree_that_is_told_cameras():
    class Told:
        wanted_cameras = 2

        def __init__(self, cameras=None):
            self.cameras = cameras
            self.wanted_cameras = 2 if cameras is None else 0

        def seen_by(self, cameras):
            return Told(cameras)

        def __call__(self, images):
            return people.embed(images) + 5 * jnp.asarray(self.cameras)[:, None]

    embed = smoothed(Told(), sigma=0.1, samples=2, key=KEY)
    assert embed.wanted_cameras == 2
    images = np.full((2, *people.SIZE, 3), 0.5, np.float32)
    features = embed.seen_by(np.array([0, 1]))(images)
    assert np.abs(features[0] - features[1]).max() > 0.1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"embed": 3}, "embed must be a function"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"sigma": float("nan")}, "sigma must be above 0"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"samples": 2.5}, "samples must be an integer"),
        ({"key": 7}, "key must be a JAX random key"),
        ({"key": jax.random.split(KEY, 2)}, "key must be a single key"),
    ],
)
def test_what_it_cannot_use(wrong, said):
    given = {"embed": people.embed, "sigma": 0.1, "samples": 2, "key": KEY} | wrong
    with pytest.raises(InputError, match=said):
        smoothed(given.pop("embed"), **given)
