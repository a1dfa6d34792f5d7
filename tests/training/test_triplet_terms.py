"""Terms on attacked triplets: their definitions by loops, and a whole step on several devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses.triplets import Triplets
from jaxreid.models import create
from jaxreid.training import (
    BothSides,
    Defense,
    TrainState,
    consistent,
    cross_entropy_loss,
    optimizer,
    train_step,
    triplet_adversary,
    triplet_term,
)
from jaxreid.training.state import arrays_of, with_arrays

RNG = np.random.default_rng(0)
CLEAN = RNG.normal(size=(8, 4)).astype(np.float32)
ATTACKED = (CLEAN + 0.8 * RNG.normal(size=(8, 4))).astype(np.float32)
MASK = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
POSITIVE, NEGATIVE = (RNG.integers(8, size=8).astype(np.int32) for _ in range(2))
TRIPLETS = Triplets(POSITIVE, NEGATIVE, MASK)
MARGIN, WEIGHT, STRUCTURE = 0.3, 2.0, 0.5
CASES = [("triplets", 0), ("candidates", 0), ("decoupled", 0), ("decoupled", 1)]


def by_loops(kind, step, clean, attacked, collapse_margin=0.04):
    """The parts of a term, by their definitions."""
    about = np.sqrt(np.mean([np.sum((row - clean.mean(0)) ** 2) for row in clean]))
    clean, attacked = clean / about, attacked / about
    anchors, others = {
        ("triplets", 0): (attacked, attacked),
        ("candidates", 0): (clean, attacked),
        ("decoupled", 0): (clean, attacked),
        ("decoupled", 1): (attacked, clean),
    }[kind, step]
    to_p, to_n, losses, shifts = [], [], [], []
    for i in np.flatnonzero(MASK):
        to_p.append(np.linalg.norm(anchors[i] - others[POSITIVE[i]]))
        to_n.append(np.linalg.norm(anchors[i] - others[NEGATIVE[i]]))
        losses.append(max(0, to_p[-1] - to_n[-1] + MARGIN))
        to_itself = np.linalg.norm(clean[i] - attacked[i])
        shifts.append(max(0, to_itself - np.linalg.norm(clean[i] - clean[POSITIVE[i]])))
    half = len(losses) // 2
    nearer = [np.mean(sorted(each)[:half]) for each in (to_p, to_n)]
    collapse = max(0, nearer[0] - nearer[1] + collapse_margin) / 2
    return {
        "triplet_loss": np.mean(losses),
        "structure": np.mean(shifts),
        **({"collapse": collapse} if kind == "decoupled" else {}),
    }


def term(kind):
    return triplet_term(kind, WEIGHT, margin=MARGIN, structure=STRUCTURE)


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_a_term_is_its_definition(kind, step):
    sides = BothSides(CLEAN, ATTACKED, TRIPLETS, step)
    value, metrics = term(kind)(sides, Collective())
    expected = by_loops(kind, step, CLEAN.astype(float), ATTACKED.astype(float))
    assert metrics.keys() == expected.keys()
    for name, number in expected.items():
        np.testing.assert_allclose(metrics[name], number, rtol=1e-5, err_msg=name)
    total = expected["triplet_loss"] + STRUCTURE * expected["structure"]
    total += expected.get("collapse", 0)
    np.testing.assert_allclose(value, WEIGHT * total, rtol=1e-5)
    assert min(expected["triplet_loss"], expected["structure"]) > 0.05


def test_the_collapse_term_is_there():
    # Of triplets the other way round: positives are far, negatives near.
    turned = Triplets(NEGATIVE, POSITIVE, MASK)
    terms = [
        float(term("decoupled")(BothSides(CLEAN, ATTACKED, each, 0), Collective())[1]["collapse"])
        for each in (TRIPLETS, turned)
    ]
    assert max(terms) > 0.01


def test_another_unit_changes_nothing():
    sides = BothSides(7 * CLEAN + 3, 7 * ATTACKED + 3, TRIPLETS, 1)
    value, _ = term("decoupled")(sides, Collective())
    expected, _ = term("decoupled")(BothSides(CLEAN, ATTACKED, TRIPLETS, 1), Collective())
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_without_triplets_there_is_nothing_to_lose():
    none = TRIPLETS._replace(mask=np.zeros(8, bool))

    def value(clean, attacked):
        return term("decoupled")(BothSides(clean, attacked, none, 0), Collective())[0]

    found, slopes = jax.value_and_grad(value, argnums=(0, 1))(CLEAN, ATTACKED)
    assert found == 0
    for slope in slopes:
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_four_devices_see_one_batch(kind, step):
    def slopes(devices, clean, attacked, triplets):
        def value(clean, attacked):
            return term(kind)(BothSides(clean, attacked, triplets, step), devices)

        return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(clean, attacked)

    given = (CLEAN, ATTACKED, TRIPLETS)
    (whole, metrics), expected = slopes(Collective(), *given)
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), given)
    mapped = jax.pmap(partial(slopes, Collective("devices")), axis_name="devices")
    (parts, of_four), found = mapped(*split)
    np.testing.assert_allclose(np.mean(parts), whole, rtol=1e-5)
    for name, number in metrics.items():
        np.testing.assert_allclose(np.mean(of_four[name]), number, rtol=1e-5)
    # The mean over devices is what is descended.
    for one, four in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.reshape(four, (8, 4)) / 4, one, rtol=1e-4, atol=1e-6)


LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
KEY = jax.random.key(0)


def batch_of():
    return trainings.examples(LABELS)


def fresh(axis_name=None, triplet_loss=0.2):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    return TrainState.create(model, optimizer("sgd", lambda _: 0.1), triplet_loss=triplet_loss)


@pytest.fixture(scope="module")
def stepped():
    """Hardness manipulation with intra-class structure, one step on one device and on four."""
    options = {
        "loss_fn": cross_entropy_loss(),
        "adversary": triplet_adversary("hardness", eps=8 / 255, step_size=4 / 255, steps=2),
        "defense": Defense(consistency=triplet_term("triplets", 1.0, structure=0.5)),
    }
    one = jax.jit(partial(train_step, **options))(fresh(), batch_of(), KEY)
    mapped = jax.pmap(
        partial(train_step, **options, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch_of())
    return one, mapped(fresh("devices"), split, KEY)


@pytest.mark.slow
def test_a_step_on_four_devices_is_one_on_one(stepped):
    (one, metrics), (four, of_four) = stepped
    assert {"triplet_loss", "structure", "objective_end", "clean_accuracy"} <= metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=5e-3, err_msg=name)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(four.params), strict=True):
        np.testing.assert_allclose(b[0], a, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_the_loss_of_triplets_is_remembered_and_saved(stepped):
    (state, metrics), (four, _) = stepped
    assert float(state.triplet_loss) == float(metrics["triplet_loss"]) > 0
    assert len(set(np.asarray(four.triplet_loss).tolist())) == 1
    saved = arrays_of(state)
    assert float(saved["triplet_loss"]) == float(metrics["triplet_loss"])
    assert with_arrays(fresh(), saved).triplet_loss == saved["triplet_loss"]
    assert "triplet_loss" not in arrays_of(fresh(triplet_loss=None))


def test_a_state_that_looks_back_needs_a_term_on_triplets():
    learn = partial(
        train_step,
        loss_fn=cross_entropy_loss(),
        defense=Defense(consistency=consistent("features", 1.0)),
    )
    with pytest.raises(InputError, match=r"no term on triplets: .*triplet_term"):
        jax.eval_shape(learn, fresh(), batch_of(), KEY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "anchors"}, "kind"),
        ({"weight": 0.0}, "weight and margin must be above 0 and structure 0 or more, got 0, 0.2"),
        ({"margin": 0.0}, "got 1, 0 and 0"),
        ({"structure": -1.0}, "got 1, 0.2 and -1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        triplet_term(**{"kind": "triplets", "weight": 1.0, **options})


def test_an_adversary_without_triplets_is_refused():
    with pytest.raises(InputError, match="needs an adversary on triplets"):
        term("triplets")(BothSides(CLEAN, jnp.asarray(ATTACKED)), Collective())
