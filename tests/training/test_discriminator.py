"""A discriminator beside a network: both sides of the game, on one device or four, resumed."""

import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx
from safetensors.numpy import load_file

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.training import (
    Attacked,
    Defense,
    TrainState,
    cross_entropy_loss,
    optimizer,
    train_step,
)
from jaxreid.training.discriminator import Opponent, Suspects, opposed
from jaxreid.training.state import arrays_of
from jaxreid.training.trainer import train

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
BATCH = trainings.examples(LABELS)
KEY = jax.random.key(0)
RATE = 0.1
SGD = optimizer("sgd", lambda count: RATE)
CHANGED = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
RNG = np.random.default_rng(2)
CLEAN = RNG.normal(3, 2, (8, 5)).astype(np.float32)
ATTACKED = (CLEAN + RNG.normal(0.5, 1, (8, 5))).astype(np.float32)
SUSPECTS = Suspects(CLEAN, ATTACKED, CHANGED)


def opponent_of(size):
    return Opponent.create(size, SGD, key=jax.random.key(7))


def by_hand(params, clean, attacked, changed):
    """-V in float64, and how often the discriminator is right."""
    w1, b1, w2, b2 = (
        np.asarray(getattr(getattr(params, layer), name)[...], np.float64)
        for layer in ("hidden", "out")
        for name in ("kernel", "bias")
    )
    mean = clean.astype(np.float64).mean(axis=0)
    unit = np.sqrt(np.square(clean - mean).mean())

    def belief(rows):
        logits = np.maximum((rows - mean) / unit @ w1 + b1, 0) @ w2 + b2
        return 1 / (1 + np.exp(-logits[:, 0]))

    first, second = belief(clean), belief(attacked)[changed]
    loss = -np.log(first).mean() - np.log(1 - second).mean()
    return loss, (np.mean(first > 0.5) + np.mean(second < 0.5)) / 2


def test_the_value_is_the_one_of_the_game():
    opponent = opponent_of(5)
    value, metrics = opposed(opponent, opponent.params, SUSPECTS, weight=0.3, devices=Collective())
    loss, right = by_hand(opponent.params, CLEAN, ATTACKED, CHANGED)
    np.testing.assert_allclose(metrics["discriminator_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator_accuracy"], right, rtol=1e-6)
    np.testing.assert_allclose(value, -0.3 * loss, rtol=1e-5)


@pytest.mark.slow
def test_each_side_has_the_gradient_of_its_own_aim():
    opponent, weight = opponent_of(5), 0.3

    def value(params, clean, attacked):
        suspects = Suspects(clean, attacked, CHANGED)
        return opposed(opponent, params, suspects, weight=weight, devices=Collective())

    down, _ = jax.grad(value, has_aux=True)(opponent.params, CLEAN, ATTACKED)
    _, slope = jax.grad(lambda *given: value(*given)[0], (1, 2))(opponent.params, CLEAN, ATTACKED)

    def moved(params, step):
        there = jax.tree.map(lambda w, g: np.asarray(w - step * g, np.float64), params, down)
        return by_hand(there, CLEAN, ATTACKED, CHANGED)[0]

    # The discriminator descends -V, whose slope is the square of its gradient.
    square = sum(float((g**2).sum()) for g in jax.tree.leaves(down))
    step = 1e-4
    fallen = moved(opponent.params, -step) - moved(opponent.params, step)
    np.testing.assert_allclose(fallen, 2 * step * square, rtol=1e-2)
    # The network's features descend w V; those of images that no attack changed do not move.
    for row in (0, 3):
        for place in range(5):
            change = np.zeros_like(ATTACKED, np.float64)
            change[row, place] = 1e-4
            up, below = (
                by_hand(opponent.params, CLEAN, ATTACKED + sign * change, CHANGED)[0]
                for sign in (1, -1)
            )
            expected = -weight * (up - below) / 2e-4
            np.testing.assert_allclose(slope[row, place], expected, rtol=2e-2, atol=1e-6)
    np.testing.assert_array_equal(slope[~CHANGED], 0)


def test_features_that_shrink_or_move_alike_fool_nobody():
    opponent = opponent_of(5)

    def loss(suspects):
        found = opposed(opponent, opponent.params, suspects, weight=1.0, devices=Collective())
        return found[1]["discriminator_loss"]

    other = Suspects(CLEAN / 64 + 3, ATTACKED / 64 + 3, CHANGED)
    np.testing.assert_allclose(loss(other), loss(SUSPECTS), rtol=1e-3)
    none = Suspects(CLEAN, CLEAN, np.zeros(8, bool))
    expected, _ = by_hand(opponent.params, CLEAN, CLEAN, np.ones(8, bool))
    assert 0 < float(loss(none)) < expected
    same = Suspects(np.ones((8, 5), np.float32), np.ones((8, 5), np.float32), CHANGED)
    assert np.isfinite(loss(same))


def test_it_learns_to_tell_and_the_network_to_fool():
    """Features that are free to move: whoever is alone wins, by the same optimizer."""
    opponent = opponent_of(5)
    far = Suspects(CLEAN, CLEAN + 2, np.ones(8, bool))

    def value(params, attacked):
        suspects = far._replace(attacked=attacked)
        return opposed(opponent, params, suspects, weight=1.0, devices=Collective())

    slopes = jax.jit(jax.grad(value, (0, 1), has_aux=True))
    right = []
    # No further than it must: who is sure leaves no gradient to fool it by.
    while not right or (right[-1] < 1 and len(right) < 50):
        (gradient, _), before = slopes(opponent.params, far.attacked)
        right.append(float(before["discriminator_accuracy"]))
        opponent = opponent.descended(gradient, SGD)
    assert right[0] < right[-1] == 1
    attacked = far.attacked
    for _ in range(200):
        (_, slope), after = slopes(opponent.params, attacked)
        attacked = attacked - slope
    assert float(after["discriminator_accuracy"]) < 0.8
    assert float(after["discriminator_loss"]) > float(before["discriminator_loss"])


