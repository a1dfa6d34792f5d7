"""Losses of a network's outputs over the whole batch, whatever devices it is spread over."""

from typing import Protocol

import jax.numpy as jnp

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import cross_entropy, hardest_pairs, mean_triplet_loss
from jaxreid.models import Outputs
from jaxreid.types import Array, ArrayLike

__all__ = ["LossFunction", "cross_entropy_loss", "triplet_loss"]


class LossFunction(Protocol):
    """(Outputs, labels [B], devices) -> loss [] of this device, and metrics, each [].

    The step averages loss and metrics over the devices.
    """

    def __call__(  # noqa: D102
        self, outputs: Outputs, labels: ArrayLike, devices: Collective
    ) -> tuple[Array, dict[str, Array]]: ...


def cross_entropy_loss(*, label_smoothing: float = 0.0) -> LossFunction:
    """Mean cross entropy of the logits, ``jaxreid.losses.cross_entropy``.

    Args:
        label_smoothing: in [0, 1].

    Returns:
        A loss in nats; its metric is `accuracy`, the share of images whose largest logit is right.
    """

    def loss(
        outputs: Outputs, labels: ArrayLike, devices: Collective
    ) -> tuple[Array, dict[str, Array]]:
        if outputs.logits is None:
            raise InputError(
                "cross entropy needs a head with a classifier; this network has none "
                "(use the triplet loss)"
            )
        right = jnp.argmax(outputs.logits, axis=1) == labels
        return cross_entropy(outputs.logits, labels, label_smoothing=label_smoothing), {
            "accuracy": jnp.mean(right)
        }

    return loss


def triplet_loss(*, margin: float | None = None) -> LossFunction:
    """Batch-hard triplet loss of the features, ``jaxreid.losses.batch_hard_triplet``.

    Positives and negatives are sought among the images of all devices.

    Args:
        margin: in the unit of the features; None is the soft margin.

    Returns:
        A loss; its metric is `accuracy`, the share of anchors whose furthest positive is nearer
        than their nearest negative.
    """

    def loss(
        outputs: Outputs, labels: ArrayLike, devices: Collective
    ) -> tuple[Array, dict[str, Array]]:
        pairs = hardest_pairs(
            outputs.features,
            labels,
            candidates=devices.gather(outputs.features),
            candidate_labels=devices.gather(labels),
        )
        right = jnp.sum(pairs.mask & (pairs.positive < pairs.negative))
        # Anchors are counted over all devices: one may hold fewer with a pair than another.
        counted = devices.mean(jnp.sum(pairs.mask))
        return mean_triplet_loss(pairs, margin=margin, count=counted), {
            "accuracy": right / jnp.maximum(counted, 1)
        }

    return loss
