"""Training losses of re-ID models: softmax cross entropy and the batch-hard triplet loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreid.checks import Sizes, check_features, check_integers, check_values, shape_of
from jaxreid.distances import euclidean, pairwise_squared_euclidean
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = [
    "HardestPairs",
    "batch_hard_triplet",
    "cross_entropy",
    "hardest_pairs",
    "mean_triplet_loss",
]


def cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, label_smoothing: float | ArrayLike = 0.0
) -> Array:
    """Mean softmax cross entropy, ``-mean_i sum_k y_ik log softmax(z_i)_k``.

    With smoothing s the target is ``y = (1 - s) onehot(label) + s / K``, Szegedy et al., CVPR 2016,
    https://arxiv.org/abs/1512.00567.

    Args:
        logits: [B,K] floating point, without unit.
        labels: [B] integer in 0..K-1.
        label_smoothing: s in [0, 1], without unit.

    Returns:
        Scalar in nats, float32 at least.

    Raises:
        InputError: on wrong shapes or dtypes, an empty batch, NaN logits, a label outside 0..K-1,
            or s outside [0, 1].
    """
    sizes = Sizes()
    sizes.check("logits", logits, "BK")
    sizes.check("labels", labels, "B")
    logits = check_features("logits", logits)
    labels = check_integers("labels", labels)
    classes = logits.shape[1]
    if logits.size == 0:
        raise InputError(f"logits are empty: {shape_of(logits)}; expected at least one row")
    check_values(
        labels,
        lambda y: (y >= 0) & (y < classes),
        f"labels must lie in 0..{classes - 1}, the columns of logits",
    )
    check_values(
        label_smoothing,
        lambda s: (s >= 0) & (s <= 1),
        f"label_smoothing must lie in [0, 1], got {label_smoothing}",
    )
    target = optax.smooth_labels(
        jax.nn.one_hot(labels, classes, dtype=logits.dtype), label_smoothing
    )
    return jnp.mean(optax.softmax_cross_entropy(logits, target))


class HardestPairs(NamedTuple):
    """The hardest positive and negative of each anchor.

    Attributes:
        positive: [B] Euclidean distance to the furthest candidate of the same label.
        negative: [B] Euclidean distance to the nearest candidate of another label.
        mask: [B] boolean, whether the anchor has both another candidate of its label and one of
            another label; distances are meaningless where it is False.
    """

    positive: Array
    negative: Array
    mask: Array


def hardest_pairs(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    candidates: ArrayLike | None = None,
    candidate_labels: ArrayLike | None = None,
) -> HardestPairs:
    """Distances to the furthest positive and the nearest negative of each anchor.

    ``d_ap = max over the same label of ||f_a - f_p||``, ``d_an = min over other labels``.

    Args:
        features: [B,D] floating point anchors.
        labels: [B] integer.
        candidates: [N,D] floating point, same unit, to choose from (the global batch, say); they
            contain the anchors. By default the anchors themselves.
        candidate_labels: [N] integer.

    Returns:
        HardestPairs in the unit of the features; the gradient of a zero distance is zero.

    Raises:
        InputError: on wrong shapes or dtypes, an empty batch, NaN, or candidates without labels.
    """
    if (candidates is None) != (candidate_labels is None):
        raise InputError("candidates and candidate_labels go together; only one was given")
    if candidates is None or candidate_labels is None:
        candidates, candidate_labels = features, labels
    sizes = Sizes()
    sizes.check("features", features, "BD")
    sizes.check("labels", labels, "B")
    sizes.check("candidates", candidates, "ND")
    sizes.check("candidate_labels", candidate_labels, "N")
    anchors = check_features("features", features)
    others = check_features("candidates", candidates)
    if anchors.size == 0 or others.size == 0:
        raise InputError(
            f"features are empty: {shape_of(anchors)}, candidates {shape_of(others)}; "
            "expected at least one row"
        )
    same = (
        check_integers("labels", labels)[:, None]
        == check_integers("candidate_labels", candidate_labels)[None, :]
    )
    # The matrix only chooses; the chosen distances are computed again without its cancellation.
    distances = jax.lax.stop_gradient(pairwise_squared_euclidean(anchors, others))
    furthest = jnp.argmax(jnp.where(same, distances, -1), axis=1)
    nearest = jnp.argmin(jnp.where(same, jnp.inf, distances), axis=1)
    return HardestPairs(
        positive=euclidean(anchors, others[furthest]),
        negative=euclidean(anchors, others[nearest]),
        mask=(jnp.sum(same, axis=1) > 1) & jnp.any(~same, axis=1),
    )


def batch_hard_triplet(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float | ArrayLike | None = None,
    candidates: ArrayLike | None = None,
    candidate_labels: ArrayLike | None = None,
) -> Array:
    """Mean triplet loss on the hardest positive and negative of each anchor.

    ``softplus(d_ap - d_an)`` (soft margin) or ``max(0, margin + d_ap - d_an)``, Hermans et al.,
    "In Defense of the Triplet Loss for Person Re-Identification", https://arxiv.org/abs/1703.07737.

    Args:
        features: [B,D] floating point anchors.
        labels: [B] integer.
        margin: in the unit of the features; None is the soft margin.
        candidates: [N,D] and
        candidate_labels: [N], as in `hardest_pairs`.

    Returns:
        Scalar, the mean over anchors that have a positive and a negative; 0 if none has.

    Raises:
        InputError: as `hardest_pairs` does, or on a negative margin.
    """
    pairs = hardest_pairs(
        features, labels, candidates=candidates, candidate_labels=candidate_labels
    )
    return mean_triplet_loss(pairs, margin=margin)


def mean_triplet_loss(
    pairs: HardestPairs,
    *,
    margin: float | ArrayLike | None = None,
    count: int | ArrayLike | None = None,
) -> Array:
    """The last line of `batch_hard_triplet`, ``sum_a loss(d_ap - d_an) / count``.

    Args:
        pairs: of `hardest_pairs`.
        margin: in the unit of the features; None is the soft margin.
        count: what the sum is divided by, at least 1; by default the anchors that have a positive
            and a negative. Where anchors are spread over devices, their mean number per device.

    Returns:
        Scalar; 0 if no anchor has a positive and a negative.

    Raises:
        InputError: on a negative margin.
    """
    if margin is not None:
        check_values(margin, lambda m: m >= 0, f"margin must be at least 0, got {margin}")
    gap = pairs.positive - pairs.negative
    losses = jax.nn.softplus(gap) if margin is None else jax.nn.relu(margin + gap)
    kept = jnp.sum(jnp.where(pairs.mask, losses, 0))
    return kept / jnp.maximum(jnp.sum(pairs.mask) if count is None else count, 1)
