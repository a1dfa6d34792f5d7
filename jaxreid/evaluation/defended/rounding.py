"""Functions that no gradient gets through, with a derivative that leads somewhere."""

from collections.abc import Callable

import jax

from jaxreid.types import Array

__all__ = ["straight_through"]


def straight_through(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The same function with the derivative of the identity, ``dy = dx``.

    Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", 2013, https://arxiv.org/abs/1308.3432.

    Args:
        function: of an array of any shape, to one of the same shape, such as rounding.

    Returns:
        The function, bit for bit, to be differentiated in either mode.
    """
    passed = jax.custom_jvp(function)
    passed.defjvp(lambda at, along: (function(*at), along[0]))
    return passed
