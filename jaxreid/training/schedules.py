"""Learning rates as functions of the epoch, the published ones and cosine with warm-up."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = ["Schedule", "constant", "cosine", "exponential", "ramp", "steps", "warmed_up"]

Schedule = Callable[[ArrayLike], Array]
"""epoch [] (0 at the start, with fractions) -> factor of the peak learning rate []."""


def constant() -> Schedule:
    """Always 1.

    Returns:
        A Schedule.
    """
    return lambda epoch: jnp.ones_like(jnp.asarray(epoch, jnp.float32))


def steps(boundaries: Sequence[float], factor: float) -> Schedule:
    """``factor ** (number of boundaries reached)``; Bouniot et al. use 0.1 at epochs 20 and 40.

    Args:
        boundaries: epochs.
        factor: > 0.

    Returns:
        A Schedule.

    Raises:
        InputError: factor is not above 0.
    """
    if not factor > 0:
        raise InputError(f"factor must be above 0, got {factor}")
    at = np.asarray(boundaries, np.float32).reshape(-1)
    return lambda epoch: jnp.float32(factor) ** jnp.sum(jnp.asarray(epoch) >= at)


def exponential(start: float, epochs: float, final_fraction: float) -> Schedule:
    """1 until `start`, then ``final_fraction ** ((epoch - start) / epochs)``.

    Hermans et al., "In Defense of the Triplet Loss", https://arxiv.org/abs/1703.07737; Bouniot et
    al. use 0.001 over 100 epochs from epoch 50 on.

    Args:
        start: epoch.
        epochs: > 0, over which the rate falls to the fraction.
        final_fraction: > 0.

    Returns:
        A Schedule.

    Raises:
        InputError: epochs or final_fraction is not above 0.
    """
    if not (epochs > 0 and final_fraction > 0):
        raise InputError(
            f"epochs and final_fraction must be above 0, got {epochs} and {final_fraction}"
        )
    return lambda epoch: (
        jnp.float32(final_fraction) ** (jnp.maximum(jnp.asarray(epoch) - start, 0) / epochs)
    )


def cosine(start: float, end: float) -> Schedule:
    """1 until `start`, then half a cosine wave down to 0 at `end`.

    Loshchilov and Hutter, "SGDR", ICLR 2017, https://arxiv.org/abs/1608.03983.

    Args:
        start: epoch.
        end: epoch, after start.

    Returns:
        A Schedule.

    Raises:
        InputError: end is not after start.
    """
    if not end > start:
        raise InputError(f"cosine must end after its warm-up: got epochs {start} to {end}")
    return lambda epoch: (
        0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((jnp.asarray(epoch) - start) / (end - start), 0, 1)))
    )


def ramp(epochs: float) -> Schedule:
    """``min(1, epoch / epochs)``.

    Args:
        epochs: 0 or more; 0 is always 1.

    Returns:
        A Schedule.

    Raises:
        InputError: epochs is negative.
    """
    if epochs < 0:
        raise InputError(f"the epochs of a warm-up must be 0 or more, got {epochs}")
    if epochs == 0:
        return constant()
    return lambda epoch: jnp.minimum(jnp.asarray(epoch) / epochs, 1.0)


def warmed_up(schedule: Schedule, epochs: float) -> Schedule:
    """``min(1, epoch / epochs) * schedule(epoch)``.

    Args:
        schedule: what comes after.
        epochs: of the linear warm-up from 0; 0 for none.

    Returns:
        A Schedule.

    Raises:
        InputError: epochs is negative.
    """
    growing = ramp(epochs)
    return lambda epoch: growing(epoch) * schedule(epoch)
