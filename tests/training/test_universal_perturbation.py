"""One perturbation of all images: how it moves, starts anew, and is the same on all devices."""

import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.attacks import input_diversity, smoothed_gradients
from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import feature_shift
from jaxreid.models import create
from jaxreid.random import example_keys
from jaxreid.training import (
    Defense,
    TrainState,
    consistent,
    cross_entropy_loss,
    optimizer,
    train_step,
    universal_adversary,
    weight_perturbation,
)
from jaxreid.training.state import arrays_of
from jaxreid.training.trainer import train

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
KEY = jax.random.key(0)
EPS, STEP, RATE = 8 / 255, 3 / 255, 0.1
BATCH = trainings.examples(LABELS)
START = np.random.default_rng(4).uniform(-EPS, EPS, (16, 8, 3)).astype(np.float32)


def fresh(axis_name=None, *, step=0, start=None):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    state = TrainState.create(model, optimizer("sgd", lambda count: RATE))
    start = np.zeros((16, 8, 3), np.float32) if start is None else start
    return state.replace(step=jnp.int32(step), universal=start)


def learning(*, defense=None, replays=1, axis_name=None, **options):
    adversary = universal_adversary(**{"eps": EPS, "step_size": STEP, **options})
    return partial(
        train_step,
        loss_fn=cross_entropy_loss(),
        adversary=adversary,
        defense=defense,
        replays=replays,
        axis_name=axis_name,
    )


def attacked_by(state, **options):
    """Images, adversarial images and metrics, at the step of a state."""
    adversary = universal_adversary(**{"eps": EPS, "step_size": STEP, **options})
    keys = example_keys(jax.random.fold_in(KEY, state.step), BATCH.indices)

    def made(state, keys):
        found = adversary(state, BATCH, keys, None, Collective())
        return found.images, found.adversarial, found.metrics

    return jax.jit(made)(state, keys)


def close(found, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, expected)


