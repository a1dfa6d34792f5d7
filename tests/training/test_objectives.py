"""Losses over a batch that is spread over devices are those of the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import batch_hard_triplet
from jaxreid.models import Outputs
from jaxreid.training import cross_entropy_loss, precision_loss, triplet_loss

FEATURES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
LABELS = {
    "balanced": np.array([0, 1, 2] * 4),
    # Devices of three images hold 3, 2, 2 and 0 anchors with a positive.
    "uneven": np.array([0, 0, 0, 1, 1, 2, 3, 0, 1, 4, 5, 6]),
    # Fewer anchors than devices.
    "one pair": np.array([0, 0, *range(1, 11)]),
    "no pair at all": np.arange(12),
}


@pytest.mark.slow
@pytest.mark.parametrize("margin", [None, 0.5])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_triplet_loss_on_four_devices_is_that_on_one(labels, margin):
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)
    loss = triplet_loss(margin=margin)

    def objective(weights, features, labels, devices):
        return loss(Outputs(features @ weights, None), labels, devices)

    def on_device(features, labels):
        (value, metrics), gradient = jax.value_and_grad(
            lambda w: objective(w, features, labels, Collective("devices")), has_aux=True
        )(weights)
        return jax.lax.pmean((value, metrics, gradient), "devices")

    spread = jax.pmap(on_device, axis_name="devices")(
        FEATURES.reshape(4, 3, 5), labels.reshape(4, 3)
    )
    value, metrics, gradient = jax.tree.map(lambda leaf: leaf[0], spread)
    (whole, whole_metrics), expected = jax.value_and_grad(
        lambda w: objective(w, FEATURES, labels, Collective()), has_aux=True
    )(weights)
    np.testing.assert_allclose(whole, batch_hard_triplet(FEATURES @ weights, labels, margin=margin))
    np.testing.assert_allclose(value, whole, rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"], whole_metrics["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_precision_loss_on_four_devices_is_that_on_one(labels):
    def value(features, labels, devices):
        return devices.mean(precision_loss()(Outputs(features, None), labels, devices)[0])

    spread = jax.pmap(
        lambda features, labels: value(features, labels, Collective("devices")), axis_name="devices"
    )(FEATURES.reshape(4, 3, 5), labels.reshape(4, 3))
    np.testing.assert_allclose(spread, value(FEATURES, labels, Collective()), rtol=1e-5)


def test_cross_entropy_and_its_accuracy():
    logits = jnp.asarray([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.5, 0.0]])
    outputs = Outputs(logits, logits)
    loss, metrics = cross_entropy_loss()(outputs, jnp.array([0, 1, 1, 0]), Collective())
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(p[range(4), [0, 1, 1, 0]]).mean(), rtol=1e-6)
    assert float(metrics["accuracy"]) == 0.75
    smoothed, _ = cross_entropy_loss(label_smoothing=1.0)(
        outputs, jnp.array([0, 1, 1, 0]), Collective()
    )
    np.testing.assert_allclose(smoothed, -np.log(p).mean(), rtol=1e-6)


def test_cross_entropy_needs_a_classifier():
    with pytest.raises(InputError, match="use the triplet loss"):
        cross_entropy_loss()(Outputs(jnp.ones((2, 3)), None), jnp.zeros(2, jnp.int32), Collective())
