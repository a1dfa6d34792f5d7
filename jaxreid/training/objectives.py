"""Losses of a network's outputs over the whole batch, whatever devices it is spread over."""

import jax.numpy as jnp
from jax import lax

from jaxreid.errors import InputError
from jaxreid.losses import cross_entropy, hardest_pairs, mean_triplet_loss
from jaxreid.models import Outputs
from jaxreid.training.step import LossFunction
from jaxreid.types import Array, ArrayLike

__all__ = ["cross_entropy_loss", "triplet_loss"]


def cross_entropy_loss(*, label_smoothing: float = 0.0) -> LossFunction:
    """Mean cross entropy of the logits, ``jaxreid.losses.cross_entropy``.

    Args:
        label_smoothing: in [0, 1].

    Returns:
        A loss in nats; its figure is `accuracy`, the share of images whose largest logit is right.
    """

    def loss(
        outputs: Outputs, labels: ArrayLike, axis_name: str | None
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
        A loss; its figure is `accuracy`, the share of anchors whose furthest positive is nearer
        than their nearest negative.
    """

    def loss(
        outputs: Outputs, labels: ArrayLike, axis_name: str | None
    ) -> tuple[Array, dict[str, Array]]:
        features = outputs.features
        everyone, all_labels = features, labels
        if axis_name is not None:
            everyone = lax.all_gather(features, axis_name, tiled=True)
            all_labels = lax.all_gather(labels, axis_name, tiled=True)
        pairs = hardest_pairs(features, labels, candidates=everyone, candidate_labels=all_labels)
        right = jnp.sum(pairs.mask & (pairs.positive < pairs.negative))
        counted = jnp.sum(pairs.mask)
        if axis_name is not None:
            # Anchors are counted over all devices: one may hold fewer with a pair than another.
            counted = lax.pmean(counted, axis_name)
        return mean_triplet_loss(pairs, margin=margin, count=counted), {
            "accuracy": right / jnp.maximum(counted, 1)
        }

    return loss
