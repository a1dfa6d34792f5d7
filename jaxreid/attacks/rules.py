"""How a gradient becomes a step: optax gradient transformations whose updates are *added*."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreid.attacks.arguments import check_amount
from jaxreid.checks import check_callable
from jaxreid.errors import InputError
from jaxreid.precision import finite_part, moderate
from jaxreid.types import ArrayLike, Images

__all__ = ["l1_normalize", "momentum_step", "steepest_step"]


def l1_normalize() -> optax.GradientTransformation:
    """Divides each image's gradient by its L1 norm, ``g / ||g||_1``; a zero gradient stays zero.

    Entries that are not finite count as zero.

    Returns:
        A stateless optax transformation of arrays [B,H,W,C].
    """

    def normalize(gradient: Images, params: Images | None) -> Images:
        del params
        gradient = moderate(finite_part(gradient))
        norm = jnp.sum(jnp.abs(gradient), axis=(1, 2, 3), keepdims=True)
        return gradient / jnp.where(norm > 0, norm, 1)

    return optax.stateless(normalize)


def steepest_step(
    direction: Callable[[Images], Images], step_size: float | ArrayLike
) -> optax.GradientTransformation:
    """A step of fixed size in the steepest direction, ``step_size * direction(g)``.

    Args:
        direction: gradient [B,H,W,C] -> direction of the same shape, usually `Threat.steepest`
            (`jnp.sign` for L-infinity).
        step_size: >= 0, in pixel range; a number or anything that broadcasts against [B,H,W,C].

    Returns:
        A stateless optax transformation.

    Raises:
        InputError: if step_size is negative, NaN or infinite, or does not broadcast.
    """
    check_callable("direction", direction, "gradient [B,H,W,C] -> direction, as Threat.steepest is")
    check_amount("step_size", step_size)

    def step(gradient: Images, params: Images | None) -> Images:
        del params
        size, way = jnp.asarray(step_size, gradient.dtype), direction(gradient)
        try:
            return size * way
        except (TypeError, ValueError) as error:
            raise InputError(
                f"step_size (eps, in fgsm) must broadcast to {list(gradient.shape)} (a number, "
                f"[B,1,1,1] per image, [C] per channel), got {list(size.shape)}"
            ) from error

    return optax.stateless(step)


def momentum_step(
    direction: Callable[[Images], Images], step_size: float | ArrayLike, decay: float | ArrayLike
) -> optax.GradientTransformation:
    """The MI-FGSM rule: accumulate normalised gradients, then step along the sum.

    ``m_t = decay * m_(t-1) + g_t / ||g_t||_1;  step = step_size * direction(m_t)``, Dong et al.,
    "Boosting Adversarial Attacks with Momentum", CVPR 2018, https://arxiv.org/abs/1710.06081.

    Args:
        direction: as in `steepest_step`; it acts on the accumulated gradient.
        step_size: as in `steepest_step`.
        decay: >= 0, without unit, a number or anything that broadcasts against [B,H,W,C]; the
            paper's standard is 1.0.

    Returns:
        An optax transformation with the accumulated gradient as its state.

    Raises:
        InputError: if step_size or decay is negative, NaN or infinite.
    """
    check_amount("decay", decay)
    decay = float(decay) if np.ndim(decay) == 0 and not isinstance(decay, jax.Array) else decay
    return optax.chain(l1_normalize(), optax.trace(decay), steepest_step(direction, step_size))
