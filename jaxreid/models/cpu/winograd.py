"""3x3 convolutions with stride 1 that multiply a third as often.

Winograd's F(m, 3) computes m results of m + 2 pixels with m + 2 products instead of 3 m: it
multiplies the values of two polynomials at m + 2 points, of which one is infinity. Down an image
this is F(4, 3), across it F(2, 3): 24 products for 72. F(4, 3) both ways, 36 for 144, has larger
errors, weights and programs for the same time. Lavin and Gray, Fast Algorithms for Convolutional
Neural Networks, CVPR 2016, https://arxiv.org/abs/1509.09308.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxreid.types import Array

__all__ = ["winograd", "winograd_bank", "winograd_convolution"]

_Matrix = tuple[tuple[float, ...], ...]


class _Transforms(NamedTuple):
    """results @ ((taps @ kernel) * (pixels @ image)) convolves 3 taps with n = m + 2 pixels."""

    pixels: _Matrix  # [n,n]
    taps: _Matrix  # [n,3]
    results: _Matrix  # [m,n]


def _transforms(*points: float) -> _Transforms:
    """Of F(m, 3), by the m + 1 finite points: interpolation as Lagrange's, transposed."""
    at, m = np.array(points), len(points) - 1
    others = [np.delete(at, i) for i in range(m + 1)]
    # Lagrange's denominators go to the taps, which are transformed once.
    scales = np.array([[np.prod(a - rest)] for a, rest in zip(at, others, strict=True)])
    return _Transforms(
        pixels=_rows([*(np.append(_coefficients(rest), 0) for rest in others), _coefficients(at)]),
        taps=_rows([*(at[:, None] ** np.arange(3) / scales), np.eye(3)[-1]]),
        results=_rows([*np.hstack([at ** np.arange(m)[:, None], np.eye(m)[:, -1:]])]),
    )


def _coefficients(roots: np.ndarray) -> np.ndarray:
    """Of the polynomial (x - root) (x - root) ..., the constant first."""
    return np.polynomial.polynomial.polyfromroots(roots)


def _rows(matrix: list[np.ndarray]) -> _Matrix:
    """Without the rounding errors of what is zero."""
    return tuple(tuple(float(x) if abs(x) > 1e-9 else 0.0 for x in row) for row in matrix)


def _transposed(matrix: _Matrix) -> _Matrix:
    return tuple(zip(*matrix, strict=True))


