"""Gradients of convolutions to their images, in the forms in which XLA's CPU backend is fast.

What JAX derives is a convolution with a reversed, transposed kernel, and one with holes for a
strided layer; both miss the backend's fast path. These write the same sums as ordinary
convolutions with stride 1.
"""

import jax.numpy as jnp
from jax import lax

from jaxreid.types import Array

__all__ = ["image_gradient"]

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Convolutions to fewer channels than this waste most of a matrix product.
_FEW_CHANNELS = 16


def image_gradient(
    gradient: Array, kernel: Array, *, size: tuple[int, int], stride: int, padding: int
) -> Array:
    """Gradient to its images of a convolution with stride s, one of s x s phases after the other.

    The pixels m = s q + r of a phase r meet the taps u = (r + padding) mod s + s t only:
    dx[s q + r] = sum_t dy[q + (r + padding) // s - t] kernel[u]^T, which is a convolution of dy
    with stride 1. Shi et al., https://arxiv.org/abs/1609.07009, read backwards.

    Args:
        gradient: [B,H',W',K], to the convolution's result.
        kernel: [h,h,C,K] of the same type.
        size: (H, W) of the images in pixels.
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.

    Returns:
        [B,H,W,C] of the same type.
    """
    # A barrier: folded into the convolution, the transposition would cost its fast path.
    turned = lax.optimization_barrier(jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    phases = [_Phase(r, kernel.shape[0], stride, padding) for r in range(stride)]
    rows, columns = (-(-side // stride) for side in size)
    if stride == 1:
        return _whole(gradient, turned, phases[0], size)
    if kernel.shape[2] < _FEW_CHANNELS:
        dx = _together(gradient, turned, phases, (rows, columns))
    else:
        dx = jnp.stack(
            [
                jnp.stack([_one(gradient, turned, a, b, (rows, columns)) for b in phases], 3)
                for a in phases
            ],
            2,
        )
    dx = dx.reshape(dx.shape[0], rows * stride, columns * stride, -1)
    return dx[:, : size[0], : size[1]]


class _Phase:
    """What the pixels r, r + s, r + 2 s, ... of one direction meet: taps of the reversed kernel."""

    def __init__(self, remainder: int, taps: int, stride: int, padding: int) -> None:
        first = (remainder + padding) % stride
        self.count = len(range(first, taps, stride))
        # Reversed, the last tap comes first.
        self.taps = slice((taps - 1 - first) % stride, None, stride)
        self.last = (remainder + padding) // stride
        self.first = self.last - self.count + 1

    def pads(self, outputs: int, inputs: int) -> tuple[int, int]:
        """Zeros before and after the gradient."""
        return _pads(self.first, self.last, outputs, inputs)


def _pads(first: int, last: int, outputs: int, inputs: int) -> tuple[int, int]:
    """Zeros around inputs of which output q meets q + first to q + last (negative: cut off)."""
    return -first, outputs + last - inputs


def _whole(gradient: Array, turned: Array, phase: _Phase, size: tuple[int, int]) -> Array:
    pads = [phase.pads(side, have) for side, have in zip(size, gradient.shape[1:3], strict=True)]
    return lax.conv_general_dilated(gradient, turned, (1, 1), pads, dimension_numbers=_LAYOUT)


def _one(gradient: Array, turned: Array, a: _Phase, b: _Phase, outputs: tuple[int, int]) -> Array:
    """The pixels of one phase, [B,rows,columns,C]."""
    B, H, W, _ = gradient.shape
    if not a.count or not b.count:
        return jnp.zeros((B, *outputs, turned.shape[3]), gradient.dtype)
    pads = [(0, 0, 0), (*a.pads(outputs[0], H), 0), (*b.pads(outputs[1], W), 0), (0, 0, 0)]
    padded = lax.pad(gradient, jnp.zeros((), gradient.dtype), pads)
    shifted = [
        padded[:, i : i + outputs[0], j : j + outputs[1]]
        for i in range(a.count)
        for j in range(b.count)
    ]
    taps = turned[a.taps, b.taps]
    return jnp.concatenate(shifted, -1) @ taps.reshape(-1, taps.shape[-1])


def _together(
    gradient: Array, turned: Array, phases: list[_Phase], outputs: tuple[int, int]
) -> Array:
    """All phases as the channels of one convolution, [B,rows,s,columns,s,C]."""
    first, last = min(p.first for p in phases), max(p.last for p in phases)
    window = last - first + 1
    s, (K, C) = len(phases), turned.shape[2:]
    kernel = jnp.zeros((window, window, K, s, s, C), turned.dtype)
    for i, a in enumerate(phases):
        for j, b in enumerate(phases):
            at_a, at_b = (slice(p.first - first, p.last - first + 1) for p in (a, b))
            kernel = kernel.at[at_a, at_b, :, i, j].set(turned[a.taps, b.taps])
    sides = zip(outputs, gradient.shape[1:3], strict=True)
    pads = [_pads(first, last, *side) for side in sides]
    dx = lax.conv_general_dilated(
        gradient,
        kernel.reshape(window, window, K, -1),
        (1, 1),
        pads,
        dimension_numbers=_LAYOUT,
    )
    return dx.reshape(-1, *outputs, s, s, C).transpose(0, 1, 3, 2, 4, 5)