DEFENSES = {
    "attacked images": (Defense(), lambda one, two: 0),
    "and the shift of features": (
        Defense(consistency=consistent("features", 2.0), together=False),
        lambda clean, attacked: 2 * feature_shift(clean.features, attacked.features),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DEFENSES)
def test_both_follow_one_gradient(case):
    """Parameters go down and the perturbation up, on all that is minimised."""
    defense, term = DEFENSES[case]
    state = fresh(step=1, start=START)
    images, _, _ = attacked_by(state, clean_fraction=0.5)
    kept = (np.asarray(images) == BATCH.images).all(axis=(1, 2, 3))
    assert 0 < kept.sum() < 8

    def value(params, change):
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        moved = jnp.clip(BATCH.images + change, 0, 1)
        attacked = model(
            jnp.where(kept[:, None, None, None], BATCH.images, moved), batch_norm="batch"
        )
        clean = model(BATCH.images, batch_norm="batch")
        loss, _ = cross_entropy_loss()(attacked, LABELS, Collective())
        return loss + term(clean, attacked)

    loss, (down, up) = jax.jit(jax.value_and_grad(value, (0, 1)))(state.params, START)
    after, metrics = jax.jit(learning(defense=defense, clean_fraction=0.5))(state, BATCH, KEY)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    # Nesterov's first step is 1.9 times the gradient.
    close(after.params, jax.tree.map(lambda w, g: w - 1.9 * RATE * g, state.params, down))
    expected = np.clip(START + STEP * np.sign(up), -EPS, EPS)
    # Signs of gradients near zero may differ between two programs.
    sure = np.abs(up) > 1e-4 * np.abs(up).max()
    assert sure.mean() > 0.95
    np.testing.assert_allclose(after.universal[sure], expected[sure], atol=1e-7)
    assert (np.abs(after.universal) <= np.float32(EPS)).all()
    assert after.universal.dtype == np.float32


def test_it_follows_the_gradient_at_moved_weights():
    size = 0.5
    state = fresh(step=1, start=START)

    def value(params, change):
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        outputs = model(jnp.clip(BATCH.images + change, 0, 1), batch_norm="batch")
        return cross_entropy_loss()(outputs, LABELS, Collective())[0]

    slopes = jax.jit(jax.grad(value, (0, 1)))
    there = weight_perturbation(size)(state.params, slopes(state.params, START)[0])
    _, up = slopes(there, START)
    defense = Defense(perturbation=weight_perturbation(size))
    after, _ = jax.jit(learning(defense=defense))(state, BATCH, KEY)
    expected = np.clip(START + STEP * np.sign(up), -EPS, EPS)
    sure = np.abs(up) > 1e-2 * np.abs(up).max()
    assert sure.mean() > 0.8
    np.testing.assert_allclose(after.universal[sure], expected[sure], atol=1e-7)


@pytest.mark.slow
def test_the_network_sees_diverse_images_and_the_gradient_is_smoothed():
    state = fresh(step=1, start=START)
    keys = jax.vmap(lambda key: jax.random.fold_in(key, 3))(
        example_keys(jax.random.fold_in(KEY, 1), BATCH.indices)
    )

    def seen(change):
        return input_diversity(jnp.clip(BATCH.images + change, 0, 1), keys, probability=0.7)

    def value(change):
        model = nnx.merge(state.graph, state.params, state.stats, copy=True)
        outputs = model(seen(change), batch_norm="batch")
        return cross_entropy_loss()(outputs, LABELS, Collective())[0]

    images, adversarial, _ = attacked_by(state, diversity=0.7)
    np.testing.assert_allclose(adversarial, jax.jit(seen)(START), atol=1e-6)
    np.testing.assert_array_equal(images, adversarial)
    plain = (np.asarray(images) == np.clip(BATCH.images + START, 0, 1)).all(axis=(1, 2, 3))
    assert 0 < plain.sum() < 8
    up = smoothed_gradients(jax.jit(jax.grad(value))(START), sigma=1.5)
    after, _ = jax.jit(learning(diversity=0.7, blur=1.5))(state, BATCH, KEY)
    expected = np.clip(START + STEP * np.sign(up), -EPS, EPS)
    sure = np.abs(up) > 1e-3 * np.abs(up).max()
    assert sure.mean() > 0.95
    np.testing.assert_allclose(after.universal[sure], expected[sure], atol=1e-7)


def test_images_are_moved_alike_and_stay_in_range():
    images, adversarial, metrics = attacked_by(fresh(step=5, start=START), clean_fraction=0.5)
    expected = np.clip(BATCH.images + START, 0, 1)
    assert (expected != BATCH.images + START).any()
    np.testing.assert_array_equal(adversarial, expected)
    rows = [np.array_equal(row, clean) for row, clean in zip(images, BATCH.images, strict=True)]
    for row, moved, kept in zip(images, expected, rows, strict=True):
        assert kept or np.array_equal(row, moved)
    assert len(set(rows)) == 2
    at_budget = fresh(step=5, start=np.where(START > 0, np.float32(EPS), START))
    _, _, metrics = attacked_by(at_budget)
    np.testing.assert_allclose(metrics["at_budget"], np.mean(START > 0), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("every", "anew"), [(0, [0]), (3, [0, 3, 6])])
def test_it_is_drawn_anew_when_that_is_due(every, anew):
    # Without a step it stays what it was drawn as.
    learn = jax.jit(learning(step_size=0.0, restart_every=every))
    state, drawn = fresh(), []
    for step in range(7):
        before = state.universal
        state, _ = learn(state, BATCH, KEY)
        assert (not np.array_equal(state.universal, before)) == (step in anew)
        if step in anew:
            drawn.append(np.asarray(state.universal))
    assert len({array.tobytes() for array in drawn}) == len(anew)
    for array in drawn:
        # Uniform within the budget: 384 values.
        assert np.abs(array).max() <= np.float32(EPS)
        np.testing.assert_allclose(np.abs(array).mean(), EPS / 2, rtol=0.2)
        assert abs(array.mean()) < 0.2 * EPS


def test_the_budget_grows_with_the_strength():
    # Steps as long as the budget: the edge of it is always reached.
    learn = jax.jit(learning(step_size=EPS, strength=lambda step: jnp.minimum((step + 1) / 4, 1)))
    state, largest = fresh(), []
    for _ in range(6):
        state, _ = learn(state, BATCH, KEY)
        largest.append(np.abs(state.universal).max() / EPS)
    np.testing.assert_allclose(largest, [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-5)


@pytest.mark.slow
def test_replays_move_it_on():
    drawn, _ = jax.jit(learning(step_size=0.0))(fresh(), BATCH, KEY)
    after, _ = jax.jit(learning(replays=2, step_size=EPS / 4))(fresh(), BATCH, KEY)
    moved = np.abs(after.universal - drawn.universal)
    assert (moved <= EPS / 2 + 1e-6).all()
    # There, and on or back; from the edge of the budget it goes less far.
    assert np.isclose(moved, EPS / 2, atol=1e-6).mean() > 0.2
    assert int(after.step) == 1


@pytest.mark.slow
def test_four_devices_do_what_one_does():
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), BATCH)

    def on_four(state, **options):
        learn = learning(axis_name="devices", clean_fraction=0.5, **options)
        mapped = jax.pmap(learn, axis_name="devices", in_axes=(None, 0, None))
        return mapped(state, split, KEY)

    # Drawn by the same numbers, to the bit.
    one, _ = jax.jit(learning(clean_fraction=0.5, step_size=0.0))(fresh(), BATCH, KEY)
    four, _ = on_four(fresh("devices"), step_size=0.0)
    for device in range(4):
        np.testing.assert_array_equal(four.universal[device], one.universal)
    one, metrics = jax.jit(learning(clean_fraction=0.5))(fresh(), BATCH, KEY)
    four, of_four = on_four(fresh("devices"))
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=1e-3, err_msg=name)
    close(jax.tree.map(lambda leaf: leaf[0], four.params), one.params)
    for device in range(4):
        np.testing.assert_array_equal(four.universal[device], four.universal[0])
    # Signs of gradients near zero may differ between two programs.
    same = np.isclose(four.universal[0], one.universal, atol=1e-7)
    assert same.mean() > 0.98


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit(tmp_path, tiny_data):
    config = trainings.settings(
        {
            "dataset.data_dir": tiny_data,
            "goat.enabled": True,
            "goat.objective": "universal",
            "goat.steps": 1,
            "goat.restart_every": 4,
            "goat.clean_fraction": 0.5,
            "goat.step_size": 2.0,
            "goat.diversity": 0.5,
            "goat.blur": 0.75,
            "checkpoint.every_steps": 6,
        }
    )
    train(config, tmp_path)
    expected, logged = trainings.last_checkpoint(tmp_path)[1].arrays, trainings.lines(tmp_path)
    assert expected["universal"].shape == (32, 16, 3)
    assert 0 < np.abs(expected["universal"]).max() <= np.float32(5 / 255)
    # As if it had been killed: before the last time that the perturbation starts anew.
    shutil.rmtree(tmp_path / "checkpoints" / "10")
    said = []
    train(config, tmp_path, say=said.append)
    assert said[0] == "going on after step 6 of 10"
    for name, array in trainings.last_checkpoint(tmp_path)[1].arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    again = trainings.lines(tmp_path)
    assert [line["loss"] for line in again] == [line["loss"] for line in logged]


def test_a_state_without_one_saves_none():
    assert "universal" in arrays_of(fresh())
    assert "universal" not in arrays_of(fresh().replace(universal=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"restart_every": -1}, "restart_every must be 0 or more, got -1"),
        ({"diversity": 1.5}, r"diversity must lie in \[0, 1\], got 1.5"),
        ({"blur": -1.0}, "blur must be 0 or more pixels, got -1"),
        ({"clean_fraction": 2.0}, r"clean_fraction lie in \[0, 1\], got 1 and 2"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        universal_adversary(**options)


@pytest.mark.parametrize("universal", [None, np.zeros((8, 16, 3), np.float32)])
def test_a_state_without_a_perturbation_of_such_images_is_refused(universal):
    with pytest.raises(InputError, match=r"replace\(universal=jnp\.zeros\(\(16, 8, 3\)\)\)"):
        jax.eval_shape(learning(), fresh().replace(universal=universal), BATCH, KEY)
