"""Boosted ascents, against their formulas written out, and against the attacks they become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import random_embed, random_images

from jaxreid.attacks import (
    ATTACKS,
    BOOSTS,
    AttackInput,
    Boost,
    boost_of,
    boosted_ascent,
    example_keys,
    l2,
    linf,
    scaled,
    signed_guides,
    smoothed_gradients,
)
from jaxreid.errors import InputError
from jaxreid.types import Guides

EMBED = random_embed()
IMAGES = random_images(4)
PUSH = EMBED(random_images(4, 1))
KEY = jax.random.key(1)
KEYS = example_keys(KEY, np.arange(4))
GIVEN = AttackInput(push=PUSH, pull=-PUSH, eps=5 / 255, step_size=1 / 255, steps=4, key=KEYS)
CURVED = np.random.default_rng(3).normal(size=IMAGES.shape[1:])
CENTRE = np.random.default_rng(4).uniform(size=IMAGES.shape[1:])


def run(attack, *names, images=IMAGES, given=GIVEN):
    boost = boost_of(names, others=random_images(6, 5))
    return ATTACKS[attack].ascend(EMBED, images, given._replace(boost=boost))


def viewed(seen):
    """An objective of a known gradient, ``2 a (x - c)``, through a view."""
    return lambda x: jnp.sum(CURVED * jnp.square(seen(x) - CENTRE), axis=(1, 2, 3))


def slope(images):
    return 2 * CURVED * (images - CENTRE)


def by_the_formulas(images, boost, *, step, steps, eps, around=None):
    """The docstring of `boosted_ascent`, line by line, without views."""
    images = np.asarray(images, np.float64)
    x, m, v = images, np.zeros_like(images), np.zeros_like(images)
    for t in range(steps):
        y = x + step * boost.momentum * m if boost.lookahead else x
        g = slope(y)
        h = g + v
        if boost.blur:
            sigma = 7 / 3 / 224 * np.sqrt(images.shape[1] * images.shape[2])
            h = np.asarray(smoothed_gradients(jnp.asarray(h, jnp.float32), sigma=sigma))
        m = boost.momentum * m + h / np.abs(h).mean((1, 2, 3), keepdims=True)
        if boost.neighbours:
            v = around(t, y) - g
        x = np.clip(np.clip(x + step * np.sign(m), images - eps, images + eps), 0, 1)
    return x


def drawn_around(boost, threat):
    """The mean gradient at the neighbours that the ascent's own keys draw."""

    def around(t, y):
        total = 0
        for number in range(boost.neighbours):
            fold = jax.vmap(jax.random.fold_in, (0, None))
            keys = fold(fold(KEYS, t), boost.copies + number)
            start = jnp.asarray(y, jnp.float32)
            away = np.asarray(threat.random_start(keys, start) - start, np.float64)
            total = total + slope(y + boost.spread * away)
        return total / boost.neighbours

    return around


def test_without_any_part_it_is_the_attack_itself():
    plain = ATTACKS["ifgsm_multi"].ascend(EMBED, IMAGES, GIVEN)
    np.testing.assert_array_equal(run("ifgsm_multi").images, plain.images)
    np.testing.assert_allclose(run("ifgsm_multi").objective, plain.objective, rtol=1e-6)


def test_momentum_alone_is_mifgsm():
    expected = ATTACKS["mifgsm_multi"].ascend(EMBED, IMAGES, GIVEN)
    np.testing.assert_array_equal(run("ifgsm_multi", "mi").images, expected.images)


@pytest.mark.parametrize("names", [["mi"], ["ni"], ["ti"], ["mi", "ti"], ["vmi"], ["ni", "vmi"]])
def test_formulas(names):
    boost = boost_of(names)
    if boost.neighbours:
        boost = boost._replace(neighbours=3)
    eps, step, threat = 8 / 255, 1 / 255, linf(8 / 255)
    found = boosted_ascent(
        viewed, IMAGES, threat=threat, step_size=step, steps=6, boost=boost, key=KEYS
    )
    expected = by_the_formulas(
        IMAGES, boost, step=step, steps=6, eps=eps, around=drawn_around(boost, threat)
    )
    # A sign may turn where a float32 sum is nearly zero.
    far = np.abs(np.asarray(found.images) - expected) > 1e-5
    assert far.mean() < 2e-3
    np.testing.assert_allclose(
        found.objective[0], np.sum(CURVED * np.square(IMAGES - CENTRE), (1, 2, 3)), rtol=1e-4
    )


def test_what_is_not_the_same_thing_differs():
    """Of the formulas' test: it could tell these apart."""
    images = {
        name: np.asarray(run("ifgsm_multi", name).images) for name in ("mi", "ni", "vmi", "ti")
    }
    for first in images:
        for second in images:
            assert first == second or not np.array_equal(images[first], images[second])


def test_copies_are_a_mean_over_views():
    boost = Boost(views=(scaled,), copies=5)
    found = boosted_ascent(
        viewed, IMAGES, threat=linf(1 / 255), step_size=1 / 255, steps=1, boost=boost
    )
    clean = np.asarray(IMAGES, np.float64)
    mean = sum(slope(clean / 2**n) / 2**n for n in range(5)) / 5
    expected = np.clip(clean + np.sign(mean) / 255, 0, 1)
    np.testing.assert_allclose(found.images, expected, atol=1e-6)
    value = sum(np.sum(CURVED * np.square(clean / 2**n - CENTRE), (1, 2, 3)) for n in range(5)) / 5
    np.testing.assert_allclose(found.objective[0], value, rtol=1e-5)


