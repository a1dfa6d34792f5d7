"""Embeddings behind test-time defenses: by definition, and what they depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import random_embed, random_images

from jaxreid.errors import InputError
from jaxreid.evaluation import DEFENSES, expected, mirrored, through
from jaxreid.evaluation.defended import draws_at_random, parts_of, through_text
from jaxreid.evaluation.embeds import Shots, as_pytree, drawn_by, features_of_shots, wants_keys
from jaxreid.random import example_keys

EMBED, IMAGES = random_embed(), random_images(4)
KEYS = jax.random.split(jax.random.key(5), 4)
FORMS = ("jpeg:40", "jpeg444:40", "bits:3", "resize:0.5", "resize:2", "median", "flip")
RANDOM = ("noise:10", "resizepad:0.7")


def flat(images):
    """Pixels as features."""
    return images.reshape(len(images), -1)


def seen(text, images, keys=None):
    """What a network gets to see."""
    embed = through(flat, text)
    embed = embed if keys is None else drawn_by(embed, keys)
    return np.asarray(jax.jit(lambda x: embed(x))(images)).reshape(images.shape)


def test_every_defense_is_tried_here():
    assert {form.partition(":")[0] for form in FORMS + RANDOM} == set(DEFENSES)


@given(bits=st.integers(1, 8))
@settings(max_examples=8)
def test_fewer_bits(bits):
    levels = 2**bits - 1
    expected = np.round(np.asarray(IMAGES) * levels) / levels
    np.testing.assert_allclose(seen(f"bits:{bits}", IMAGES), expected, atol=1e-6)


def test_the_median_of_nine():
    images, padded = np.asarray(IMAGES), np.pad(IMAGES, [(0, 0), (1, 1), (1, 1), (0, 0)], "edge")
    found = seen("median", IMAGES)
    for row, column in ((0, 0), (7, 3), (15, 7)):
        window = padded[:, row : row + 3, column : column + 3]
        np.testing.assert_allclose(found[:, row, column], np.median(window, (1, 2)), atol=1e-6)
    assert np.abs(found - images).max() > 0.1


def test_another_size_and_back():
    constant = jnp.full_like(IMAGES, 0.3)
    np.testing.assert_allclose(seen("resize:0.5", constant), constant, atol=1e-5)
    # Enlarged and shrunk again is nearly what it was; the other way, detail is gone.
    smooth = jnp.broadcast_to(jnp.linspace(0.2, 0.8, 16)[None, :, None, None], IMAGES.shape)
    np.testing.assert_allclose(seen("resize:2", smooth), smooth, atol=0.02)
    assert np.std(seen("resize:0.5", IMAGES)) < 0.8 * np.std(IMAGES)


def test_flip_is_the_mean_of_both_features():
    found = through(EMBED, "flip")(IMAGES)
    both = 0.5 * (EMBED(IMAGES) + EMBED(IMAGES[:, :, ::-1]))
    np.testing.assert_allclose(found, both, atol=1e-6)


def test_several_in_the_order_of_their_names():
    first = through(through(EMBED, "flip"), "bits:2")
    np.testing.assert_allclose(through(EMBED, "bits:2+flip")(IMAGES), first(IMAGES), atol=1e-6)
    resized = np.asarray(seen("resize:0.5", IMAGES))
    expected = EMBED(jnp.asarray(seen("bits:2", resized)))
    np.testing.assert_allclose(through(EMBED, "resize:0.5+bits:2")(IMAGES), expected, atol=1e-5)
    other = through(EMBED, "bits:2+resize:0.5")(IMAGES)
    assert np.abs(other - expected).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS + RANDOM)
def test_a_row_depends_on_its_image_and_key_alone(form):
    """The same with other batch-mates, under jit and vmap; in [0, 1], with a gradient."""
    whole = seen(form, IMAGES, KEYS)
    assert whole.min() >= 0
    assert whole.max() <= 1 + 1e-6
    np.testing.assert_allclose(seen(form, IMAGES[::-1], KEYS[::-1])[::-1], whole, atol=1e-6)

    def one(image, key):
        return drawn_by(through(EMBED, form), key[None])(image[None])[0]

    features = np.asarray(drawn_by(through(EMBED, form), KEYS)(IMAGES))
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(IMAGES, KEYS), features, atol=1e-5)
    slope = jax.jit(jax.vmap(jax.grad(lambda *row: one(*row).sum())))(IMAGES, KEYS)
    assert np.all(np.isfinite(slope))
    assert np.abs(slope).max(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("form", RANDOM)
def test_draws_are_the_keys_and_the_places(form):
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    drawn = seen(form, same, KEYS)
    assert len(np.unique(drawn.round(5), axis=0)) == 4
    # Two of a kind beside each other do not draw the same.
    embed = through(flat, f"bits:8+{form}")
    moved = np.asarray(drawn_by(embed, KEYS)(same)).reshape(same.shape)
    assert np.abs(moved - drawn).max() > 0.01
    # Without a key there is no feature: neither attack nor ranking may forget it.
    assert wants_keys(through(flat, form))
    with pytest.raises(InputError, match="draws at random"):
        through(flat, form)(IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["noise:10", "flip+noise:10", "bits:4+resizepad:0.7"])
def test_what_is_expected_is_the_mean_over_draws(form):
    embed, draws = through(EMBED, form), 3
    key = jax.random.key(2)
    each = [
        drawn_by(embed, jnp.stack([jax.random.fold_in(key, draw)] * 4))(IMAGES)
        for draw in range(draws)
    ]
    found = expected(embed, draws=draws)
    np.testing.assert_allclose(found(IMAGES), np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(found(IMAGES[2:]), np.mean(each, axis=0)[2:], atol=1e-5)

    def slope(function):
        return jax.jit(jax.grad(lambda x: jnp.sum(function(x) ** 2)))(IMAGES)

    def mean(x):
        rows = [drawn_by(embed, jnp.stack([jax.random.fold_in(key, d)] * 4))(x) for d in range(3)]
        return sum(rows) / 3

    np.testing.assert_allclose(slope(found), slope(mean), rtol=1e-3, atol=1e-5)


def test_the_ranking_draws_by_an_image_s_number_and_the_attacker_otherwise():
    embed = as_pytree(through(EMBED, "noise:10"))
    cameras, numbers = np.zeros(4, np.int32), np.arange(4, dtype=np.int32)
    ranked = np.asarray(features_of_shots(embed, Shots(IMAGES, cameras, numbers)))
    again = features_of_shots(embed, Shots(IMAGES[2:], cameras[2:], numbers[2:]))
    np.testing.assert_allclose(again, ranked[2:], atol=1e-6)
    keys = example_keys(jax.random.key(1), numbers)
    np.testing.assert_allclose(ranked, drawn_by(embed, keys)(IMAGES), atol=1e-6)
    for draw in range(20):
        climbed = jax.random.fold_in(jax.random.key(2), draw)
        assert not np.any(jax.random.key_data(keys) == jax.random.key_data(climbed))


def test_a_network_stays_a_pytree_and_a_function_static():
    assert not jax.tree.leaves(as_pytree(through(EMBED, "jpeg:50+flip")))
    assert hash(through(flat, "jpeg:50")) == hash(through(flat, "jpeg:50"))
    mirror = through(mirrored(EMBED), "bits:3")
    np.testing.assert_allclose(mirror(IMAGES), through(EMBED, "bits:3+flip")(IMAGES), atol=1e-6)


def test_names_have_one_form():
    assert parts_of("jpeg:75 + flip") == (("jpeg", 75.0), ("flip", 0.0))
    assert through_text(" jpeg:75.0+ noise:8.50") == "jpeg:75+noise:8.5"
    assert draws_at_random("flip+noise:1")
    assert not draws_at_random("jpeg:1+flip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jepg:75", r"unknown defense 'jepg'; did you mean 'jpeg'\?; there are jpeg:QUALITY"),
        ("", "unknown defense ''; there are jpeg:QUALITY"),
        ("flip+", "unknown defense ''"),
        ("jpeg", r"jpeg:QUALITY needs a whole number from 1 to 100, got 'jpeg'"),
        ("jpeg:0", "from 1 to 100"),
        ("jpeg:75.5", "whole number"),
        ("jpeg:nan", "whole number"),
        ("bits:9", "from 1 to 8"),
        ("noise:0", "from 0.01 to 255"),
        ("noise:inf", "from 0.01 to 255"),
        ("resize:40", "from 0.1 to 4"),
        ("resizepad:0.2", "from 0.5 to 1"),
        ("flip:2", "flip takes no number"),
        ("flip+flip", "named twice"),
        ("bits:3+bits:4", "named twice"),
        (3, "names joined by"),
        (None, "names joined by"),
    ],
)
def test_what_is_no_defense(text, message):
    with pytest.raises(InputError, match=message):
        through(EMBED, text)


@pytest.mark.parametrize(
    ("embed", "draws", "message"),
    [
        (3, 2, "embed"),
        (through(EMBED, "jpeg:50"), 2, "nothing draws at random"),
        (through(EMBED, "noise:5"), 0, "draws"),
        (through(EMBED, "noise:5"), 1.5, "draws"),
        (through(EMBED, "noise:5"), 10**6, "draws"),
    ],
)
def test_what_has_no_expectation(embed, draws, message):
    with pytest.raises(InputError, match=message):
        expected(embed, draws=draws)


def test_no_function_is_no_embedding():
    with pytest.raises(InputError, match="embed"):
        through("flip", "flip")