# The usual points of F(4, 3) are 0, 1, -1, 2 and -2; with these, whose powers are closer to one,
# results err a third as much.
_DOWN = _transforms(0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
_ACROSS = _transforms(0, 1, -1)
_STEPS = len(_DOWN.results), len(_ACROSS.results)  # pixels from block to block

# From taps to products, [4*6,9]; of both, neighbours down the image stand below each other.
_FACTORS = np.kron(_ACROSS.taps, _DOWN.taps)


def winograd_bank(kernel: Array) -> tuple[Array, ...]:
    """What `winograd` makes of a kernel [3,3,C,K] beforehand: a matrix [C,K] for every product.

    An array [6,C,K] of those down the image for each of 4 across it.
    """
    taps = kernel.transpose(1, 0, 2, 3).reshape(9, -1)
    bank = jnp.asarray(_FACTORS, kernel.dtype) @ taps
    return tuple(bank.reshape(len(_ACROSS.taps), -1, *kernel.shape[2:]))


def winograd(x: Array, bank: tuple[Array, ...], *, padding: int) -> Array:
    """3x3 convolution of images [B,H,W,C] with stride 1 -> [B,H',W',K].

    `bank` is `winograd_bank` of the kernel.
    """
    H, W = (side + 2 * padding - 2 for side in x.shape[1:3])
    tiles = _tiles(x, padding, _DOWN.pixels, _ACROSS.pixels)
    products = [_product(tile, matrices) for tile, matrices in zip(tiles, bank, strict=True)]
    # XLA compiles a branch for every part of a stack: two stacks have fewer than one of all.
    wide = jnp.stack(_combined(_ACROSS.results, products), axis=4)
    y = jnp.stack(_combined(_DOWN.results, list(wide)), axis=2)
    return y.reshape(len(x), _STEPS[0] * y.shape[1], _STEPS[1] * y.shape[3], -1)[:, :H, :W]


def _tiles(x: Array, padding: int, down: _Matrix, across: _Matrix) -> list[Array]:
    """Blocks of images [B,H,W,C], transformed: an array [n,B,h,w,C] for each row of `across`.

    What is transformed by the n rows of `down` is an array of its own: sums of sums would be
    computed again for every product.
    """
    pads, counts = [(0, 0)], (len(down[0]), len(across[0]))
    for side, step, count in zip(x.shape[1:3], _STEPS, counts, strict=True):
        fill = -(side + 2 * padding - (count - step)) % step
        pads.append((padding, padding + fill))
    x = jnp.pad(x, [*pads, (0, 0)])
    tall = jnp.stack(_combined(down, _shifted(x, 1, _STEPS[0], counts[0])))
    return _combined(across, _shifted(tall, 3, _STEPS[1], counts[1]))


def _shifted(x: Array, axis: int, step: int, count: int) -> list[Array]:
    """The first pixel of every block along an axis, the second, to the last of `count`."""
    end = x.shape[axis] - count + 1
    return [lax.slice_in_dim(x, i, i + end, step, axis) for i in range(count)]


def _combined(matrix: _Matrix, parts: Sequence[Array]) -> list[Array]:
    """The matrix times a vector of arrays."""
    return [_sum(row, parts) for row in matrix]


def _sum(factors: tuple[float, ...], parts: Sequence[Array]) -> Array:
    total = None
    # By operations of XLA: thousands of these are traced before an attack's first step, and `jnp`
    # traces each as a function of its own.
    for factor, part in zip(factors, parts, strict=True):
        if factor == 0:
            continue
        if abs(factor) != 1:
            part = lax.mul(part, abs(factor))
        if total is None:
            total = part if factor > 0 else lax.neg(part)
        else:
            total = (lax.add if factor > 0 else lax.sub)(total, part)
    assert total is not None  # no row is zero
    return total


def _product(tiles: Array, matrices: Array) -> Array:
    """Tiles [n,B,h,w,C] with matrices [n,C,K], each with its own."""
    return (_pixels(tiles) @ matrices).reshape(*tiles.shape[:-1], -1)


def _pixels(tiles: Array) -> Array:
    return tiles.reshape(len(tiles), -1, tiles.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def winograd_convolution(x: Array, kernel: Array, padding: int) -> Array:
    """`winograd` with a kernel [3,3,C,K] that has a gradient; padding 2 or less.

    Both gradients are by the same method: JAX's own adds up a padded image for every shift. There
    is no forward-mode derivative (`jax.jvp`).
    """
    return winograd(x, winograd_bank(kernel), padding=padding)


def _forward(x: Array, kernel: Array, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return winograd_convolution(x, kernel, padding), (x, kernel)


def _backward(padding: int, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    dx = winograd(gradient, winograd_bank(turned), padding=2 - padding)
    return dx, _kernel_gradient(x, gradient, padding)


winograd_convolution.defvjp(_forward, _backward)


def _kernel_gradient(x: Array, gradient: Array, padding: int) -> Array:
    """[3,3,C,K]: results, products and taps backwards."""
    tiles = _tiles(x, padding, _DOWN.pixels, _ACROSS.pixels)
    slopes = _tiles(gradient, 0, _transposed(_DOWN.results), _transposed(_ACROSS.results))
    bank = jnp.stack(
        [_pixels(tile).mT @ _pixels(slope) for tile, slope in zip(tiles, slopes, strict=True)]
    )
    taps = jnp.asarray(_FACTORS.T, x.dtype) @ bank.reshape(len(_FACTORS), -1)
    return taps.reshape(3, 3, *bank.shape[2:]).transpose(1, 0, 2, 3)