def darker(state, batch, keys, start, devices):
    """An adversary that leaves every fourth image of the whole batch as it is."""
    attacked = jnp.where(
        (batch.indices % 4 == 3)[:, None, None, None], batch.images, batch.images**2
    )
    return Attacked(attacked, attacked, None, {})


def fresh(axis_name=None):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    return TrainState.create(model, SGD).replace(discriminator=opponent_of(8))


def learning(axis_name=None, *, weight=0.5, together=False):
    defense = Defense(discriminator_weight=weight, together=together)
    return partial(
        train_step,
        loss_fn=cross_entropy_loss(),
        adversary=darker,
        defense=defense,
        axis_name=axis_name,
    )


def close(found, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, expected)


def test_a_step_moves_both_by_one_optimizer():
    state, weight = fresh(), 0.5
    images = np.where((np.arange(8) % 4 == 3)[:, None, None, None], BATCH.images, BATCH.images**2)
    changed = np.arange(8) % 4 != 3

    def value(params, judge):
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        attacked = model(images, batch_norm="batch")
        clean = model(BATCH.images, batch_norm="batch")
        rows = Suspects(clean.features, attacked.features, changed)
        game, _ = opposed(state.discriminator, judge, rows, weight=weight, devices=Collective())
        return cross_entropy_loss()(attacked, LABELS, Collective())[0] + game

    judge = state.discriminator.params
    loss, slopes = jax.jit(jax.value_and_grad(value, (0, 1)))(state.params, judge)
    after, metrics = jax.jit(learning())(state, BATCH, KEY)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    found = (after.params, after.discriminator.params)
    # Nesterov's first step is 1.9 times the gradient.
    close(found, jax.tree.map(lambda w, g: w - 1.9 * RATE * g, (state.params, judge), slopes))
    assert {"accuracy", "clean_accuracy", "discriminator_accuracy"} <= metrics.keys()


@pytest.mark.slow
def test_four_devices_do_what_one_does():
    one, metrics = jax.jit(learning(together=True))(fresh(), BATCH, KEY)
    mapped = jax.pmap(
        learning("devices", together=True), axis_name="devices", in_axes=(None, 0, None)
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), BATCH)
    four, of_four = mapped(fresh("devices"), split, KEY)
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=1e-3, err_msg=name)
    first = jax.tree.map(lambda leaf: leaf[0], four)
    close(first.params, one.params)
    close(first.discriminator.params, one.discriminator.params)


def test_one_attacked_image_on_four_devices_counts_as_on_one():
    opponent = opponent_of(5)
    lone = SUSPECTS._replace(changed=np.arange(8) == 4)

    def value(devices, suspects):
        found = opposed(opponent, opponent.params, suspects, weight=0.3, devices=devices)
        return devices.mean(found)

    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), lone)
    whole, metrics = value(Collective(), lone)
    mapped = jax.pmap(partial(value, Collective("devices")), axis_name="devices")
    parts, of_four = mapped(split)
    np.testing.assert_allclose(parts, np.full(4, whole), rtol=1e-5)
    for name, number in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, number), rtol=1e-5)
    loss, _ = by_hand(opponent.params, CLEAN, ATTACKED, lone.changed)
    np.testing.assert_allclose(whole, -0.3 * loss, rtol=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit_and_saves_the_network_alone(tmp_path, tiny_data):
    config = trainings.settings(
        {
            "dataset.data_dir": tiny_data,
            "goat.enabled": True,
            "goat.steps": 1,
            "goat.step_size": 4.0,
            "defense.discriminator_weight": 0.1,
            "checkpoint.every_steps": 6,
        }
    )
    train(config, tmp_path)
    expected = trainings.last_checkpoint(tmp_path)[1].arrays
    its = [name for name in expected if name.startswith("discriminator.")]
    assert sum("params" in name for name in its) == 4
    # Adam's two moments of each, and its counts.
    assert sum("optimizer_state" in name for name in its) >= 8
    shutil.rmtree(tmp_path / "checkpoints" / "10")
    said = []
    train(config, tmp_path, say=said.append)
    assert said[0] == "going on after step 6 of 10"
    for name, array in trainings.last_checkpoint(tmp_path)[1].arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    names = set(load_file(tmp_path / "last.safetensors"))
    assert names
    assert not [name for name in names if "discriminator" in name or "hidden" in name]
    assert "discriminator_accuracy" in trainings.lines(tmp_path)[-1]


def test_a_state_without_one_saves_none():
    names = arrays_of(fresh().replace(discriminator=None))
    assert not [name for name in names if "discriminator" in name]


@pytest.mark.parametrize(("weight", "size"), [(0.5, None), (0.0, 8)])
def test_state_and_defense_must_agree(weight, size):
    state = fresh().replace(discriminator=size and opponent_of(size))
    with pytest.raises(InputError, match=r"discriminator.*Opponent\.create"):
        jax.eval_shape(learning(weight=weight), state, BATCH, KEY)
    with pytest.raises(InputError, match=r"discriminator_weight must be 0 or more, got -1"):
        Defense(discriminator_weight=-1.0).check()
