"""Linear layers of transformers, of whose outputs some may be asked for alone."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxreid.models.layers import Constant
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["FrozenLinear", "Linear", "linear"]

_ALL = slice(None)


class Linear(nnx.Linear):
    """A linear layer, y = x W + b: `flax.nnx.Linear`, by whole or by some of its outputs.

    Args:
        in_features: D of x [...,D].
        out_features: K of y [...,K].
        rngs: source of the initial parameters.
        **options: those of `flax.nnx.Linear`,
            https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/linear.html.

    Returns:
        A module: (x [...,D], columns) -> those of the K outputs, all by default.
    """

    def __call__(self, x: Array, columns: slice = _ALL) -> Array:
        """X [...,D] -> [...,K], or some of the K columns."""
        return self.plus_bias(self.product(x, columns), columns)

    def product(self, x: Array, columns: slice = _ALL) -> Array:
        """X W alone."""
        x, kernel = self.promote_dtype((x, self.kernel[...][:, columns]), dtype=self.dtype)
        return x @ kernel

    def plus_bias(self, y: Array, columns: slice = _ALL) -> Array:
        """Y [...,K], or some of the K columns, and the bias, if there is one."""
        return y if self.bias is None else y + self.bias[...][columns].astype(y.dtype)


class FrozenLinear(nnx.Module):
    """A `Linear` whose weights no longer change, prepared for a CPU.

    Its gradient to x is dy W^T, for which W is transposed once: XLA's CPU backend multiplies rows
    with columns about a tenth faster than rows with rows. There is no gradient to the weights and
    no forward-mode derivative (`jax.jvp`); second derivatives in reverse mode there are.

    Args:
        layer: the layer; it is not changed.

    Returns:
        A module that is called as the layer.
    """

    def __init__(self, layer: Linear) -> None:
        kernel = layer.kernel[...]
        kernel = kernel.astype(layer.dtype) if layer.dtype else at_least_float32(kernel)
        self.kernel, self.adjoint = Constant(kernel), Constant(kernel.T)
        bias = layer.bias
        self.bias = None if bias is None else Constant(bias[...].astype(kernel.dtype))

    def __call__(self, x: Array, columns: slice = _ALL) -> Array:
        """X [...,D] -> [...,K], or some of the K columns."""
        return self.plus_bias(self.product(x, columns), columns)

    def product(self, x: Array, columns: slice = _ALL) -> Array:
        """X W alone."""
        kernel, adjoint = self.kernel[...][:, columns], self.adjoint[...][columns]
        kernel, adjoint = lax.stop_gradient((kernel, adjoint))
        return _product(x.astype(kernel.dtype), kernel, adjoint)

    def plus_bias(self, y: Array, columns: slice = _ALL) -> Array:
        """Y [...,K], or some of the K columns, and the bias, if there is one."""
        return y if self.bias is None else y + lax.stop_gradient(self.bias[...][columns])


def linear(
    inputs: int, outputs: int, *, bias: bool = True, dtype: jnp.dtype, rngs: nnx.Rngs
) -> Linear:
    """A linear layer with the first values of a ViT's."""
    init = jax.nn.initializers.truncated_normal(0.02)
    return Linear(inputs, outputs, use_bias=bias, kernel_init=init, dtype=dtype, rngs=rngs)


@jax.custom_vjp
def _product(x: Array, kernel: Array, adjoint: Array) -> Array:
    return x @ kernel


def _forward(x: Array, kernel: Array, adjoint: Array) -> tuple[Array, Array]:
    return x @ kernel, adjoint


def _backward(adjoint: Array, dy: Array) -> tuple[Array, None, None]:
    return dy @ adjoint, None, None


_product.defvjp(_forward, _backward)
