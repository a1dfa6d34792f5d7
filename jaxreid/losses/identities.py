"""Training losses of re-ID models: softmax cross entropy and the batch-hard triplet loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float

from jaxreid.checks import (
    Sizes,
    check_array,
    check_features,
    check_floating,
    check_integers,
    check_number,
    check_values,
    shape_of,
)
from jaxreid.distances import euclidean
from jaxreid.errors import InputError
from jaxreid.losses.soft_labels import mean_surprise
from jaxreid.precision import in_double, power_of_two
from jaxreid.types import (
    Array,
    ArrayLike,
    FeaturesLike,
    IdentitiesLike,
    PerImage,
    Scalar,
    SetFeaturesLike,
    SetIdentitiesLike,
)

__all__ = [
    "HardestPairs",
    "batch_hard_triplet",
    "cross_entropy",
    "hardest_pairs",
    "mean_triplet_loss",
]


@in_double
def cross_entropy(
    logits: Float[ArrayLike, "B K"],
    labels: IdentitiesLike,
    *,
    label_smoothing: float | ArrayLike = 0.0,
) -> Scalar:
    """Mean softmax cross entropy, ``-mean_i sum_k y_ik log softmax(z_i)_k``.

    With smoothing s the target is ``y = (1 - s) onehot(label) + s / K``, Szegedy et al., CVPR 2016,
    https://arxiv.org/abs/1512.00567.

    Args:
        logits: [B,K] floating point, without unit.
        labels: [B] integer in 0..K-1.
        label_smoothing: s in [0, 1], without unit.

    Returns:
        Scalar in nats, float32 at least; float64 if the logits are, and not traced.

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
    check_number("label_smoothing", label_smoothing, lambda s: (s >= 0) & (s <= 1), "lie in [0, 1]")
    target = optax.smooth_labels(
        jax.nn.one_hot(labels, classes, dtype=logits.dtype), label_smoothing
    )
    return mean_surprise(logits, target)


class HardestPairs(NamedTuple):
    """The hardest positive and negative of each anchor.

    Attributes:
        positive: [B] Euclidean distance to the furthest candidate of the same label.
        negative: [B] Euclidean distance to the nearest candidate of another label.
        mask: [B] boolean, whether the anchor has both another candidate of its label and one of
            another label; distances are meaningless where it is False.
    """

    positive: PerImage
    negative: PerImage
    mask: Bool[Array, " B"]


@jax.jit
def _squared_differences(x: Array, y: Array) -> Array:
    """Squared distances [B,N] in a unit of their own, each summed up from its own differences.

    A product of matrices would be quicker and loses close neighbours where other rows, or the
    origin, are far away; beside the network that makes the features either is nothing. Compiled
    outside `jit` too: as one program it never holds [B,N,D]. Differences that are 1e19 times as
    small as the largest (1e150 in float64) are taken for zero.
    """
    rows = jnp.concatenate([x, y])
    known = jnp.isfinite(rows)
    # Halves: the difference of the largest numbers of both signs leaves the dtype.
    half = (
        jnp.max(jnp.where(known, rows, -jnp.inf), axis=0) / 2
        - jnp.min(jnp.where(known, rows, jnp.inf), axis=0) / 2
    )
    half = jnp.max(half, initial=0)
    factor = jnp.where(half < jnp.finfo(rows.dtype).max / 4, 1, 0.5)
    inverse = 1 / power_of_two(2 * factor * half)
    return jnp.sum(jnp.square(((x * factor)[:, None] - (y * factor)[None]) * inverse), axis=-1)


@in_double
def hardest_pairs(
    features: FeaturesLike,
    labels: IdentitiesLike,
    *,
    candidates: SetFeaturesLike | None = None,
    candidate_labels: SetIdentitiesLike | None = None,
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
        HardestPairs in the unit of the features, float32 at least; float64 if the features are, and
        not traced. The gradient of a zero distance is zero.

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
    # The matrix only chooses; the chosen distances are computed again, each in its own scale.
    anchors, others = _of_one_dtype(anchors, others)
    distances = _squared_differences(*jax.lax.stop_gradient((anchors, others)))
    furthest = jnp.argmax(jnp.where(same, distances, -1), axis=1)
    nearest = jnp.argmin(jnp.where(same, jnp.inf, distances), axis=1)
    return HardestPairs(
        positive=euclidean(anchors, others[furthest]),
        negative=euclidean(anchors, others[nearest]),
        mask=(jnp.sum(same, axis=1) > 1) & jnp.any(~same, axis=1),
    )


def _of_one_dtype(x: Array, y: Array) -> tuple[Array, Array]:
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype)


