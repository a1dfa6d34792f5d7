"""What follows a residual network's convolutions: ReLU or SiLU, of one array and of a sum."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax

from jaxreid.models.layers import relu, relu_of_sum
from jaxreid.types import Array

__all__ = ["ACTIVATIONS", "Activation", "ActivationName"]

ActivationName = Literal["relu", "silu"]
"""A key of ACTIVATIONS."""


class Activation(NamedTuple):
    """One function of numbers.

    Attributes:
        alone: array -> array of the same shape and type.
        of_sum: (x, y, per_pixel=False), arrays [...,C] -> that of x + y, see `relu_of_sum`.
        keeps_order: whether it never falls, so that it may change places with a maximum.
    """

    alone: Callable[[Array], Array]
    of_sum: Callable[..., Array]
    keeps_order: bool


def _silu_of_sum(x: Array, y: Array, *, per_pixel: bool = False) -> Array:
    if not per_pixel:
        return jax.nn.silu(x + y)
    pixels = (-1, y.shape[-1])
    return jax.nn.silu(x.reshape(pixels) + y.reshape(pixels)).reshape(y.shape)


ACTIVATIONS: dict[ActivationName, Activation] = {
    "relu": Activation(relu, relu_of_sum, keeps_order=True),
    "silu": Activation(jax.nn.silu, _silu_of_sum, keeps_order=False),
}
"""name -> Activation. SiLU is x / (1 + exp(-x)), https://arxiv.org/abs/1606.08415: smooth, so that
an attack's gradient does not jump, which helps adversarial training (Xie et al., "Smooth
Adversarial Training", https://arxiv.org/abs/2006.14536; Gowal et al.,
https://arxiv.org/abs/2010.03593).
"""
