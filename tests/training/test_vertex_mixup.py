"""Mixing with a vertex: images and labels by their definition, and what the step makes of them."""

from functools import partial

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
from jaxreid.training import (
    Attacked,
    Defense,
    TrainState,
    cross_entropy_loss,
    goat,
    mixed_with_vertex,
    optimizer,
    train_step,
    triplet_loss,
    weighted_losses,
)

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3], np.int32)
CLASSES = 5
KEY = jax.random.key(0)
KEYS = example_keys(jax.random.key(3), np.arange(8))
# Whom the attack below aims at: two people, one twice, one alone, nobody.
AIMS = np.array([[1, 2], [1, 1], [3, -1], [-1, -1], [0, 4], [4, -1], [1, 2], [0, 0]], np.int32)
NUMBERS = {
    "stretch": 3.0,
    "low": 0.2,
    "high": 0.9,
    "clean_label": 0.95,
    "vertex_label": 0.4,
    "guide_label": 0.3,
}


def brighter(state, batch, keys, start, devices):
    """Moves all images but the second by a tenth, up to white."""
    change = jnp.where(jnp.arange(8) == 1, 0, 0.1)[:, None, None, None]
    images = jnp.minimum(batch.images + change, 1)
    return Attacked(images, images, None, {"objective": jnp.float32(7)}, aims=jnp.asarray(AIMS))


def mixed(numbers=NUMBERS, keys=KEYS, adversary=brighter):
    batch = trainings.examples(LABELS)
    found = mixed_with_vertex(adversary, CLASSES, **numbers)(None, batch, keys, None, Collective())
    return np.asarray(batch.images, np.float64), found


def shares_of(clean, images, numbers):
    """w of each image, from where one of its pixels went."""
    free = clean.max(axis=3) < 0.6  # far from white, even at the vertex
    way = np.where(free[..., None], images - clean, np.nan)
    return 1 - np.nanmean(way, axis=(1, 2, 3)) / 0.1 / numbers["stretch"]


def phi(label, own):
    return np.where(np.arange(CLASSES) == label, own, (1 - own) / (CLASSES - 1))


def test_images_and_labels_are_those_of_the_definition():
    clean, found = mixed()
    images = np.asarray(found.images, np.float64)
    shares = shares_of(clean, images, NUMBERS)
    shares[1] = 1  # was not moved
    others = np.delete(shares, 1)
    assert others.min() >= 0.2 - 1e-5
    assert others.max() <= 0.9 + 1e-5
    assert others.std() > 0.05
    attacked = np.asarray(found.adversarial, np.float64)
    for row, w in enumerate(shares):
        vertex = clean[row] + 3 * (attacked[row] - clean[row])
        expected = np.clip(w * clean[row] + (1 - w) * vertex, 0, 1)
        np.testing.assert_allclose(images[row], expected, atol=1e-5)
        label = phi(LABELS[row], 0.4)
        aims = [aim for aim in AIMS[row] if aim >= 0]
        for aim in aims:
            label[LABELS[row]] -= 0.3 / len(aims)
            label[aim] += 0.3 / len(aims)
        expected = w * phi(LABELS[row], 0.95) + (1 - w) * label
        np.testing.assert_allclose(found.targets[row], expected, atol=1e-5)
    assert images.max() <= 1
    np.testing.assert_array_equal(images[1], clean[1])
    np.testing.assert_allclose(found.targets.sum(1), 1, rtol=1e-6)
    assert float(found.metrics["objective"]) == 7
    np.testing.assert_allclose(found.metrics["reach"], np.mean(3 * (1 - shares)), rtol=1e-4)


def test_the_share_is_the_examples_own():
    order = np.array([5, 0, 7, 2, 6, 4, 3, 1])
    _, found = mixed()
    _, moved = mixed(keys=KEYS[order])
    clean, _ = mixed()
    one, other = (shares_of(clean, np.asarray(each.images), NUMBERS) for each in (found, moved))
    there = (order != 1) & (np.arange(8) != 1)
    np.testing.assert_allclose(other[there], one[order][there], atol=1e-4)


def test_without_guides_it_is_avmixup_of_anything():
    def alone(*given):
        return brighter(*given)._replace(aims=None)

    clean, found = mixed({}, adversary=alone)
    w = shares_of(clean, np.asarray(found.images), {"stretch": 2.0})
    w[1] = 1
    expected = [a * phi(y, 1.0) + (1 - a) * phi(y, 0.1) for a, y in zip(w, LABELS, strict=True)]
    np.testing.assert_allclose(found.targets, expected, atol=1e-5)
    with pytest.raises(InputError, match="says whom it aimed at"):
        mixed(adversary=alone)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"stretch": 0.5}, "stretch must be at least 1, got 0.5"),
        ({"low": 0.6, "high": 0.5}, r"ascend in \[0, 1\], got 0.6 and 0.5"),
        ({"high": 1.5}, "ascend"),
        ({"clean_label": 1.5}, r"must lie in \[0, 1\] and guide_label"),
        ({"guide_label": 0.2}, "from 0 to vertex_label, got 1, 0.1 and 0.2"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers, message):
    with pytest.raises(InputError, match=message):
        mixed_with_vertex(brighter, CLASSES, **numbers)
    with pytest.raises(InputError, match="classes must be at least 2"):
        mixed_with_vertex(brighter, 1)


