"""The course of attacks: each way in which a gradient leads astray is flagged, and none is else."""

import jax.numpy as jnp
import numpy as np
import people
import pytest
from masked import OF_ATTACKS, faulty

from jaxreid.evaluation import LoaderSettings, RetrievalTest
from jaxreid.evaluation.audit.attacks import (
    Effort,
    Runs,
    attack_flags,
    budgets_of,
    run_attacks,
)
from jaxreid.evaluation.audit.climbs import Climb, climb, measured, searched
from jaxreid.evaluation.audit.sample import Sample, sample_of
from jaxreid.evaluation.embeds import as_pytree
from jaxreid.ranking import evaluate
from jaxreid.sharding import row_mesh
from jaxreid.types import Embedded

EFFORT = Effort(sample=7, steps=16, starts=2, queries=60)
EPS = 8 / 255


def setting(fault, *, norm="linf", distance="euclidean"):
    loader = LoaderSettings(people.SIZE, batch_size=8)
    test = RetrievalTest(faulty(fault, OF_ATTACKS), people.query(), people.gallery(), loader=loader)
    clean = test.clean(distance)
    sample = sample_of(test, distance, EFFORT.sample)
    return searched(sample, clean.query, clean.gallery, distance, norm)


def flags(fault, surrogate):
    other = setting(surrogate)
    runs = run_attacks(setting(fault), EPS, EFFORT, surrogate=other)
    return {flag.name: flag for flag in attack_flags(runs)}


def raised(found):
    return [name for name, flag in found.items() if flag.raised]


@pytest.mark.slow
def test_a_healthy_network_raises_none():
    found = flags("embed", "embed")
    assert raised(found) == []
    assert all(flag.raised is False for flag in found.values())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("quantised", {"random search", "transfer", "above floor"}),
        ("saturated", {"random search", "transfer", "above floor"}),
        ("slow", {"more steps", "transfer"}),
        ("lucky", {"restarts"}),
        ("remembering", {"larger eps", "above floor"}),
    ],
)
def test_gradient_masking_is_caught(fault, expected):
    found = flags(fault, "embed")
    assert expected <= set(raised(found))


def test_climbing_what_is_not_measured_is_caught():
    """Nine far people pull the query past one who stands before its match.

    The match is at (0, 0.6), one other at (-0.5, 0), nine at (100, 0), the query at the origin: on
    the way to the nine, its match becomes the nearest.
    """

    def embed(images):
        along = 20 * (images.mean((1, 2, 3)) - 0.5)
        return jnp.stack([along, jnp.zeros_like(along)], axis=1)

    grey = np.full((2, *people.SIZE, 3), 0.5, np.float32)
    sample = Sample(as_pytree(embed), grey, np.zeros(2, np.int32), np.arange(2), row_mesh(), 4)
    features = np.array([[0, 0.6], [-0.5, 0], *[[100, 0]] * 9], np.float32)
    query = Embedded(np.zeros((2, 2), np.float32), np.ones(2, int), np.zeros(2, int))
    gallery = Embedded(features, np.array([1, *range(2, 12)]), np.ones(11, int))
    one = searched(sample, query, gallery, "euclidean", "linf")
    np.testing.assert_allclose(measured(one), 0.25)  # rank 2 of a single match, trapezoid
    run = climb(one, eps=EPS, steps=8)
    np.testing.assert_allclose(run.precision[:, -1], 1)
    found = {flag.name: flag for flag in attack_flags(runs(starts=(run, run), longer=run))}
    assert {"misfit", "last iterate"} <= set(raised(found))
    assert found["misfit"].number == 1


