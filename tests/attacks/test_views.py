"""What a network is shown of an image, against the definitions of each view."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn, idctn

from jaxreid.attacks import admixed, blockwise, diverse, example_keys, input_diversity, scaled
from jaxreid.attacks.views import _WAYS
from jaxreid.errors import InputError

IMAGES = np.random.default_rng(0).uniform(size=(4, 16, 8, 3)).astype(np.float32)
OTHERS = np.random.default_rng(1).uniform(size=(7, 16, 8, 3)).astype(np.float32)
KEYS = example_keys(jax.random.key(3), np.arange(4))


def change(name, block, number=0.5, field=None):
    """A block in one of the ten ways, by a number and a field of numbers from [0, 1)."""
    order = ("down", "across", "flip", "mirror", "turn")
    order += ("darkened", "noisy", "coarse", "low_frequencies", "with_holes")
    field = np.full(block.shape, 0.5, np.float32) if field is None else field
    return np.asarray(_WAYS[order.index(name)](block, jnp.float32(number), field))


@pytest.mark.parametrize("number", range(7))
def test_scaled_copies(number):
    found = scaled(IMAGES, KEYS, jnp.int32(number))
    np.testing.assert_array_equal(found, IMAGES / 2 ** (number % 5))


def test_five_copies_share_an_image_that_is_mixed_in():
    view = admixed(OTHERS, share=0.2)
    partners = []
    for number in range(15):
        added = (np.asarray(view(IMAGES, KEYS, jnp.int32(number))) - IMAGES) / 0.2
        distance = np.abs(added[:, None] - OTHERS).max((2, 3, 4))
        assert (distance.min(1) < 1e-5).all()
        partners.append(distance.argmin(1))
    for first in (0, 5, 10):
        assert all((partners[first] == each).all() for each in partners[first : first + 5])
    # Drawn for each image and anew for each group of copies.
    assert len({tuple(partners[first].tolist()) for first in (0, 5, 10)}) == 3
    assert len(set(partners[0].tolist())) > 1


@pytest.mark.parametrize(("others", "share"), [(OTHERS, -0.1), (OTHERS[0], 0.2), ("x", 0.2)])
def test_a_pool_that_is_none_is_refused(others, share):
    with pytest.raises(InputError):
        admixed(others, share=share)


@pytest.mark.slow
def test_diverse_copies_are_input_diversity_of_their_own():
    for number in range(3):
        keys = jax.vmap(jax.random.fold_in, (0, None))(KEYS, number)
        np.testing.assert_array_equal(
            diverse(IMAGES, KEYS, jnp.int32(number)), input_diversity(IMAGES, keys)
        )


@pytest.mark.parametrize(
    ("name", "axes"), [("flip", (0,)), ("mirror", (1,)), ("turn", (0, 1))], ids=str
)
def test_flips(name, axes):
    np.testing.assert_array_equal(change(name, IMAGES[0]), np.flip(IMAGES[0], axes))


@pytest.mark.parametrize(("name", "axis"), [("down", 0), ("across", 1)])
def test_shifts_go_round(name, axis):
    side = IMAGES.shape[1 + axis]
    for by in range(side):
        # The middle of the numbers that stand for this shift.
        found = change(name, IMAGES[0], (by + 0.5) / side)
        np.testing.assert_array_equal(found, np.roll(IMAGES[0], by, axis))


def test_dark_noisy_and_with_holes():
    block = IMAGES[0]
    np.testing.assert_allclose(change("darkened", block, 0.3), 0.3 * block, rtol=1e-6)
    field = np.random.default_rng(6).uniform(size=(100, 50, 3)).astype(np.float32)
    grey, white = (np.full(field.shape, value, np.float32) for value in (0.5, 1))
    noisy = change("noisy", grey, field=field)
    np.testing.assert_allclose(noisy, 0.5 + 16 / 255 * (2 * field - 1), atol=1e-6)
    assert change("noisy", white, field=field).max() == 1
    np.testing.assert_array_equal(change("with_holes", white, field=field), field >= 0.1)


def test_the_upper_frequencies_are_gone():
    block = 0.4 + 0.2 * IMAGES[0][:10, :5]
    kept = dctn(block, axes=(0, 1), norm="ortho")
    kept[6:], kept[:, 3:] = 0, 0
    np.testing.assert_allclose(
        change("low_frequencies", block), idctn(kept, axes=(0, 1), norm="ortho"), atol=1e-5
    )


def test_a_coarse_block_keeps_what_is_smooth():
    ramp = np.broadcast_to(np.linspace(0, 1, 20)[:, None, None], (20, 10, 3)).astype(np.float32)
    found = change("coarse", ramp)
    np.testing.assert_allclose(found[2:-2], ramp[2:-2], atol=0.02)
    noise = np.random.default_rng(2).uniform(size=(20, 10, 3)).astype(np.float32)
    assert change("coarse", noise).std() < 0.85 * noise.std()


def blocks_of(images):
    """Three times three of each image."""
    bands = [band for image in images for band in np.array_split(image, 3, 0)]
    return [block for band in bands for block in np.array_split(band, 3, 1)]


@pytest.mark.slow
def test_blocks_change_each_in_its_own_way():
    # Sides that three does not divide.
    images = np.random.default_rng(5).uniform(0.2, 0.8, (64, 17, 10, 3)).astype(np.float32)
    keys = example_keys(jax.random.key(0), np.arange(64))
    view = jax.jit(blockwise)
    found = np.asarray(view(images, keys, jnp.int32(0)))
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    flips = {(): 0, (0,): 0, (1,): 0, (0, 1): 0}
    for image, seen in zip(images, found, strict=True):
        for band, theirs in zip(*(np.array_split(x, 3, 0) for x in (image, seen)), strict=True):
            for block, other in zip(
                *(np.array_split(x, 3, 1) for x in (band, theirs)), strict=True
            ):
                for axes in flips:
                    flips[axes] += np.array_equal(np.flip(block, axes), other)
    # A tenth of 576 blocks each; nothing stays but what is shifted by nothing.
    assert all(35 < flips[axes] < 85 for axes in ((0,), (1,), (0, 1)))
    assert flips[()] < 60
    assert not np.array_equal(found, view(images, keys, jnp.int32(1)))
    fewer = view(images[:2], keys[:2], jnp.int32(0))
    np.testing.assert_allclose(found[:2], fewer, atol=1e-6)
