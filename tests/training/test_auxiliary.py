"""BatchNorm layers for clean images: what passes which, what each learns, what is kept."""

from functools import partial

import jax
import numpy as np
import pytest
import trainings
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models import create, weights
from jaxreid.training import (
    Attacked,
    Defense,
    TrainState,
    auxiliary_of,
    consistent,
    cross_entropy_loss,
    equal_average,
    optimizer,
    train_step,
    weight_perturbation,
)
from jaxreid.training.config import TrainConfig
from jaxreid.training.trainer import train

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32)
KEY = jax.random.key(0)
RATE = 0.1
BATCH = trainings.examples(LABELS)
close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5))
same = partial(jax.tree.map, np.testing.assert_array_equal)


def fresh(axis_name=None, *, dual=True, **options):
    model = create(trainings.SHAPE, classes=3, axis_name=axis_name, rngs=nnx.Rngs(0))
    auxiliary = auxiliary_of(model) if dual else None
    sgd = optimizer("sgd", lambda count: RATE)
    return TrainState.create(model, sgd, auxiliary=auxiliary, **options)


def darker(state, batch, keys, start, devices):
    """An adversary that everybody knows the result of, and no BatchNorm undoes."""
    return Attacked(batch.images**2, batch.images**2, None, {})


def taken(state, defense, **options):
    learn = partial(
        train_step, loss_fn=cross_entropy_loss(), adversary=darker, defense=defense, **options
    )
    return jax.jit(learn)(state, BATCH, KEY)


def gradients(before, after):
    """Path -> gradient that the first step followed: Nesterov's goes 1.9 times as far."""
    old, new = (
        {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(tree)}
        for tree in (before, after)
    )
    return {path: (old[path] - new[path]) / (1.9 * RATE) for path in old}


BOTH = Defense(attacked_weight=0.5, clean_weight=2.0, together=False)


@pytest.fixture(scope="module")
def step():
    """The state before a step, and after it."""
    before = fresh()
    return before, *taken(before, BOTH)


@pytest.mark.slow
def test_all_batch_norms_are_copied_and_nothing_else(step):
    before = step[0]
    params, stats = (dict(nnx.to_flat_state(part)) for part in before.auxiliary)
    norms = {path[:-1] for path, _ in nnx.to_flat_state(before.stats)}
    assert len(norms) == 4  # stem, two of a block, neck
    assert set(params) == {(*norm, name) for norm in norms for name in ("scale", "bias")}
    assert set(stats) == {(*norm, name) for norm in norms for name in ("mean", "var")}


def test_each_kind_of_image_teaches_its_own_layers(step):
    """Shared weights learn what they would of two batches; of BatchNorm, each layer its share."""
    before, after, metrics = step
    plain = fresh(dual=False)
    apart, of_apart = taken(plain, BOTH)
    expected = gradients(plain.params, apart.params)
    found = gradients(before.params, after.params)
    own = gradients(before.auxiliary.params, after.auxiliary.params)
    assert own.keys() < found.keys() == expected.keys()
    for path, gradient in expected.items():
        total = found[path] + own[path] if path in own else found[path]
        np.testing.assert_allclose(total, gradient, rtol=1e-3, atol=1e-5, err_msg=path)
    np.testing.assert_allclose(metrics["loss"], of_apart["loss"], rtol=1e-5)
    # What the loss of the clean images alone asks of their layers.
    clean, _ = taken(plain, Defense(attacked_weight=0, clean_weight=2.0, together=False))
    alone = gradients(plain.params, clean.params)
    for path, gradient in own.items():
        assert np.abs(gradient).max() > 1e-4
        np.testing.assert_allclose(gradient, alone[path], rtol=1e-3, atol=1e-5, err_msg=path)


def test_statistics_follow_their_kind_of_image(step):
    before, after, _ = step
    for images, found in ((BATCH.images**2, after.stats), (BATCH.images, after.auxiliary.stats)):
        model = nnx.merge(before.graph, before.params, before.stats, copy=True)
        model(images, batch_norm="batch")
        close(found, nnx.split(model, nnx.Param, ...)[2])
    # The network of the attacked images is the one that is evaluated, saved and attacked.
    _, params, stats = nnx.split(after.model(), nnx.Param, ...)
    same((params, stats), (after.params, after.stats))