def test_numbers_are_those_of_the_ranking():
    """Clean precision and its floor, against `evaluate` and a ranking with all matches last."""
    one = setting("embed")
    loader = LoaderSettings(people.SIZE)
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=loader)
    clean = test.clean("euclidean")
    own = Embedded(*(np.asarray(part)[one.sample.positions] for part in clean.query))
    expected = evaluate(own, clean.gallery, protocol="market1501").average_precision
    np.testing.assert_allclose(measured(one), expected, rtol=1e-5)
    # Person 4 has two matches, at 12 and 13 of the 13 items that are no junk.
    last = one.sample.positions.tolist().index(6)
    terms = [(0 / 11 + 1 / 12) / 2, (1 / 12 + 2 / 13) / 2]
    assert one.floor[last] == pytest.approx(np.mean(terms))
    assert (measured(one) >= one.floor - 1e-6).all()


def test_the_budgets_of_the_curve():
    assert budgets_of(5 / 255, "linf", (64, 32)) == pytest.approx(
        np.array([1.25, 2.5, 5, 10, 20, 64]) / 255
    )
    # 64/255 in each of the 3 * 64 * 32 values.
    assert budgets_of(1.0, "l2", (64, 32))[-1] == pytest.approx(64 / 255 * np.sqrt(6144))
    assert budgets_of(80 / 255, "linf", (64, 32)) == pytest.approx(np.array([20, 40, 80]) / 255)


def course(*precisions, value=None):
    """A climb of one query per row."""
    precision = np.array(precisions, float)
    steps = np.arange(precision.shape[1], dtype=float)
    value = np.broadcast_to(steps, precision.shape) if value is None else np.array(value, float)
    return Climb(np.zeros((len(precision), 2, 2, 3), np.float32), value, precision)


def runs(**changed):
    sound = course([0.8, 0.2, 0.1], [0.9, 0.3, 0.1])
    least = sound.worst
    fields = {
        "starts": (sound, sound),
        "longer": sound,
        "budgets": ((0.01, least + 0.2), (0.02, least), (0.25, least - 0.1)),
        "floor": np.zeros(2),
        "searched": least + 0.1,
        "transferred": None,
    }
    return Runs(**{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "name", "number"),
    [
        ({"searched": np.array([0.05, 0.2])}, "random search", 0.5),
        ({"transferred": np.array([0.05, 0.0])}, "transfer", 1.0),
        ({"longer": course([0.8, 0.09], [0.9, 0.05])}, "more steps", 3.0),
        (
            {"starts": (course([0.8, 0.1], [0.9, 0.1]), course([0.8, 0.2], [0.9, 0.1]))},
            "restarts",
            2.5,
        ),
        (
            {
                "budgets": (
                    (0.01, np.full(2, 0.3)),
                    (0.02, np.full(2, 0.1)),
                    (0.03, np.full(2, 0.14)),
                    (0.25, np.zeros(2)),
                )
            },
            "larger eps",
            4.0,
        ),
        ({"budgets": ((0.01, np.full(2, 0.3)), (0.25, np.full(2, 0.05)))}, "above floor", 5.0),
        ({"starts": (course([0.8, 0.1, 0.3], [0.9, 0.2, 0.1]),) * 2}, "last iterate", 0.5),
        ({"starts": (course([0.2, 0.1, 0.4], [0.9, 0.2, 0.1]),) * 2}, "misfit", 0.5),
    ],
)
def test_each_number_is_what_it_says(changed, name, number):
    found = {flag.name: flag for flag in attack_flags(runs(**changed))}
    assert found[name].number == pytest.approx(number)
    assert found[name].raised is True


def test_what_is_sound_or_was_not_tried_raises_none():
    found = {flag.name: flag.raised for flag in attack_flags(runs())}
    assert found.pop("transfer") is None
    assert set(found.values()) == {False}


def test_a_precision_that_rose_with_a_lower_value_is_no_misfit():
    fallen = course([0.2, 0.4], [0.2, 0.4], value=[[1, 0], [1, 0]])
    found = {flag.name: flag for flag in attack_flags(runs(starts=(fallen, fallen)))}
    assert found["misfit"].number == 0
    assert jnp.isfinite(found["last iterate"].number)
