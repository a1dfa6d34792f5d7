"""Losses: golden numbers, gradients, degenerate batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import losses
from jaxreid.errors import InputError


@pytest.fixture(scope="module")
def z(golden):
    return np.load(golden / "losses.npz")


def test_golden_hardest_pairs(z):
    with jax.enable_x64(True):
        pairs = losses.hardest_pairs(z["features"], z["labels"])
        np.testing.assert_allclose(pairs.positive, z["hardest_positive"], rtol=1e-9)
        np.testing.assert_allclose(pairs.negative, z["hardest_negative"], rtol=1e-9)
        assert pairs.mask.all()


@pytest.mark.parametrize(
    ("margin", "loss", "gradient"),
    [(None, "soft", "grad_soft"), (10, "margin10", "grad_margin10")],
)
def test_golden_triplet_losses_and_gradients(z, margin, loss, gradient):
    def triplet(features):
        return losses.batch_hard_triplet(features, z["labels"], margin=margin)

    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(triplet)(z["features"])
        np.testing.assert_allclose(value, z[loss], rtol=1e-9)
        np.testing.assert_allclose(slope, z[gradient], rtol=0, atol=1e-9)
    value, slope = jax.value_and_grad(triplet)(z["features"].astype(np.float32))
    np.testing.assert_allclose(value, z[loss], rtol=1e-5)
    np.testing.assert_allclose(slope, z[gradient], rtol=0, atol=1e-5)


def test_gradient_is_finite_at_zero_distance():
    features = np.ones((4, 3), np.float32)
    for margin in (None, 1.0):
        value, slope = jax.value_and_grad(losses.batch_hard_triplet)(
            features, np.array([1, 1, 2, 2]), margin=margin
        )
        np.testing.assert_allclose(value, np.log(2) if margin is None else 1, rtol=1e-6)
        np.testing.assert_array_equal(slope, 0)


def test_anchors_without_a_partner_do_not_count():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 3)).astype(np.float32)
    pairs = losses.hardest_pairs(features, np.array([1, 1, 2, 3, 3]))
    np.testing.assert_array_equal(pairs.mask, [True, True, False, True, True])
    loss = losses.batch_hard_triplet(features, np.array([1, 1, 2, 3, 3]))
    expected = np.mean(np.logaddexp(0, (pairs.positive - pairs.negative)[pairs.mask]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for labels in (np.arange(5), np.zeros(5, int)):
        value, slope = jax.value_and_grad(losses.batch_hard_triplet)(features, labels)
        assert value == 0
        np.testing.assert_array_equal(slope, 0)


def test_candidates_from_all_devices_give_the_loss_of_the_whole_batch(z):
    features, labels = z["features"].astype(np.float32), z["labels"]

    def shard_loss(features, labels):
        everyone = jax.lax.all_gather(features, "device", tiled=True)
        names = jax.lax.all_gather(labels, "device", tiled=True)
        loss = losses.batch_hard_triplet(
            features, labels, candidates=everyone, candidate_labels=names
        )
        return jax.lax.pmean(loss, "device")

    spread = jax.pmap(shard_loss, axis_name="device")(
        features.reshape(4, 3, -1), labels.reshape(4, 3)
    )
    np.testing.assert_allclose(spread, losses.batch_hard_triplet(features, labels), rtol=1e-6)


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    labels = np.array([0, 2])
    np.testing.assert_allclose(
        losses.cross_entropy(logits, labels), -np.log([0.5, 0.8]).mean(), rtol=1e-6
    )
    smooth = losses.cross_entropy(logits, labels, label_smoothing=0.3)
    spread = -np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).mean()
    expected = 0.7 * -np.log([0.5, 0.8]).mean() + 0.3 * spread
    np.testing.assert_allclose(smooth, expected, rtol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_pytorch(smoothing):
    import torch

    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 9)).astype(np.float32), rng.integers(0, 9, 6)
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=smoothing
    )
    ours = losses.cross_entropy(logits, labels, label_smoothing=smoothing)
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-6)


LOGITS, LABELS = np.zeros((3, 4), np.float32), np.array([0, 1, 3])
BAD = {
    "empty batch": (lambda: losses.cross_entropy(LOGITS[:0], LABELS[:0]), "logits are empty"),
    "empty batch of features": (
        lambda: losses.batch_hard_triplet(LOGITS[:0], LABELS[:0]),
        "features are empty",
    ),
    "label": (lambda: losses.cross_entropy(LOGITS, LABELS + 1), r"labels must lie in 0\.\.3"),
    "rows": (lambda: losses.cross_entropy(LOGITS, LABELS[:2]), "labels .* with B=3"),
    "float labels": (lambda: losses.cross_entropy(LOGITS, LABELS * 1.0), "must be integers"),
    "NaN": (lambda: losses.cross_entropy(LOGITS * np.nan, LABELS), "logits must be finite"),
    "smoothing": (
        lambda: losses.cross_entropy(LOGITS, LABELS, label_smoothing=2),
        "label_smoothing",
    ),
    "margin": (
        lambda: losses.batch_hard_triplet(LOGITS, LABELS, margin=-1),
        "margin must be at least 0",
    ),
    "candidates": (
        lambda: losses.batch_hard_triplet(LOGITS, LABELS, candidates=LOGITS),
        "go together",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
