"""Attacks made on other networks than the one that ranks."""

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.attacks import fna
from jaxreid.augmentation import to_float
from jaxreid.data.batches import Images
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    canonical,
    conditions,
    extract,
    joined,
    open_run,
    provenance_of,
    robustness,
    surrogate_test,
)
from jaxreid.evaluation.adversarial import attacked_features
from jaxreid.records import Condition

LOADER = LoaderSettings(people.SIZE, batch_size=4)
WEIGHTS = np.random.default_rng(7).normal(0, 0.15, (16 * 8 * 3, 5)).astype(np.float32)


def other(images):
    """[B,16,8,3] -> [B,5], features ten times as long as those of `people.embed`."""
    return 10 * jnp.tanh((images.reshape(len(images), -1) - 0.5) @ jnp.asarray(WEIGHTS))


def constant(images):
    return jnp.ones((len(images), 3)) + 0 * images.sum()


@pytest.fixture
def ranked():
    return RetrievalTest(people.embed, people.query(), people.gallery(), loader=LOADER)


def pixels():
    return Images(people.query(), people.SIZE, "bilinear", None)(np.arange(9))


@pytest.mark.slow
def test_the_stand_in_makes_the_images_and_the_other_ranks_them(ranked):
    """Guides, gradients and furthest people are the stand-in's, features those of the ranked."""
    (condition,) = conditions(["fna"], [8], steps=3, surrogate="other")[1:]
    stand_in = surrogate_test([other], ranked, cosine=False)
    plan = stand_in.plan(condition)
    found = attacked_features(plan, ranked, show=np.zeros(0, np.int64))
    images = jnp.asarray(to_float(pixels()))[plan.targets.indices]
    guides = np.asarray(plan.targets.guide_set.features)
    np.testing.assert_allclose(
        guides, extract(other, people.query(), size=people.SIZE).features, atol=1e-5
    )
    adversarial = fna(
        other,
        images,
        guides[plan.guidance.push],
        plan.guidance.means[plan.guidance.pull],
        push_mask=plan.guidance.push_mask,
        eps=8 / 255,
        step_size=1 / 255,
        steps=3,
    )
    np.testing.assert_allclose(found.features, people.embed(adversarial), atol=1e-5)
    assert not np.allclose(found.features, people.embed(images), atol=1e-3)


def test_a_sweep_by_a_stand_in(ranked, tmp_path):
    stand_in = {"other": surrogate_test([other], ranked, cosine=False)}
    own = conditions(["fna"], [8], steps=3)
    theirs = conditions(["fna"], [8], steps=3, surrogate="other")
    run = open_run(
        tmp_path / "run", provenance_of(title="t", command="c", model={}, dataset={}, settings={})
    )
    clean, white, black = robustness(
        ranked, [*own, *theirs], run=run, examples=2, surrogates=stand_in
    )
    precision = [one.scores["market1501"].mean_average_precision for one in (clean, white, black)]
    assert precision[0] >= precision[2] >= precision[1] - 1e-6
    assert precision[2] != precision[1]
    assert black.condition.surrogate == "other"
    assert run.results() == [clean, white, black]
    # The network that ranks is its own best stand-in.
    own_stand_in = {"other": surrogate_test([people.embed], ranked, cosine=False)}
    (_, same) = robustness(ranked, theirs, examples=0, surrogates=own_stand_in)
    assert same.scores == white.scores
    # At eps 0 clean features stand: those of the network that ranks.
    (first, nothing) = robustness(
        ranked, conditions(["fna"], [0], surrogate="other"), examples=0, surrogates=stand_in
    )
    assert nothing.scores == first.scores


def test_a_stand_in_that_is_not_given_is_refused(ranked):
    with pytest.raises(InputError, match="no surrogate 'other' is given"):
        robustness(ranked, conditions(["fna"], [8], surrogate="other"))