def test_both_sides_of_a_distance_are_seen_alike():
    """From the clean image, ||f(T x') - f(T x)||^2 is zero whatever T is."""
    spec = ATTACKS["sma"]._replace(start="clean")
    found = spec.ascend(EMBED, IMAGES, GIVEN._replace(boost=boost_of(["di", "si"]), steps=2))
    np.testing.assert_allclose(found.objective[0], 0, atol=1e-6)
    # While guides of other images are not seen through it.
    guides = Guides(PUSH[:, None], np.ones((4, 1), np.float32))
    still = boosted_ascent(
        lambda seen: signed_guides(lambda x: EMBED(seen(x)), guides),
        IMAGES,
        threat=linf(5 / 255),
        step_size=0.0,
        steps=1,
        boost=Boost(views=(scaled,), copies=2),
    )
    each = [jnp.sum(jnp.square(EMBED(IMAGES / 2**n) - PUSH), 1) for n in range(2)]
    np.testing.assert_allclose(still.objective[0], sum(each) / 2, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOOSTS)
def test_rows_do_not_know_each_other(name):
    two = GIVEN._replace(push=PUSH[2:], pull=-PUSH[2:], key=KEYS[2:], steps=2)
    some = run("ifgsm_multi", name, images=IMAGES[2:], given=two).images
    whole = run("ifgsm_multi", name, given=GIVEN._replace(steps=2)).images
    np.testing.assert_allclose(some, whole[2:], atol=1e-6)
    assert np.abs(np.asarray(whole) - np.asarray(IMAGES)).max() > 1.5 / 255


@settings(max_examples=5)
@given(
    names=st.lists(st.sampled_from(sorted(BOOSTS)), unique=True, max_size=3),
    eps=st.floats(0, 0.2),
    threat=st.sampled_from([linf, l2]),
)
def test_budget_and_range(names, eps, threat):
    boost = boost_of(names, others=random_images(3, 5))._replace(copies=2)
    boost = boost._replace(neighbours=min(boost.neighbours, 2))
    found = boosted_ascent(
        viewed, IMAGES, threat=threat(eps), step_size=0.07, steps=2, boost=boost, key=KEYS
    )
    change = np.asarray(found.images, np.float64) - np.asarray(IMAGES, np.float64)
    size = np.abs(change).max() if threat is linf else np.sqrt((change**2).sum((1, 2, 3))).max()
    assert size <= eps * (1 + 1e-5) + 1e-6
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_a_gradient_that_is_nan_moves_nothing():
    poisoned = np.zeros(IMAGES.shape, np.float32)
    poisoned[0, 0, 0, 0] = np.nan

    def objective(seen):
        return lambda x: jnp.sum(seen(x) * (1 + poisoned[: len(x)]), axis=(1, 2, 3))

    for names in (["mi"], ["vmi"]):
        found = boosted_ascent(
            objective,
            IMAGES,
            threat=linf(5 / 255),
            step_size=1 / 255,
            steps=3,
            boost=boost_of(names),
            key=KEYS,
        )
        assert np.isfinite(found.images).all()
        assert found.images[0, 0, 0, 0] == IMAGES[0, 0, 0, 0]
        np.testing.assert_array_equal(found.nonfinite_steps, [3, 0, 0, 0])


def test_several_boosts_are_one():
    boost = boost_of(["si", "ni", "vmi", "ti"])
    assert boost == Boost(
        views=(scaled,), copies=5, momentum=1.0, lookahead=True, neighbours=20, blur=True
    )
    # Admix scales, too, and views are not applied twice.
    assert boost_of(["si", "admix"], others=IMAGES).views.count(scaled) == 1
    assert boost_of(["si", "sia"]).copies == 20
    assert not boost_of(["mi", "ni", "ti", "si"]).draws
    assert all(boost_of([name]).draws for name in ("vmi", "di", "admix", "sia"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["admx"], "did you mean 'admix'"),
        (["quantum"], "there are mi, ni, vmi"),
        (["mi", "mi"], "twice"),
        ([3], "unknown boost 3"),
    ],
)
def test_names_that_are_none(names, message):
    with pytest.raises(InputError, match=message):
        boost_of(names)


@pytest.mark.parametrize(
    ("boost", "message"),
    [
        ("mi", "boost must be a Boost"),
        (Boost(copies=0), "boost.copies"),
        (Boost(neighbours=-1), "boost.neighbours"),
        (Boost(momentum=-1.0), "boost.momentum must be at least 0"),
        (Boost(spread=-1.0), "boost.spread must be at least 0"),
        (Boost(blur=3), "boost.blur"),
        (Boost(views=(3,)), "boost.views"),
        (boost_of(["di"]), "needs key"),
    ],
)
def test_boosts_that_are_none(boost, message):
    with pytest.raises(InputError, match=message):
        boosted_ascent(viewed, IMAGES, threat=linf(0.1), step_size=0.01, steps=1, boost=boost)


def test_attacks_that_take_none():
    with pytest.raises(InputError, match="rule of its own"):
        run("mifgsm", "di")
    with pytest.raises(InputError, match="give others"):
        ATTACKS["ifgsm"].run(EMBED, IMAGES, GIVEN._replace(boost=boost_of(["admix"])))
    # Noise follows no gradient.
    np.testing.assert_array_equal(
        run("noise", "di").images, ATTACKS["noise"].run(EMBED, IMAGES, GIVEN)
    )
