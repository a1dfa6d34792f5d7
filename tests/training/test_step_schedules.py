"""Lengths of the inner attack's steps: sums that are known, and the ascent of the worst case."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid import attacks
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.random import example_keys
from jaxreid.training import (
    TrainState,
    adversaries,
    bank_adversary,
    goat,
    optimizer,
    ranking_adversary,
    triplet_adversaries,
    triplet_adversary,
)
from jaxreid.training.inner_attack import InnerAttack
from jaxreid.training.step_schedules import scheduled

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3], np.int32)
KEYS = example_keys(jax.random.key(3), np.arange(8))
EPS, STEP = 8 / 255, 1 / 255
# How far 4 steps of STEP lead where the way is straight and the budget large; the cosine is 1,
# 0.85, 0.5 and 0.15. The adaptive ascent goes to the end of the budget at once.
REACH = {"constant": 4 * STEP, "cosine": 2.5 * STEP, "adaptive": EPS}


class Straight:
    """Pixels as features: away from black it is always uphill."""

    bank, step, target = None, 0, None

    def embed(self, batch_norm):
        return lambda images: images.reshape(len(images), -1)


def batch_of():
    batch = trainings.examples(LABELS, images=np.full((8, 16, 8, 3), 0.5, np.float32))
    black, there = np.zeros((8, 1, 16, 8, 3), np.float32), np.ones((8, 1), bool)
    # The last image has no guide.
    there[7] = False
    return batch._replace(push_images=black, push_mask=there, push_indices=np.zeros((8, 1), int))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", REACH)
def test_how_far_steps_lead(schedule):
    batch = batch_of()
    attack = goat(push=1, eps=EPS, step_size=STEP, steps=4, step_schedule=schedule)
    found = jax.jit(lambda b: attack(Straight(), b, KEYS, b.images, Collective()))(batch)
    change = np.asarray(found.images) - 0.5
    np.testing.assert_allclose(change[:7], REACH[schedule], rtol=1e-4)
    np.testing.assert_array_equal(change[7], 0)
    assert float(found.metrics["unguided"]) == 0.125
    # Another objective, as other adversaries climb.
    inner = InnerAttack(EPS, STEP, 4, 0.0, None, schedule)
    climbed = inner.climb(
        lambda x: -jnp.sum(x, axis=(1, 2, 3)), Straight(), batch, KEYS, jnp.asarray(batch.images)
    )
    np.testing.assert_allclose(0.5 - climbed.images, REACH[schedule], rtol=1e-4)
    assert climbed.objective.shape == (4, 8)
    np.testing.assert_allclose(climbed.objective[0], -0.5 * 384, rtol=1e-6)


def test_a_grown_budget_scales_every_schedule():
    batch = batch_of()
    for schedule, reach in REACH.items():
        inner = InnerAttack(EPS, STEP, 4, 0.0, lambda step: 0.25, schedule)
        climbed = inner.climb(
            lambda x: jnp.sum(x, axis=(1, 2, 3)), Straight(), batch, KEYS, jnp.asarray(batch.images)
        )
        np.testing.assert_allclose(climbed.images - 0.5, reach / 4, rtol=1e-3)


def test_one_step_of_a_cosine_is_whole():
    rule = attacks.steepest_step(jnp.sign, STEP)
    changed = scheduled(rule, "cosine", 1)
    step, _ = changed.update(jnp.ones((1, 2, 2, 3)), changed.init(jnp.ones((1, 2, 2, 3))))
    np.testing.assert_allclose(step, STEP, rtol=1e-6)
    assert scheduled(rule, "constant", 1) is rule


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=4, rngs=nnx.Rngs(0))
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1))


@pytest.fixture(scope="module")
def adaptive(state):
    attack = goat(eps=EPS, steps=6, step_schedule="adaptive")
    run = jax.jit(lambda state, batch, keys: attack(state, batch, keys, None, Collective()))
    return attack, run(state, trainings.examples(LABELS), KEYS)


def test_adaptive_is_the_ascent_of_the_worst_case(state, adaptive):
    batch, embed = trainings.examples(LABELS), state.embed()
    own = embed(jnp.asarray(batch.images))[:, None]
    guides = attacks.Guides(own, jnp.ones((8, 1)))
    climb = attacks.unchecked(
        lambda images: attacks.adaptive_ascent(
            attacks.signed_guides(embed, guides),
            images,
            threat=attacks.linf(EPS),
            steps=6,
            key=KEYS,
        )
    )
    expected = jax.jit(climb)(batch.images)
    _, found = adaptive
    # Signs of gradients near zero may differ between two programs.
    assert np.mean(np.abs(found.images - expected.images) < 1e-6) > 0.98
    for name, row in (("objective_start", 0), ("objective_end", 5)):
        np.testing.assert_allclose(
            found.metrics[name], expected.values[row].mean(), rtol=5e-3, err_msg=name
        )


def test_four_devices_do_what_one_does(state, adaptive):
    attack, one = adaptive
    split = jax.tree.map(
        lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), trainings.examples(LABELS)
    )
    four = jax.pmap(
        lambda state, batch, keys: attack(state, batch, keys, None, Collective("devices")),
        axis_name="devices",
        in_axes=(None, 0, 0),
    )(state, split, KEYS.reshape(4, 2))
    images = four.images.reshape(one.images.shape)
    assert np.mean(np.abs(images - one.images) < 1e-6) > 0.98
    end = np.mean(four.metrics["objective_end"])
    np.testing.assert_allclose(end, one.metrics["objective_end"], rtol=5e-3)


def test_every_adversary_hands_it_to_its_attack(monkeypatch):
    seen = []

    def noted(*fields):
        seen.append(fields[5])
        return InnerAttack(*fields)

    for module in (adversaries, bank_adversary, triplet_adversaries):
        monkeypatch.setattr(module, "InnerAttack", noted)
    goat(step_schedule="cosine")
    ranking_adversary("margin", LABELS, step_schedule="adaptive")
    triplet_adversary("misorder", step_schedule="cosine")
    assert seen == ["cosine", "adaptive", "cosine"]


MAKERS = {
    "goat": goat,
    "ranking": partial(ranking_adversary, "margin", LABELS),
    "triplets": partial(triplet_adversary, "misorder"),
}


# Images that move together are not the best of what each met.
@pytest.mark.parametrize(
    ("maker", "schedule"),
    [("goat", "linear"), ("ranking", "linear"), ("triplets", "linear"), ("triplets", "adaptive")],
)
def test_another_schedule_is_refused(maker, schedule):
    with pytest.raises(InputError, match="step_schedule must be one of"):
        MAKERS[maker](step_schedule=schedule)
