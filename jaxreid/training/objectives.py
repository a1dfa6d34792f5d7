"""Losses of a network's outputs over the whole batch, whatever devices it is spread over."""

from collections.abc import Sequence
from typing import Protocol

import jax.numpy as jnp

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.losses import (
    cross_entropy,
    hardest_pairs,
    mean_triplet_loss,
    soft_cross_entropy,
)
from jaxreid.models import Outputs
from jaxreid.ranking import SearchLists, list_distances, smooth_ap, temperature_of
from jaxreid.types import Array, ArrayLike

__all__ = [
    "LossFunction",
    "cross_entropy_loss",
    "precision_loss",
    "triplet_loss",
    "weighted_losses",
]


class LossFunction(Protocol):
    """(Outputs, labels [B], devices) -> loss [] of this device, and metrics, each [].

    The step averages loss and metrics over the devices. Where an adversary makes soft labels, they
    are given as `targets` [B,K], shares of classes.
    """

    def __call__(  # noqa: D102
        self,
        outputs: Outputs,
        labels: ArrayLike,
        devices: Collective,
        *,
        targets: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]: ...


def cross_entropy_loss(*, label_smoothing: float = 0.0) -> LossFunction:
    """Mean cross entropy of the logits, ``jaxreid.losses.cross_entropy``.

    With soft labels it is `jaxreid.losses.soft_cross_entropy`.

    Args:
        label_smoothing: in [0, 1]; of soft labels, too.

    Returns:
        A loss in nats; its metric is `accuracy`, the share of images whose largest logit is right.
    """

    def loss(
        outputs: Outputs,
        labels: ArrayLike,
        devices: Collective,
        *,
        targets: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        if outputs.logits is None:
            raise InputError(
                "cross entropy needs a head with a classifier; this network has none "
                "(use the triplet loss)"
            )
        right = jnp.argmax(outputs.logits, axis=1) == labels
        if targets is None:
            value = cross_entropy(outputs.logits, labels, label_smoothing=label_smoothing)
        else:
            classes = outputs.logits.shape[1]
            shares = (1 - label_smoothing) * targets + label_smoothing / classes
            value = soft_cross_entropy(outputs.logits, shares)
        return value, {"accuracy": jnp.mean(right)}

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
        outputs: Outputs,
        labels: ArrayLike,
        devices: Collective,
        *,
        targets: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        pairs = hardest_pairs(
            outputs.features,
            labels,
            candidates=devices.gather(outputs.features),
            candidate_labels=devices.gather(labels),
        )
        right = jnp.sum(pairs.mask & (pairs.positive < pairs.negative))
        # Anchors are counted over all devices: one may hold fewer with a pair than another.
        counted = devices.number_of(pairs.mask)
        return mean_triplet_loss(pairs, margin=margin, count=counted), {"accuracy": right / counted}

    return loss


def precision_loss(*, temperature: float = 0.1) -> LossFunction:
    """One less the smoothed average precision of every image among the others of the batch.

    ``mean_i (1 - SmoothAP_i)``, `jaxreid.ranking.smooth_ap`; images of the same person are looked
    for among those of all devices. Brown et al., "Smooth-AP", ECCV 2020,
    https://arxiv.org/abs/2007.12163.

    Args:
        temperature: above 0, as a share of the standard deviation of an image's distances to
            images of other people.

    Returns:
        A loss in [0, 1]; its metric is `batch_precision`, one less the loss. Images without another
        one of their person, or of someone else, do not count.
    """

    def loss(
        outputs: Outputs,
        labels: ArrayLike,
        devices: Collective,
        *,
        targets: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        gallery, people = devices.gather(outputs.features), devices.gather(labels)
        places = jnp.arange(len(people))
        same = jnp.asarray(labels)[:, None] == people
        found = same & (devices.positions(len(same))[:, None] != places)
        lists = SearchLists(
            gallery, jnp.broadcast_to(places, same.shape).astype(jnp.int32), found, ~same
        )
        distances = list_distances(outputs.features, lists)
        valid = jnp.any(found, axis=1) & jnp.any(~same, axis=1)
        missed = smooth_ap(distances, temperature=temperature_of(distances, factor=temperature))
        # Images are counted over all devices: one may hold fewer with a match than another.
        value = jnp.sum(jnp.where(valid, missed, 0)) / devices.number_of(valid)
        return value, {"batch_precision": 1 - value}

    return loss


def weighted_losses(parts: Sequence[tuple[float, LossFunction]]) -> LossFunction:
    """A weighted sum of losses, ``sum_k w_k L_k``.

    Args:
        parts: weights above 0 with their losses, the main one first.

    Returns:
        A loss; its metrics are those of the parts, and of a name that two have the first one's.

    Raises:
        InputError: no part, or a weight that is not above 0.
    """
    weights = [weight for weight, _ in parts]
    if not weights or min(weights) <= 0:
        raise InputError(f"losses need weights above 0, got {weights}")

    def loss(
        outputs: Outputs,
        labels: ArrayLike,
        devices: Collective,
        *,
        targets: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        total = jnp.zeros(())
        metrics: dict[str, Array] = {}
        # Parts that know of no soft labels are not told of any where there are none.
        soft = {} if targets is None else {"targets": targets}
        for weight, part in parts:
            value, found = part(outputs, labels, devices, **soft)
            total, metrics = total + weight * value, found | metrics
        return total, metrics

    return loss
