"""One step: pure, learning from what the adversary made, the same on any number of devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seeing
import trainings
from flax import nnx

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.models import create
from jaxreid.training import (
    Attacked,
    TrainState,
    cross_entropy_loss,
    equal_average,
    goat,
    moving_average,
    optimizer,
    train_step,
)

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
KEY = jax.random.key(0)


def batch_of(rows=8, seed=0):
    return trainings.examples(LABELS[:rows], seed=seed)


def fresh(*, axis_name=None, **averages):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    sgd = optimizer("sgd", lambda count: 0.1 / (1 + count))
    return TrainState.create(model, sgd, **averages)


@pytest.fixture(scope="module")
def plain():
    """One step without an adversary: the state before, the state after, and metrics."""
    learn = partial(train_step, loss_fn=cross_entropy_loss(), averaging=moving_average(0.75))
    before = fresh(averaged=True)
    return before, *jax.jit(learn)(before, batch_of(), KEY)


def test_a_step_is_the_optimizers_step_on_the_losss_gradient(plain):
    state, after, metrics = plain
    batch, loss_fn = batch_of(), cross_entropy_loss()

    def objective(params):
        model = nnx.merge(state.graph, params, state.stats, copy=True)
        return loss_fn(model(batch.images, batch_norm="batch"), batch.labels, Collective())[0]

    loss, gradient = jax.jit(jax.value_and_grad(objective))(state.params)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)
    # Nesterov's first step is 1.9 times the gradient.
    expected = jax.tree.map(lambda p, g: p - 0.19 * g, state.params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.params, expected)
    assert int(after.step) == 1
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), after.stats, state.stats)
    assert all(jax.tree.leaves(changed))


def test_statistics_come_from_learning_and_not_from_the_attack(plain):
    """An attack that changes nothing leaves the same state as no attack, statistics included."""
    adversary = goat(eps=0.0, step_size=0.0, steps=2, batch_norm="batch")
    step = jax.jit(partial(train_step, loss_fn=cross_entropy_loss(), adversary=adversary))
    after, metrics = step(fresh(), batch_of(), KEY)
    assert {"objective_start", "objective_end", "at_budget", "unguided"} <= metrics.keys()
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.stats, plain[1].stats
    )
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.params, plain[1].params
    )


def test_the_average_follows_the_parameters(plain):
    before, after, _ = plain
    expected = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, before.average, after.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after.average, expected)
    averaged = nnx.split(after.model(), nnx.Param, ...)[1]
    jax.tree.map(np.testing.assert_array_equal, averaged, after.average)
    pairs = zip(jax.tree.leaves(after.average), jax.tree.leaves(after.params), strict=True)
    assert any((a != b).any() for a, b in pairs)
    with pytest.raises(InputError, match="averaging needs a state with an average"):
        train_step(
            fresh(),
            batch_of(),
            KEY,
            loss_fn=cross_entropy_loss(),
            averaging=moving_average(0.5),
        )


SWA = {"averaged": True, "average_stats": True}
same = partial(jax.tree.map, np.testing.assert_array_equal)
near = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6))


def test_swa_is_the_mean_of_the_parameters_and_has_statistics_of_its_own():
    learn = jax.jit(partial(train_step, loss_fn=cross_entropy_loss(), averaging=equal_average(2)))
    state, seen = fresh(**SWA), []
    for step in range(5):
        before, batch = state, batch_of(seed=step)
        state, _ = learn(state, batch, KEY)
        seen.append(state.params)
        if step <= 2:
            same(state.average, state.params)
            same(state.average_stats, state.stats)
            continue
        near(state.average, jax.tree.map(lambda *steps: np.mean(steps, 0), *seen[2:]))
        # What BatchNorm makes of the batch in the averaged network moves its statistics.
        model = nnx.merge(state.graph, state.average, before.average_stats, copy=True)
        model(batch.images, batch_norm="batch")
        near(state.average_stats, nnx.split(model, nnx.Param, ...)[2])
        pairs = zip(*map(jax.tree.leaves, (state.average_stats, state.stats)), strict=True)
        assert all(np.abs(a - b).max() > 1e-5 for a, b in pairs)
    _, params, stats = nnx.split(state.model(), nnx.Param, ...)
    same((params, stats), (state.average, state.average_stats))


@pytest.mark.slow
def test_swa_counts_every_update_of_a_batch():
    loss_fn = cross_entropy_loss()
    once = jax.jit(partial(train_step, loss_fn=loss_fn, averaging=equal_average(1)))
    twice = jax.jit(partial(train_step, loss_fn=loss_fn, averaging=equal_average(1), replays=2))
    single, double = fresh(**SWA), fresh(**SWA)
    for seed in (0, 1):
        for _ in range(2):
            single, _ = once(single, batch_of(seed=seed), KEY)
        double, _ = twice(double, batch_of(seed=seed), KEY)
    near(double.average, single.average)
    near(double.average_stats, single.average_stats)


@pytest.mark.slow
def test_swa_on_four_devices_is_that_of_one():
    options = {"loss_fn": cross_entropy_loss(), "averaging": equal_average(0), "replays": 3}
    one, _ = jax.jit(partial(train_step, **options))(fresh(**SWA), batch_of(), KEY)
    mapped = jax.pmap(
        partial(train_step, **options, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch_of())
    four, _ = mapped(fresh(axis_name="devices", **SWA), split, KEY)
    for name in ("average", "average_stats"):
        for device in range(1, 4):
            same(*(jax.tree.map(lambda x, d=d: x[d], getattr(four, name)) for d in (0, device)))
        first = jax.tree.map(lambda leaf: leaf[0], getattr(four, name))
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), first, getattr(one, name)
        )


def test_replays_carry_the_perturbation_and_count_every_update():
    starts = []

    def adversary(state, batch, keys, start, devices):
        starts.append(start)
        set_out = batch.images if start is None else start
        return Attacked(0.5 * set_out, 0.5 * set_out, None, {"mean": jnp.mean(set_out)})

    step = partial(train_step, loss_fn=cross_entropy_loss(), adversary=adversary, replays=2)
    batch = batch_of()
    after, metrics = jax.jit(step)(fresh(), batch, KEY)
    assert starts[0] is None
    assert starts[1] is not None
    assert len(starts) == 2
    np.testing.assert_allclose(metrics["mean"], batch.images.mean() / 2, rtol=1e-5)
    counts = [leaf for leaf in jax.tree.leaves(after.optimizer_state) if leaf.dtype == jnp.int32]
    assert [int(count) for count in counts] == [2]
    assert int(after.step) == 1
    with pytest.raises(InputError, match="replays must be at least 1, got 0"):
        train_step(fresh(), batch, KEY, loss_fn=cross_entropy_loss(), replays=0)


def test_four_devices_do_what_one_does(plain):
    loss_fn = cross_entropy_loss()
    mapped = jax.pmap(
        partial(train_step, loss_fn=loss_fn, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch_of())
    after, metrics = mapped(fresh(axis_name="devices"), split, KEY)
    np.testing.assert_allclose(metrics["loss"], np.full(4, plain[2]["loss"]), rtol=1e-5)
    for name in ("params", "stats"):
        for ours, one in zip(
            jax.tree.leaves(getattr(after, name)),
            jax.tree.leaves(getattr(plain[1], name)),
            strict=True,
        ):
            for device in range(4):
                np.testing.assert_array_equal(ours[device], ours[0])
            np.testing.assert_allclose(ours[0], one, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_only_cameras_that_took_an_image_are_learned():
    """The step descends with the batch's own cameras; the others' embeddings stay."""
    model = seeing.network(head="classification", classes=3)
    state = TrainState.create(model, optimizer("sgd", lambda count: 0.1))
    batch = batch_of()._replace(cameras=np.array([0, 3, 3, 0, 0, 3, 0, 0], np.int32))
    learn = jax.jit(partial(train_step, loss_fn=cross_entropy_loss()))
    after, metrics = learn(state, batch, KEY)
    before, now = (one.params.backbone.table[...] for one in (state, after))
    moved = np.abs(np.asarray(now - before)).max(axis=1) > 0
    assert moved.tolist() == [True, False, False, True]
    outputs = model(jnp.asarray(batch.images), batch_norm="batch", cameras=batch.cameras)
    expected, _ = cross_entropy_loss()(outputs, batch.labels, Collective())
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    with pytest.raises(InputError, match=r"4 cameras apart: TrainBatch\.cameras is missing"):
        learn(state, batch_of(), KEY)
