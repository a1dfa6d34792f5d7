"""The adversary on the ranking of all training images: its lists, its objective, its bank."""

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
from jaxreid.ranking import list_distances, search_lists, soft_margin, temperature_of
from jaxreid.training import TrainState, optimizer, ranking_adversary
from jaxreid.types import Embedded

PEOPLE = np.array([0, 0, 1, 1, 2, 2, 0, 1, 3, 4], np.int32)
ROWS = np.array([6, 0, 3, 8], np.int32)
EPS, STEP = 8 / 255, 2 / 255
KEYS = example_keys(jax.random.key(3), ROWS)


@pytest.fixture(scope="module")
def state():
    model = create(trainings.SHAPE, classes=5, rngs=nnx.Rngs(0))
    bank = jax.random.normal(jax.random.key(9), (10, 8))
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1), bank=bank)


def batch_of(rows=ROWS):
    return trainings.examples(PEOPLE[rows], indices=rows)


def compiled(**options):
    adversary = ranking_adversary(
        "soft_margin", PEOPLE, **{"eps": EPS, "step_size": STEP, "steps": 4, **options}
    )
    return jax.jit(lambda state, batch, keys: adversary(state, batch, keys, None, Collective()))


@pytest.fixture(scope="module")
def attacked(state):
    return compiled()(state, batch_of(), KEYS)


def value(state, bank, images):
    """What is climbed, with lists made on the host by the rules of a search in one set."""
    people = PEOPLE + 1
    gallery = Embedded(np.asarray(bank), people, np.zeros_like(people))
    features = jax.jit(state.embed())(images)
    query = Embedded(np.asarray(features), people[ROWS], np.zeros_like(people[ROWS]))
    lists = search_lists(query, gallery, own_positions=ROWS)
    distances = list_distances(features, lists)
    return np.asarray(soft_margin(distances, temperature=temperature_of(distances)))


@pytest.mark.slow
def test_it_climbs_the_ranking_within_its_budget(state, attacked):
    batch = batch_of()
    change = np.abs(attacked.adversarial - batch.images)
    assert 0.5 * EPS < change.max() <= EPS + 1e-6
    assert attacked.adversarial.min() >= 0
    assert attacked.adversarial.max() <= 1
    before, after = (
        value(state, attacked.bank, images) for images in (batch.images, attacked.adversarial)
    )
    # The last person is alone: nothing can be spoiled.
    assert (after[:3] > before[:3]).all()
    assert before[3] == after[3] == 0
    assert float(attacked.metrics["unguided"]) == 0.25
    assert float(attacked.metrics["objective_end"]) > float(attacked.metrics["objective_start"])


@pytest.mark.slow
def test_who_has_no_match_keeps_the_noise_of_the_start(state, attacked):
    more = compiled(steps=6)(state, batch_of(), KEYS)
    np.testing.assert_array_equal(attacked.adversarial[3], more.adversarial[3])
    assert (attacked.adversarial[0] != more.adversarial[0]).any()


@pytest.mark.slow
def test_the_bank_holds_the_clean_features_of_the_batch(state, attacked):
    features = jax.jit(state.embed())(batch_of().images)
    np.testing.assert_allclose(attacked.bank[ROWS], features, rtol=1e-4, atol=1e-5)
    others = np.setdiff1d(np.arange(10), ROWS)
    np.testing.assert_array_equal(attacked.bank[others], state.bank[others])


def test_objective_start_is_the_definitions(state):
    # Without a budget the start is the clean image.
    still = compiled(eps=0.0, step_size=0.0)(state, batch_of(), KEYS)
    expected = value(state, still.bank, batch_of().images).mean()
    np.testing.assert_allclose(still.metrics["objective_start"], expected, rtol=1e-4)
    np.testing.assert_array_equal(still.images, batch_of().images)


@pytest.mark.slow
def test_two_devices_do_what_one_does(state, attacked):
    adversary = ranking_adversary("soft_margin", PEOPLE, eps=EPS, step_size=STEP, steps=4)

    def on_device(state, batch, keys):
        return adversary(state, batch, keys, None, Collective("devices"))

    split = jax.tree.map(lambda leaf: jnp.reshape(leaf, (2, 2, *leaf.shape[1:])), batch_of())
    keys = KEYS.reshape(2, 2)
    found = jax.pmap(on_device, axis_name="devices", in_axes=(None, 0, 0))(state, split, keys)
    np.testing.assert_allclose(found.bank[0], attacked.bank, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.bank[0], found.bank[1])
    images = found.images.reshape(attacked.images.shape)
    # Signs of gradients near zero may differ between two programs.
    assert np.mean(np.abs(images - attacked.images) < 1e-6) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "precision"}, "objective"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"clean_fraction": 2.0}, r"clean_fraction lie in \[0, 1\], got 1 and 2"),
    ],
)
def test_bad_options_are_refused(options, message):
    given = {"objective": "margin", "steps": 1, **options}
    with pytest.raises(InputError, match=message):
        ranking_adversary(given.pop("objective"), PEOPLE, **given)


def test_a_state_without_a_bank_is_refused(state):
    with pytest.raises(InputError, match="needs a bank"):
        compiled()(state.replace(bank=None), batch_of(), KEYS)
