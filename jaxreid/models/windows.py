"""Attention within square windows of a feature map, which may be shifted against each other."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxreid.models.cpu import windows as cpu
from jaxreid.models.linear import linear
from jaxreid.models.transformer import attend_in_groups
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["WindowAttention", "window_index"]

_INIT = jax.nn.initializers.truncated_normal(0.02)
# Added to attention between pixels that only the roll made neighbours.
_APART = -100.0


def window_index(side: int) -> np.ndarray:
    """Row of the position biases for each pair of tokens of a window, int64 [side^2, side^2].

    (dy + side - 1) (2 side - 1) + dx + side - 1 with dy and dx those of the query less the key's.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    down, across = rows[:, None] - rows, columns[:, None] - columns
    return (down + side - 1) * (2 * side - 1) + across + side - 1


def _shift_mask(height: int, width: int, side: int) -> np.ndarray:
    """[windows,1,side^2,side^2]: what keeps apart pixels that are neighbours by the roll only."""
    shift = side // 2
    # Which of three regions a row or column is in: cut where the last window begins, and where
    # it has what came round.
    down, across = (
        np.searchsorted([size - side, size - shift], np.arange(size), side="right")
        for size in (height, width)
    )
    image = (3 * down[:, None] + across).reshape(height // side, side, width // side, side)
    regions = image.transpose(0, 2, 1, 3).reshape(-1, 1, side * side)
    return np.where(regions[..., :, None] == regions[..., None, :], 0.0, _APART)


class _Grid(NamedTuple):
    """Windows of a map, shifted by some pixels down and across."""

    height: int
    width: int
    side: int
    shift: int


def _cut(grid: _Grid) -> cpu.Cut:
    """Where the pixels of a map lie in its windows."""
    height, width, side, shift = grid
    numbers = np.arange(1, height * width + 1).reshape(height, width)
    padded = np.pad(numbers, [(0, -height % side), (0, -width % side)])
    rolled = np.roll(padded, (-shift, -shift), (0, 1))
    down, across = (length // side for length in padded.shape)
    windows = rolled.reshape(down, side, across, side).transpose(0, 2, 1, 3)
    return cpu.Cut(windows.reshape(-1, side * side))


def _to_windows(tokens: Array, grid: _Grid) -> Array:
    """Windows as `cpu.to_windows` has them, of [B,1+HW,K,D], by steps that accelerators like."""
    B, _, K, D = tokens.shape
    height, width, side, shift = grid
    rows, columns = -height % side, -width % side
    x, empty = tokens[:, 1:].reshape(B, height, width, K, D), tokens[:, :1, None]
    x = jnp.concatenate([x, jnp.broadcast_to(empty, (B, rows, width, K, D))], 1)
    x = jnp.concatenate([x, jnp.broadcast_to(empty, (B, height + rows, columns, K, D))], 2)
    x = jnp.roll(x, (-shift, -shift), (1, 2)) if shift else x
    x = x.reshape(B, (height + rows) // side, side, (width + columns) // side, side, K, D)
    return x.transpose(0, 1, 3, 5, 2, 4, 6).reshape(B, -1, K, side * side, D)


def _to_tokens(windows: Array, grid: _Grid) -> Array:
    """Tokens as `cpu.to_tokens` has them, [B,HW,K,D] of [B,N,K,T,D], likewise."""
    B, _, K, _, D = windows.shape
    height, width, side, shift = grid
    down, across = -(-height // side), -(-width // side)
    x = windows.reshape(B, down, across, K, side, side, D).transpose(0, 1, 4, 2, 5, 3, 6)
    x = x.reshape(B, down * side, across * side, K, D)
    x = jnp.roll(x, (shift, shift), (1, 2)) if shift else x
    return x[:, :height, :width].reshape(B, height * width, K, D)


class _Within(nnx.Module):
    """Attention within each window, with a bias by relative position."""

    def __init__(
        self, width: int, heads: int, window: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        table = ((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nnx.Param(_INIT(rngs.params(), table))
        self.qkv = linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.proj = linear(width, width, dtype=dtype, rngs=rngs)
        self.heads, self.window = heads, window

    def __call__(self, x: Array, shift: int) -> Array:
        """X [B,H,W,C], windows shifted by `shift` -> the same shape."""
        B, H, W, C = x.shape
        side, D = self.window, C // self.heads
        grid = _Grid(H, W, side, shift)
        cut = _cut(grid)
        # A map that fills no whole number of windows is padded with zeros that nothing masks, so
        # that every window attends to them, as to the bias of qkv. They follow after the product,
        # which need not compute them: at 256x128 the four stages of a Swin would have 1.2, 1.4, 2.3
        # and 3.1 times as many tokens.
        tokens = self.qkv(x.reshape(B, H * W, C))
        padding = self.qkv.plus_bias(jnp.zeros_like(tokens[:, :1]))
        tokens = jnp.concatenate([padding, tokens], 1)
        windows = lax.platform_dependent(
            tokens.reshape(B, -1, 3 * self.heads, D),
            cpu=lambda tokens: cpu.to_windows(tokens, cut),
            default=partial(_to_windows, grid=grid),
        )
        # Also in a map that is no higher or wider than one window, where others do not shift.
        mask = _shift_mask(H + -H % side, W + -W % side, side) if shift else None
        mixed = attend_in_groups(
            *jnp.split(windows, 3, axis=2), scale=D**-0.5, bias=self._bias(mask), heads_first=True
        )
        mixed = lax.platform_dependent(
            mixed,
            cpu=lambda windows: cpu.to_tokens(windows, cut),
            default=partial(_to_tokens, grid=grid),
        )
        return self.proj(mixed.reshape(B, H, W, C))

    def _bias(self, mask: np.ndarray | None) -> Array:
        """[windows or 1,heads,T,T], of the positions and the mask."""
        table = at_least_float32(self.relative_position_bias_table[...])
        bias = table[window_index(self.window)]
        bias = bias.transpose(2, 0, 1)[None]
        return bias if mask is None else bias + mask.astype(bias.dtype)


class WindowAttention(nnx.Module):
    """Windows of a map, shifted or not."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        *,
        shifted: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.w_msa = _Within(width, heads, window, dtype=dtype, rngs=rngs)
        self.shift = window // 2 if shifted else 0

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> the same shape."""
        return self.w_msa(x, self.shift)
