"""Labels that are shares of classes: how they are made, and the cross entropy with them."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxreid.checks import (
    Sizes,
    check_count,
    check_features,
    check_floating,
    check_integers,
    check_number,
    check_values,
    shape_of,
)
from jaxreid.errors import InputError
from jaxreid.precision import in_double
from jaxreid.types import Array, ArrayLike, IdentitiesLike, Scalar

__all__ = ["smoothed_labels", "soft_cross_entropy"]

# Rounding of a sum over thousands of shares in float32.
_WHOLE = 1e-3


def smoothed_labels(
    labels: IdentitiesLike, classes: int, own: float | ArrayLike = 1.0
) -> Float[Array, "B K"]:
    """A share of each image's class, and the rest in equal parts of all others.

    ``phi(y, l)_k = l where k = y, (1 - l) / (K - 1) elsewhere``, as Lee et al. smooth labels, CVPR
    2020, https://arxiv.org/abs/2003.02484.

    Args:
        labels: [B] integer in 0..K-1.
        classes: K, at least 2, static.
        own: l in [0, 1], without unit.

    Returns:
        [B,K] float32, rows that sum to 1.

    Raises:
        InputError: labels are no integers in 0..K-1, K is below 2, or l outside [0, 1].
    """
    Sizes().check("labels", labels, "B")
    rows = check_integers("labels", labels)
    classes = check_count("classes", classes, least=2)
    check_number("own", own, lambda share: (share >= 0) & (share <= 1), "lie in [0, 1]")
    check_values(
        rows, lambda y: (y >= 0) & (y < classes), f"labels must lie in 0..{classes - 1}, classes"
    )
    own = jnp.asarray(own, jnp.float32)
    return jnp.where(rows[:, None] == jnp.arange(classes), own, (1 - own) / (classes - 1))


@in_double
def soft_cross_entropy(logits: Float[ArrayLike, "B K"], targets: Float[ArrayLike, "B K"]) -> Scalar:
    """Mean softmax cross entropy with shares of classes, ``-mean_i sum_k t_ik log softmax(z_i)_k``.

    With one class of each image it is `cross_entropy`.

    Args:
        logits: [B,K] floating point, without unit.
        targets: [B,K] floating point, at least 0, rows that sum to 1.

    Returns:
        Scalar in nats, float32 at least; float64 if the logits are, and not traced.

    Raises:
        InputError: on wrong shapes or dtypes, an empty batch, NaN, or targets that are no shares.
    """
    sizes = Sizes()
    sizes.check("logits", logits, "BK")
    sizes.check("targets", targets, "BK")
    logits = check_features("logits", logits)
    shares = check_floating("targets", targets)
    if logits.size == 0:
        raise InputError(f"logits are empty: {shape_of(logits)}; expected at least one row")
    check_values(
        targets,
        lambda t: jnp.all(t >= 0) & (jnp.abs(jnp.sum(t, axis=1) - 1) <= _WHOLE),
        "targets must be shares of classes: 0 or more, and rows that sum to 1",
    )
    return mean_surprise(logits, shares.astype(logits.dtype))


def mean_surprise(logits: Array, targets: Array) -> Array:
    """The equation of `soft_cross_entropy`, of arrays that were checked."""
    # Of a class that is no target the logarithm may be -infinity, and 0 * infinity is NaN.
    logarithms = jnp.where(targets > 0, jax.nn.log_softmax(logits, axis=1), 0)
    return jnp.mean(-jnp.sum(targets * logarithms, axis=1))
