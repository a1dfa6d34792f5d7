"""The random part stays in range, moves what it says, and depends on an image's own key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxreid.augmentation import augment, pad_crop, random_erase, random_flip, to_float
from jaxreid.errors import InputError
from jaxreid.random import example_keys

KEY = jax.random.key(0)


def pictures(count: int = 6, size: tuple[int, int] = (16, 8)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def test_pixels_become_255ths() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_allclose(to_float(grey), grey / 255.0, rtol=2e-7)
    assert to_float(grey).dtype == np.float32
    assert to_float(grey).max() == 1.0
    floating = jnp.full((2, 2, 3), 0.3)
    assert to_float(floating) is floating
    with pytest.raises(InputError, match="got int32"):
        to_float(np.zeros((2, 2, 3), np.int32))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), pad=st.integers(0, 5))
def test_pad_crop_moves_the_image(seed: int, pad: int) -> None:
    image = pictures(1)[0] | 1  # no black pixel but those of the border
    moved = np.asarray(pad_crop(image, jax.random.key(seed), pad=pad))
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    places = [
        (top, left)
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
        if np.array_equal(padded[top : top + 16, left : left + 8], moved)
    ]
    assert len(places) == 1


def test_pad_crop_reaches_every_place() -> None:
    image = pictures(1)[0] | 1
    keys = jax.random.split(KEY, 300)
    moved = np.asarray(jax.vmap(lambda k: pad_crop(image, k, pad=1))(keys))
    assert len({m.tobytes() for m in moved}) == 9


def test_flip() -> None:
    image = pictures(1)[0]
    keys = jax.random.split(KEY, 400)
    flipped = np.asarray(jax.vmap(lambda k: random_flip(image, k))(keys))
    mirrored = np.array([np.array_equal(f, image[:, ::-1]) for f in flipped])
    same = np.array([np.array_equal(f, image) for f in flipped])
    np.testing.assert_array_equal(mirrored, ~same)
    assert 140 < mirrored.sum() < 260  # six standard deviations of 10
    np.testing.assert_array_equal(random_flip(image, KEY, probability=0.0), image)
    np.testing.assert_array_equal(random_flip(image, KEY, probability=1.0), image[:, ::-1])


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    smallest=st.floats(0.01, 0.5),
    more=st.floats(0.0, 0.5),
    aspect=st.floats(0.1, 1.0),
)
def test_erase_fills_one_rectangle(seed: int, smallest: float, more: float, aspect: float) -> None:
    image = jnp.full((24, 12, 3), 2.0)  # out of range on purpose: what is 2 was not erased
    area = (smallest, min(1.0, smallest + more))
    erased = np.asarray(
        random_erase(image, jax.random.key(seed), probability=1.0, area=area, aspect=aspect)
    )
    changed = (erased != 2.0).all(-1)
    np.testing.assert_array_equal(changed, (erased != 2.0).any(-1))
    assert ((erased[changed] >= 0.0) & (erased[changed] < 1.0)).all()
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert changed.sum() == len(rows) * len(columns)
    # Sides are rounded: each may be off by half a pixel; cut sides make the area smaller.
    assert changed.sum() <= area[1] * 288 + 0.5 * (len(rows) + len(columns)) + 0.25
    if len(rows) < 24 and len(columns) < 12:
        assert changed.sum() >= area[0] * 288 - 0.5 * (len(rows) + len(columns)) - 0.25


@pytest.mark.slow
def test_erasing_reaches_every_pixel_and_is_as_frequent_as_asked() -> None:
    image = jnp.full((8, 4, 3), 2.0)
    keys = jax.random.split(KEY, 600)
    erased = np.asarray(jax.vmap(functools.partial(random_erase, image))(keys)) != 2.0
    assert erased[..., 0].any(0).all()
    assert 230 < erased.any((1, 2, 3)).sum() < 370


@pytest.mark.slow
def test_an_image_depends_on_its_own_key_alone() -> None:
    images, indices = pictures(), np.array([5, 3, 8, 0, 11, 4])
    run = jax.jit(functools.partial(augment, pad=3, erase=0.5, noise=0.1))
    whole = np.asarray(run(images, example_keys(KEY, indices)))
    order = np.array([4, 1, 0, 5, 3, 2])
    shuffled = np.asarray(run(images[order], example_keys(KEY, indices[order])))
    np.testing.assert_array_equal(shuffled, whole[order])
    alone = run(images[2:3], example_keys(KEY, indices[2:3]))
    np.testing.assert_array_equal(alone[0], whole[2])
    assert whole.dtype == np.float32
    assert whole.min() >= 0.0
    assert whole.max() <= 1.0


@pytest.mark.slow
def test_noise_has_its_deviation_and_changes_nothing_else() -> None:
    """Of grey images, far from where they are cut."""
    grey = np.full((64, 16, 8, 3), 0.5, np.float32)
    noise = np.asarray(augment(grey, KEY, pad=0, noise=0.05)) - 0.5
    values = noise.reshape(64, -1)
    assert abs(noise.mean()) < 4 * 0.05 / noise.size**0.5
    assert abs(noise.std() / 0.05 - 1) < 4 / (2 * noise.size) ** 0.5
    # Neither the same for two images, nor for two channels or rows.
    assert np.abs(np.corrcoef(values) - np.eye(64)).max() < 0.3
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.05
    # Drawn by a key of its own: crop, flip and rectangle stay where they were.
    images = pictures()
    settings = {"pad": 3, "erase": 0.5}
    before, after = (augment(images, KEY, **settings, noise=s) for s in (0.0, jnp.float32(0)))
    np.testing.assert_array_equal(before, after)


def test_pmap_is_vmap() -> None:
    images = pictures(8)
    keys = example_keys(KEY, np.arange(8))
    split = jax.pmap(lambda i, k: augment(i, k, pad=2))(
        images.reshape(4, 2, *images.shape[1:]), keys.reshape(4, 2)
    )
    np.testing.assert_array_equal(split.reshape(images.shape), augment(images, keys, pad=2))


def test_nothing_random_leaves_the_pixels() -> None:
    images = pictures()
    np.testing.assert_array_equal(augment(images, KEY, pad=0, flip=0.0), to_float(images))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match=r"shape \[B,H,W,C\]"):
        augment(pictures()[0], KEY)
    with pytest.raises(InputError, match="3 keys for 6 rows"):
        augment(pictures(), jax.random.split(KEY, 3))
    with pytest.raises(InputError, match="pad must be 0 or more, got -1"):
        pad_crop(pictures()[0], KEY, pad=-1)
    with pytest.raises(InputError, match="area must be"):
        random_erase(jnp.zeros((4, 4, 3)), KEY, area=(0.5, 0.2))
    with pytest.raises(InputError, match="divide 8-bit values by 255"):
        augment(pictures() * np.float32(1), KEY)
    with pytest.raises(InputError, match="key must be a single key"):
        random_flip(pictures()[0], jax.random.split(KEY, 2))
    with pytest.raises(InputError, match=r"probability must lie in \[0, 1\], got 1.5"):
        random_flip(pictures()[0], KEY, probability=1.5)