def test_layers_that_differ_are_used(step):
    """The second step sees clean images by the layers that the first one taught them."""
    after = step[1]
    second, _ = taken(after, BOTH)
    flat = {
        **dict(nnx.to_flat_state(after.params)),
        **dict(nnx.to_flat_state(after.auxiliary.params)),
    }
    model = nnx.merge(after.graph, nnx.from_flat_state(flat), after.auxiliary.stats, copy=True)
    model(BATCH.images, batch_norm="batch")
    close(second.auxiliary.stats, nnx.split(model, nnx.Param, ...)[2])


@pytest.mark.slow
def test_four_devices_do_what_one_does():
    defense = Defense(
        clean_weight=0.5,
        consistency=consistent("similarities", 2.0),
        perturbation=weight_perturbation(0.02),
    )
    options = {
        "loss_fn": cross_entropy_loss(),
        "adversary": darker,
        "defense": defense,
        "averaging": equal_average(0),
        "replays": 2,
    }
    swa = {"averaged": True, "average_stats": True}
    one, metrics = jax.jit(partial(train_step, **options))(fresh(**swa), BATCH, KEY)
    mapped = jax.pmap(
        partial(train_step, **options, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), BATCH)
    four, of_four = mapped(fresh("devices", **swa), split, KEY)
    for name, value in metrics.items():
        np.testing.assert_allclose(of_four[name], np.full(4, value), rtol=5e-3, err_msg=name)
    near = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-3, atol=5e-4))
    for name in ("params", "auxiliary", "stats", "average", "average_stats"):
        for device in range(1, 4):
            same(*(jax.tree.map(lambda x, d=d: x[d], getattr(four, name)) for d in (0, device)))
        near(jax.tree.map(lambda leaf: leaf[0], getattr(four, name)), getattr(one, name))


@pytest.mark.slow
def test_statistics_of_an_average_are_of_attacked_images_alone():
    # After two updates: at the first one the average was the network of before.
    state = fresh(averaged=True, average_stats=True)
    after, _ = taken(state, BOTH, averaging=equal_average(0), replays=2)
    first, _ = taken(state, BOTH, averaging=equal_average(0))
    model = nnx.merge(state.graph, after.average, first.average_stats, copy=True)
    model(BATCH.images**2, batch_norm="batch")
    close(after.average_stats, nnx.split(model, nnx.Param, ...)[2])


@pytest.mark.slow
def test_a_run_goes_on_and_saves_the_layers_of_attacked_images(tmp_path, tiny_data):
    changes = {
        "dataset.data_dir": tiny_data,
        "goat.enabled": True,
        "defense.clean_weight": 1.0,
        "defense.batch_norm": "dual",
        "checkpoint.every_steps": 3,
    }

    class Killed(BaseException):
        pass

    def killed(progress):
        if progress.stage == "training" and progress.done == 8:
            raise Killed

    train(trainings.settings(changes), tmp_path / "whole")
    with pytest.raises(Killed):
        train(trainings.settings(changes), tmp_path / "killed", watch=killed)
    train(trainings.settings(changes), tmp_path / "killed")
    runs = [trainings.last_checkpoint(tmp_path / run)[1].arrays for run in ("whole", "killed")]
    assert runs[0].keys() == runs[1].keys()
    for name, array in runs[0].items():
        np.testing.assert_array_equal(runs[1][name], array, err_msg=name)
    last = tmp_path / "whole" / "last.safetensors"
    assert last.read_bytes() == (tmp_path / "killed" / "last.safetensors").read_bytes()
    norm = weights.load(last).backbone.bn1
    for start, name, own in (
        ("params.backbone", "scale", True),
        ("stats.backbone", "mean", True),
        ("auxiliary.params.backbone", "scale", False),
        ("auxiliary.stats.backbone", "mean", False),
    ):
        (array,) = (a for path, a in runs[0].items() if path.startswith(f"{start}.bn1.{name}"))
        assert np.array_equal(array, getattr(norm, name)[...]) == own, start


@pytest.mark.parametrize(
    "changes",
    [
        {"defense.clean_weight": 0.0},
        {"goat.clean_fraction": 0.5},
    ],
)
def test_a_configuration_that_tells_no_clean_images_from_attacked_ones_is_refused(changes):
    dual = {"goat.enabled": True, "defense.clean_weight": 1.0, "defense.batch_norm": "dual"}
    TrainConfig().replace(dual)
    with pytest.raises(InputError, match=r"batch_norm dual .* goat\.clean_fraction = 0; got"):
        TrainConfig().replace({**dual, **changes})


def test_layers_that_nothing_would_pass_are_refused():
    with pytest.raises(InputError, match="need a defense that sees them"):
        taken(fresh(), Defense())
    with pytest.raises(InputError, match="the network has no BatchNorm"):
        auxiliary_of(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