def fresh(axis_name=None):
    model = create(trainings.SHAPE, classes=CLASSES, axis_name=axis_name, rngs=nnx.Rngs(0))
    # As drawn it says nearly nothing, and what a label says would not be heard.
    kernel = model.head.classifier.kernel
    kernel[...] = jax.random.normal(jax.random.key(1), kernel.shape)
    return TrainState.create(model, optimizer("sgd", lambda count: 0.1))


@pytest.mark.slow
def test_goat_says_whom_it_aimed_at():
    state, batch = fresh(), trainings.examples(LABELS)
    attack = goat(pull=5, pull_from="nearest", steps=1)
    found = jax.jit(lambda s, b: attack(s, b, KEYS, None, Collective()))(state, batch)
    own = np.asarray(jax.jit(state.embed())(batch.images), np.float64)
    for row in range(8):
        others = np.flatnonzero(LABELS[row] != LABELS)
        near = others[np.argsort(((own[others] - own[row]) ** 2).sum(1), kind="stable")][:5]
        assert found.aims[row].tolist() == LABELS[near].tolist()
    # Of whom there are fewer others than that, the rest is padding.
    most = goat(pull=7, steps=1)
    found = jax.jit(lambda s, b: most(s, b, KEYS, None, Collective()))(state, batch)
    missing = np.asarray(found.aims) < 0
    assert missing.sum(1).tolist() == [2, 2, 1, 1, 1, 1, 2, 0]
    none = jax.eval_shape(lambda s, b: goat()(s, b, KEYS, None, Collective()), state, batch)
    assert none.aims is None


def test_a_step_learns_the_soft_labels_of_the_mixed_images():
    adversary = mixed_with_vertex(brighter, CLASSES, **NUMBERS)
    loss_fn = weighted_losses(
        [(1.0, cross_entropy_loss(label_smoothing=0.2)), (0.5, triplet_loss())]
    )
    state, batch = fresh(), trainings.examples(LABELS)
    keys = example_keys(jax.random.fold_in(KEY, 0), batch.indices)
    attacked = adversary(state, batch, keys, None, Collective())
    defense = Defense(clean_weight=0.5, together=False)
    learn = partial(train_step, loss_fn=loss_fn, adversary=adversary, defense=defense)
    _, metrics = jax.jit(learn)(state, batch, KEY)

    def outputs(images):
        return nnx.merge(state.graph, state.params, state.stats, copy=True)(
            images, batch_norm="batch"
        )

    def entropy(images, targets):
        z = np.asarray(outputs(images).logits, np.float64)
        shares = 0.8 * np.asarray(targets, np.float64) + 0.2 / CLASSES
        return -np.mean(np.sum(shares * (z - np.log(np.exp(z).sum(1, keepdims=True))), 1))

    def order(images):
        return float(triplet_loss()(outputs(images), LABELS, Collective())[0])

    # Clean images are learned with the labels that they have.
    expected = entropy(attacked.images, attacked.targets) + 0.5 * order(attacked.images)
    clean = entropy(batch.images, np.eye(CLASSES)[LABELS]) + 0.5 * order(batch.images)
    np.testing.assert_allclose(metrics["loss"], expected + 0.5 * clean, rtol=1e-4)
    assert "reach" in metrics


@pytest.mark.slow
def test_four_devices_do_what_one_does():
    attack = goat(pull=2, eps=8 / 255, step_size=3 / 255, steps=2, clean_fraction=0.3)
    adversary = mixed_with_vertex(attack, CLASSES, guide_label=0.05)
    options = {"loss_fn": cross_entropy_loss(), "adversary": adversary}
    batch = trainings.examples(LABELS)
    one, metrics = jax.jit(partial(train_step, **options))(fresh(), batch, KEY)
    mapped = jax.pmap(
        partial(train_step, **options, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0, None),
    )
    split = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), batch)
    four, of_four = mapped(fresh("devices"), split, KEY)
    np.testing.assert_allclose(of_four["reach"], np.full(4, metrics["reach"]), rtol=1e-5)
    # Signs of gradients near zero may differ between two programs.
    np.testing.assert_allclose(of_four["loss"], np.full(4, metrics["loss"]), rtol=1e-2)
    near = partial(np.testing.assert_allclose, rtol=5e-2, atol=5e-3)
    jax.tree.map(lambda ours, theirs: near(ours[0], theirs), four.params, one.params)