@in_double
def batch_hard_triplet(
    features: FeaturesLike,
    labels: IdentitiesLike,
    *,
    margin: float | ArrayLike | None = None,
    candidates: SetFeaturesLike | None = None,
    candidate_labels: SetIdentitiesLike | None = None,
) -> Scalar:
    """Mean triplet loss on the hardest positive and negative of each anchor.

    ``softplus(d_ap - d_an)`` (soft margin) or ``max(0, margin + d_ap - d_an)``, Hermans et al.,
    "In Defense of the Triplet Loss for Person Re-Identification", https://arxiv.org/abs/1703.07737.

    Args:
        features: [B,D] floating point anchors.
        labels: [B] integer.
        margin: in the unit of the features, a number or [B]; None is the soft margin.
        candidates: [N,D] and
        candidate_labels: [N], as in `hardest_pairs`.

    Returns:
        Scalar, the mean over anchors that have a positive and a negative; 0 if none has.

    Raises:
        InputError: as `hardest_pairs` does, or on a margin that is no number of at least 0.
    """
    pairs = hardest_pairs(
        features, labels, candidates=candidates, candidate_labels=candidate_labels
    )
    return mean_triplet_loss(pairs, margin=margin)


def _check_pairs(pairs: HardestPairs) -> HardestPairs:
    """What `hardest_pairs` makes, or what was put together like it."""
    if not isinstance(pairs, tuple) or len(pairs) != 3:
        raise InputError(
            f"pairs must be HardestPairs (positive, negative, mask), got {shape_of(pairs)}"
        )
    positive, negative, mask = pairs
    sizes = Sizes()
    for name, part in (("positive", positive), ("negative", negative), ("mask", mask)):
        sizes.check(f"pairs.{name}", part, "B")
    if check_array("pairs.mask", mask) != np.bool_:
        raise InputError(f"pairs.mask must be boolean, got {shape_of(mask)}")
    positive = check_floating("pairs.positive", positive)
    negative = check_floating("pairs.negative", negative)
    return HardestPairs(*_of_one_dtype(positive, negative), jnp.asarray(mask))


def _check_margin(margin: float | ArrayLike | None, anchors: int) -> None:
    if margin is None:
        return
    expected = "be at least 0, a number or [B] of them"
    check_number("margin", margin, lambda m: (m >= 0) & jnp.isfinite(m), expected, axes=1)
    if np.shape(margin) not in ((), (anchors,)):
        raise InputError(f"margin must {expected} with B={anchors}, got {np.shape(margin)}")


@in_double
def mean_triplet_loss(
    pairs: HardestPairs,
    *,
    margin: float | ArrayLike | None = None,
    count: int | ArrayLike | None = None,
) -> Scalar:
    """The last line of `batch_hard_triplet`, ``sum_a loss(d_ap - d_an) / count``.

    Args:
        pairs: of `hardest_pairs`; distances are not looked at where their mask is False.
        margin: in the unit of the features, a number or [B]; None is the soft margin.
        count: what the sum is divided by, a number of at least 0 (0 counts as 1); by default
            the anchors that have a positive and a negative. Where anchors are spread over
            devices, their mean number per device.

    Returns:
        Scalar; 0 if no anchor has a positive and a negative.

    Raises:
        InputError: on pairs of other shapes or dtypes, or a margin or count that is no number of at
            least 0.
    """
    pairs = _check_pairs(pairs)
    _check_margin(margin, pairs.mask.shape[0])
    if count is not None:
        check_number(
            "count", count, lambda c: (c >= 0) & jnp.isfinite(c), "be at least 0, a number"
        )
    gap = jnp.where(pairs.mask, pairs.positive - pairs.negative, 0)
    losses = jax.nn.softplus(gap) if margin is None else jax.nn.relu(margin + gap)
    # Divided by a power of two first, which rounds nothing: a sum may leave the dtype though the
    # mean does not.
    part = 0.5 ** pairs.mask.shape[0].bit_length()
    kept = jnp.sum(jnp.where(pairs.mask, losses * part, 0))
    number = jnp.sum(pairs.mask) if count is None else jnp.asarray(count)
    return kept / jnp.where(number > 0, number, 1) / part
