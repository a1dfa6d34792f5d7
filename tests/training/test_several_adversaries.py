"""One of several adversaries in every batch: which, the same everywhere, and what it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.random import example_keys
from jaxreid.training import Attacked, TrainState, goat, one_of, optimizer, ranking_adversary

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3], np.int32)
PEOPLE = np.tile(LABELS, 2)
KEY = jax.random.key(0)
BUDGET = {"eps": 8 / 255, "step_size": 3 / 255, "steps": 2}


def keys_of(step):
    return example_keys(jax.random.fold_in(KEY, step), np.arange(8))


def painted(value):
    """An adversary that is known by what it makes of every image."""

    def adversary(state, batch, keys, start, devices):
        images = jnp.full_like(batch.images, value)
        return Attacked(images, images, state, {"value": jnp.float32(value)})

    return adversary


@pytest.fixture(scope="module")
def drawn():
    """Which of three was drawn in each of 300 steps."""
    attack, batch = (
        one_of([painted(value) for value in (0.25, 0.5, 0.75)]),
        trainings.examples(LABELS),
    )

    @jax.jit
    @jax.vmap
    def values(keys):
        found = attack(None, batch, keys, None, Collective())
        return found.metrics["value"], jnp.min(found.images), jnp.max(found.images)

    told, least, most = values(jax.vmap(keys_of)(jnp.arange(300)))
    np.testing.assert_array_equal(told, least)
    np.testing.assert_array_equal(told, most)
    return np.asarray(told)


def test_each_has_its_turns_in_no_order(drawn):
    counts = [int((drawn == value).sum()) for value in (0.25, 0.5, 0.75)]
    # 100 +- 8.2 by chance.
    assert min(counts) > 70
    follows = np.mean(drawn[1:] == drawn[:-1])
    assert 0.2 < follows < 0.47


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=4, rngs=nnx.Rngs(0))
    bank = jax.random.normal(jax.random.key(9), (16, 8))
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1), bank=bank)


PARTS = [goat(pull=1, **BUDGET), ranking_adversary("soft_margin", PEOPLE, **BUDGET)]


def on_one(adversary):
    return jax.jit(lambda state, batch, keys: adversary(state, batch, keys, None, Collective()))


@pytest.mark.slow
def test_it_is_the_one_that_was_drawn_on_any_number_of_devices(state):
    batch, both = trainings.examples(LABELS), one_of(PARTS)
    alone, together = [on_one(part) for part in PARTS], on_one(both)

    def on_device(state, batch, keys):
        return both(state, batch, keys, None, Collective("devices"))

    mapped = jax.pmap(on_device, axis_name="devices", in_axes=(None, 0, 0))
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch)
    chosen = set()
    for step in range(6):
        keys = keys_of(step)
        found = together(state, batch, keys)
        expected = [attack(state, batch, keys) for attack in alone]
        near = [np.mean(np.abs(one.images - found.images) < 1e-6) for one in expected]
        # Signs of gradients near zero may differ between two programs.
        assert max(near) > 0.99
        assert min(near) < 0.9
        which = int(np.argmax(near))
        chosen.add(which)
        for name, value in expected[which].metrics.items():
            np.testing.assert_allclose(found.metrics[name], value, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found.bank, expected[which].bank, rtol=1e-5, atol=1e-6)
        assert found.aims is None
        spread = mapped(state, split, keys.reshape(4, 2))
        images = spread.images.reshape(found.images.shape)
        assert np.mean(np.abs(images - found.images) < 1e-6) > 0.99
    assert chosen == {0, 1}


def test_guides_leave_a_fresh_bank_to_the_ranking(state):
    """With pushes alone, too, which need no feature of the image itself."""
    batch = trainings.examples(LABELS)
    pushes = np.array([[1], [0], [3], [2], [5], [4], [0], [7]], np.int32)
    batch = batch._replace(
        push_images=batch.images[pushes], push_indices=pushes, push_mask=pushes < 7
    )
    found = on_one(goat(push=1, **BUDGET))(state, batch, keys_of(0))
    features = jax.jit(state.embed())(batch.images)
    np.testing.assert_allclose(found.bank[:8], features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.bank[8:], state.bank[8:])


def test_none_is_refused():
    with pytest.raises(InputError, match="at least one adversary"):
        one_of([])
