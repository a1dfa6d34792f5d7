"""How far an attack moved features, as losses: what a defense asks of clean and attacked images."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from jaxreid.checks import (
    Sizes,
    check_features,
    check_integers,
    check_number,
    check_values,
    shape_of,
)
from jaxreid.errors import InputError
from jaxreid.precision import in_double
from jaxreid.types import Array, ArrayLike, FeaturesLike, Scalar, SetFeaturesLike

__all__ = ["feature_shift", "similarity_divergence"]


def _checked(
    clean: FeaturesLike, attacked: FeaturesLike, candidates: SetFeaturesLike | None
) -> tuple[Array, Array, Array]:
    """The three arrays in one dtype; candidates are the clean features by default."""
    sizes = Sizes()
    sizes.check("clean", clean, "BD")
    sizes.check("attacked", attacked, "BD")
    rows = [check_features("clean", clean), check_features("attacked", attacked)]
    if candidates is None:
        rows.append(rows[0])
    else:
        sizes.check("candidates", candidates, "ND")
        rows.append(check_features("candidates", candidates))
    for name, row in zip(("clean", "attacked", "candidates"), rows, strict=True):
        if row.size == 0:
            raise InputError(f"{name} is empty: {shape_of(row)}; expected at least one row")
    dtype = jnp.result_type(*rows)
    one, other, set_of_all = (row.astype(dtype) for row in rows)
    return one, other, set_of_all


def spread(candidates: Float[Array, "N D"]) -> Array:
    """Mean squared distance to the mean, 1 where there is none."""
    squares = jnp.sum(jnp.square(candidates - jnp.mean(candidates, axis=0)), axis=1)
    mean = jnp.mean(squares)
    return jnp.where(mean > 0, mean, 1)


@in_double
def feature_shift(
    clean: FeaturesLike,
    attacked: FeaturesLike,
    *,
    candidates: SetFeaturesLike | None = None,
) -> Scalar:
    """Mean squared shift of the features, as a share of how far features spread.

    ``mean_i ||f(x'_i) - f(x_i)||^2 / mean_j ||c_j - mean(c)||^2``: the term of TRADES (Zhang et
    al., ICML 2019, https://arxiv.org/abs/1901.08573) for features in the place of logits. Over the
    spread, because features that shrink would make it small without resisting anything.

    Args:
        clean: [B,D] floating point, features of the images as they are, in the unit of the
            embedding.
        attacked: [B,D], of the same images under attack.
        candidates: [N,D] clean features whose spread is taken (those of the whole batch, say); by
            default `clean`.

    Returns:
        Scalar without unit, float32 at least; 1 where an attack moves features as far as images
        lie from their mean.

    Raises:
        InputError: on wrong shapes or dtypes, an empty batch, or NaN.
    """
    clean, attacked, candidates = _checked(clean, attacked, candidates)
    return jnp.mean(jnp.sum(jnp.square(attacked - clean), axis=1)) / spread(candidates)


@in_double
def similarity_divergence(
    clean: FeaturesLike,
    attacked: FeaturesLike,
    *,
    temperature: float = 0.1,
    candidates: SetFeaturesLike | None = None,
    own_positions: Integer[ArrayLike, " B"] | None = None,
) -> Scalar:
    """Kullback-Leibler divergence between whom an image resembles, and whom under attack.

    ``mean_i KL(p_i || q_i)`` with ``p_ij = softmax_j(-||f(x_i) - c_j||^2 / (t s))`` over all other
    images j of the batch, q_i likewise of x'_i, and the spread s of the candidates: the term of
    TRADES (Zhang et al., ICML 2019, https://arxiv.org/abs/1901.08573) on a retrieval's scores.

    Args:
        clean: [B,D] floating point, features of the images as they are, in the unit of the
            embedding.
        attacked: [B,D], of the same images under attack.
        temperature: t above 0, without unit.
        candidates: [N,D] clean features that are resembled (those of the whole batch); by default
            `clean`.
        own_positions: [B] integer, where the images stand among the candidates: nobody resembles
            himself. 0..B-1 by default.

    Returns:
        Scalar in nats, float32 at least; 0 where no other image is there.

    Raises:
        InputError: on wrong shapes or dtypes, an empty batch, NaN, a temperature that is not above
            0, or a position outside 0..N-1.
    """
    check_number("temperature", temperature, lambda t: (t > 0) & (t < jnp.inf), "be above 0")
    clean, attacked, candidates = _checked(clean, attacked, candidates)
    count = len(candidates)
    if own_positions is None:
        own_positions = np.arange(len(clean))
    sizes = Sizes()
    sizes.check("clean", clean, "BD")
    sizes.check("own_positions", own_positions, "B")
    own = check_integers("own_positions", own_positions)
    check_values(own, lambda i: (i >= 0) & (i < count), f"own_positions must lie in 0..{count - 1}")
    others = own[:, None] != jnp.arange(count)
    scale = temperature * spread(candidates)

    def log_shares(rows: Array) -> Array:
        squares = jnp.sum(jnp.square(rows[:, None] - candidates[None]), axis=2)
        # Alone in its batch an image resembles nobody: any finite row does.
        scores = jnp.where(others, -squares / scale, -jnp.inf if count > 1 else 0)
        total = jax.nn.logsumexp(scores, axis=1, keepdims=True)
        return jnp.where(others, -squares / scale - total, 0)

    before, after = log_shares(clean), log_shares(attacked)
    shares = jnp.where(others, jnp.exp(before), 0)
    return jnp.mean(jnp.sum(shares * (before - after), axis=1))
