"""Attention within square windows of a feature map, which may be shifted against each other."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.models.transformer import attend_in_groups, linear
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


def _windows(x: Array, side: int) -> Array:
    """[B,H,W,C] -> [B,windows,side^2,C], windows and tokens row by row."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // side, side, W // side, side, C).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(B, -1, side * side, C)


def _map(windows: Array, side: int, height: int, width: int) -> Array:
    """The inverse of `_windows`."""
    B, _, _, C = windows.shape
    x = windows.reshape(B, height // side, width // side, side, side, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, height, width, C)


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

    def __call__(self, x: Array, mask: np.ndarray | None) -> Array:
        """X [B,windows,T,C], mask [windows,1,T,T] -> [B,windows,T,C]."""
        B, N, T, C = x.shape
        size = C // self.heads
        qkv = self.qkv(x).reshape(B, N, T, 3, self.heads, size)
        query, key, value = jnp.moveaxis(qkv, 3, 0)
        mixed = attend_in_groups(query, key, value, scale=size**-0.5, bias=self._bias(mask))
        return self.proj(mixed.reshape(B, N, T, C))

    def _bias(self, mask: np.ndarray | None) -> Array:
        """[windows or 1,heads,T,T], of the positions and the mask."""
        table = self.relative_position_bias_table[...]
        table = table.astype(jnp.promote_types(table.dtype, jnp.float32))
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
        self.window, self.shift = window, window // 2 if shifted else 0

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> the same shape."""
        H, W, side = x.shape[1], x.shape[2], self.window
        # Zeros that nothing masks: every window attends to them, as to the bias of qkv.
        x = jnp.pad(x, [(0, 0), (0, -H % side), (0, -W % side), (0, 0)])
        height, width = x.shape[1:3]
        mask = None
        if self.shift:
            # Also in a map that is no higher or wider than one window, where others do not shift.
            x = jnp.roll(x, (-self.shift, -self.shift), (1, 2))
            mask = _shift_mask(height, width, side)
        x = _map(self.w_msa(_windows(x, side), mask), side, height, width)
        x = jnp.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x
        return x[:, :H, :W]
