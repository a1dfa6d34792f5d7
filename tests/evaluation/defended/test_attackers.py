"""Attacks on a defended network, by who knows of the defense and by who does not."""

import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    conditions,
    expected,
    extract,
    robustness,
    surrogate_test,
    through,
)


def made(defense, batch_size=4):
    """The test of a defended network, and what an oblivious attacker sees of it."""
    loader = LoaderSettings(people.SIZE, batch_size=batch_size)
    test = RetrievalTest(
        through(people.embed, defense), people.query(), people.gallery(), loader=loader
    )
    return test, {"undefended": surrogate_test([people.embed], test, cosine=False)}


def precision(test, stand_ins, name="", steps=8):
    wanted = conditions(["fna"], [6], steps=steps, surrogate=name)
    found = robustness(test, wanted, examples=0, surrogates=stand_ins)[1]
    return found.scores["market1501"].mean_average_precision


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["resize:0.5", "jpeg:60"])
def test_who_climbs_through_the_defense_takes_more(defense):
    test, stand_ins = made(defense)
    clean = test.clean_score("euclidean").scores["market1501"].mean_average_precision
    oblivious = precision(test, stand_ins, "undefended")
    assert precision(test, stand_ins) < oblivious <= clean


@pytest.mark.slow
def test_a_random_defense_is_ranked_by_other_draws_than_it_is_attacked_by():
    test, stand_ins = made("noise:20")
    with pytest.raises(InputError, match="attack what is expected of it"):
        precision(test, stand_ins)
    mean = surrogate_test([expected(test.embed, draws=4)], test, cosine=False)
    found = precision(test, stand_ins | {"mean": mean}, "mean", steps=3)
    again, others = made("noise:20", batch_size=9)
    mean = surrogate_test([expected(again.embed, draws=4)], again, cosine=False)
    assert precision(again, others | {"mean": mean}, "mean", steps=3) == pytest.approx(found)


def test_every_image_has_draws_of_its_own_whatever_the_batch():
    embed = through(people.embed, "noise:20")
    found = [
        extract(embed, people.query(), size=people.SIZE, batch_size=size).features
        for size in (4, 9)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    later = extract(embed, people.query(), size=people.SIZE, first=9).features
    assert np.abs(later - found[0]).min(axis=1).max() > 1e-4
    test, _ = made("noise:20")
    clean = test.clean("euclidean")
    np.testing.assert_allclose(clean.query.features, found[0], atol=1e-5)
    moved = extract(embed, people.gallery(), size=people.SIZE, first=9).features
    np.testing.assert_allclose(clean.gallery.features, moved, atol=1e-5)


@pytest.mark.slow
def test_at_a_budget_of_nothing_an_image_draws_as_when_it_was_clean():
    """An attack that moves no pixel, because its gradient is zero, leaves the clean features."""

    def blind(images):
        return people.embed(jnp.round(images * 255) / 255)

    loader = LoaderSettings(people.SIZE, batch_size=4)
    test = RetrievalTest(
        through(people.embed, "noise:20"), people.query(), people.gallery(), loader=loader
    )
    stand_ins = {"blind": surrogate_test([blind], test, cosine=False)}
    clean = test.clean_score("euclidean").scores["market1501"].mean_average_precision
    assert precision(test, stand_ins, "blind", steps=1) == clean