@pytest.mark.parametrize("cosine", [False, True])
def test_several_are_one_by_the_sum_of_their_distances(ranked, cosine):
    test = surrogate_test([people.embed, other], ranked, cosine=cosine)
    clean = test.clean("cosine" if cosine else "euclidean")
    found = np.asarray(clean.query.features, np.float64)
    images = jnp.asarray(to_float(pixels()))
    parts = [np.asarray(embed(images), np.float64) for embed in (people.embed, other)]
    if cosine:
        parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    scaled = [part / np.sqrt(np.sum(np.var(part, axis=0))) for part in parts]
    expected = np.concatenate(scaled, axis=1)
    if cosine:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_joined_features_are_one_after_the_other():
    embed = joined([people.embed, other], [1.0, 2.0])
    images = jnp.asarray(to_float(pixels()))
    np.testing.assert_allclose(
        embed(images), np.concatenate([people.embed(images), 2 * other(images)], 1), atol=1e-5
    )
    slope = jax.grad(lambda x: embed(x).sum())(images)
    assert np.abs(slope).max(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize(
    ("embeds", "scales", "message"),
    [
        ([], [], "at least one"),
        ([other], [1.0, 2.0], "as many scales"),
        ([3], [1.0], "embeds"),
        ([other], [0.0], "above 0"),
        ([other], [float("nan")], "above 0"),
    ],
)
def test_what_cannot_be_joined(embeds, scales, message):
    with pytest.raises(InputError, match=message):
        joined(embeds, scales)


def test_features_that_say_nothing_are_refused(ranked):
    with pytest.raises(InputError, match="same feature"):
        surrogate_test([other, constant], ranked, cosine=False)


@pytest.mark.slow
def test_boosts_in_a_sweep_do_not_depend_on_batches(ranked):
    wanted = conditions(["nna", "sma"], [8], steps=2, boost="mi+admix+di", seeds=[1])
    expected = robustness(ranked, wanted, examples=0)
    loader = LoaderSettings(people.SIZE, batch_size=9)
    again = RetrievalTest(people.embed, people.query(), people.gallery(), loader=loader)
    for one, same in zip(expected, robustness(again, wanted, examples=0), strict=True):
        assert one.scores == same.scores
    plain = robustness(ranked, conditions(["nna"], [8], steps=2), examples=0)[1]
    assert plain.scores != expected[1].scores


def test_a_condition_has_one_form():
    def form(**fields):
        return canonical(Condition(attack="nna", eps=5.0, step_size=1.0, **fields))

    assert form(boost="ti+mi") == form(boost="mi+ti")
    assert form(boost="mi+ti").key != form().key != form(surrogate="a+b").key
    assert form(boost="mi+di").key.endswith("-by-mi+di")
    # A seed matters where something is drawn.
    assert form(boost="mi", seed=3).seed == 0
    assert form(boost="di", seed=3).seed == 3
    # Noise follows no network's gradient.
    noise = Condition(attack="noise", eps=5.0, boost="di", surrogate="a")
    assert canonical(noise) == canonical(Condition(attack="noise", eps=5.0))
    assert canonical(Condition(boost="di", surrogate="a")) == Condition()


@pytest.mark.parametrize(
    ("attack", "fields", "message"),
    [
        ("nna", {"boost": "mj+di"}, "unknown boost 'mj'"),
        ("nna", {"boost": "di+di"}, "twice"),
        ("nna", {"boost": 3}, "boost must be names"),
        ("nna", {"surrogate": None}, "surrogate must be names"),
        ("mifgsm", {"boost": "di"}, "rule of its own"),
        ("worst", {"boost": "di"}, "boost is of single attacks"),
        ("worst", {"surrogate": "a"}, "surrogate is of single attacks"),
    ],
)
def test_conditions_that_are_none(attack, fields, message):
    with pytest.raises(InputError, match=message):
        canonical(Condition(attack=attack, eps=5.0, step_size=1.0, **fields))


def test_keys_are_those_of_the_images_place_in_the_split(ranked):
    """A boost draws by the image's position, so that one image alone meets the same draws."""
    (condition,) = conditions(["ifgsm_multi"], [8], steps=2, boost="di", seeds=[0])[1:]
    whole = attacked_features(ranked.plan(condition), ranked, show=np.zeros(0, np.int64))
    plan = ranked.plan(condition)
    alone = attacked_features(plan.rows(np.array([3])), ranked, show=np.zeros(0, np.int64))
    np.testing.assert_allclose(alone.features[0], whole.features[3], atol=1e-6)
