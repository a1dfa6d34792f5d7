"""Swin transformers with the names of mmcv, and SOLIDER's semantic control between their stages."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.layers import Conv
from jaxreid.models.linear import Linear, linear
from jaxreid.models.normalization import Statistics
from jaxreid.models.standardization import LayerNorm
from jaxreid.models.transformer import gelu
from jaxreid.models.windows import WindowAttention
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["SWINS", "SwinConfig", "SwinTransformer"]

_PATCH = 4


@dataclass(frozen=True)
class SwinConfig(BackboneConfig):
    """Shape of a Swin transformer.

    Args:
        width: channels of a token of the first stage; each stage has twice those of the last.
        depths: blocks of each stage; odd ones (from 0) shift their windows.
        heads: attention heads of each stage; each must divide the stage's width.
        window: side of the square windows of attention, in tokens.
        mlp_ratio: channels inside the MLP per channel of a token.
        semantic_weight: of SOLIDER's semantic control, in [0, 1], or None for a network without;
            no tensor shows it.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value, or depths and heads differ in length.
    """

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: int = 4
    semantic_weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("depths", "heads"):
            as_tuple(self, name)
        sizes = (self.width, *self.depths, *self.heads, self.window, self.mlp_ratio)
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"Swin sizes must be integers from 1 to 16384, got {sizes}")
        if not (1 <= len(self.depths) == len(self.heads) <= 8 and max(self.depths) <= 256):
            raise InputError(
                f"a Swin has one to eight stages of at most 256 blocks, and heads for each; got "
                f"{self.depths} and {self.heads}"
            )
        if self.window > 64:
            raise InputError(f"Swin windows have at most 64 x 64 tokens, got {self.window}")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise InputError(f"Swin: {heads} heads do not divide a width of {width}")
        weight = self.semantic_weight
        if weight is not None and not (
            isinstance(weight, int | float) and math.isfinite(weight) and 0 <= weight <= 1
        ):
            raise InputError(f"semantic_weight must be in [0, 1], or None; got {weight!r}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of a token of each stage."""
        return tuple(self.width << stage for stage in range(len(self.depths)))

    @property
    def feature_size(self) -> int:
        """Channels after the last stage."""
        return self.widths[-1]

    @property
    def multiple(self) -> int:
        """What sides of images, in pixels, must be multiples of."""
        return _PATCH << (len(self.depths) - 1)


SWINS = {
    "swin_tiny": SwinConfig(),
    "swin_small": SwinConfig(depths=(2, 2, 18, 2)),
    "swin_base": SwinConfig(width=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
}
"""name -> SwinConfig; SOLIDER's are these, with a semantic_weight."""


_norm = partial(LayerNorm, epsilon=1e-5)


class _PatchEmbed(nnx.Module):
    def __init__(self, config: SwinConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.projection = Conv(
            3, config.width, _PATCH, stride=_PATCH, bias=True, dtype=dtype, rngs=rngs
        )
        self.norm = _norm(config.width, dtype=dtype, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        return self.norm(self.projection(images))


class _Mlp(nnx.Module):
    def __init__(self, width: int, hidden: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        made: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        first, second = linear(width, hidden, **made), linear(hidden, width, **made)
        self.layers: nnx.List[Any] = nnx.List([nnx.List([first]), second])

    def __call__(self, x: Array) -> Array:
        return self.layers[1](gelu(self.layers[0][0](x)))


class _Block(nnx.Module):
    def __init__(
        self,
        config: SwinConfig,
        stage: int,
        *,
        shifted: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        width, heads = config.widths[stage], config.heads[stage]
        made: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.norm1 = _norm(width, dtype=dtype, rngs=rngs)
        self.attn = WindowAttention(width, heads, config.window, shifted=shifted, **made)
        self.norm2 = _norm(width, dtype=dtype, rngs=rngs)
        self.ffn = _Mlp(width, width * config.mlp_ratio, **made)

    def __call__(self, x: Array) -> Array:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class _Merging(nnx.Module):
    """Four neighbours become one token of twice the width, channel by channel as torch unfolds.

    Entry 4c + 2 dy + dx of what is normalised is channel c of the neighbour (dy, dx); Swin's own
    code has the neighbour first.
    """

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.norm = _norm(4 * width, dtype=dtype, rngs=rngs)
        self.reduction = linear(4 * width, 2 * width, bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        B, H, W, C = x.shape
        x = x.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 5, 2, 4)
        return self.reduction(self.norm(x.reshape(B, H // 2, W // 2, 4 * C)))


class _Stage(nnx.Module):
    def __init__(self, config: SwinConfig, stage: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        made: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.blocks = nnx.List(
            [
                _Block(config, stage, shifted=bool(place % 2), **made)
                for place in range(config.depths[stage])
            ]
        )
        last = stage == len(config.depths) - 1
        self.downsample = None if last else _Merging(config.widths[stage], **made)

    def __call__(self, x: Array) -> Array:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


def _controls(config: SwinConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.List[Linear]:
    """A linear layer for each stage but the last, whose control nothing would read."""
    return nnx.List([linear(2, width, dtype=dtype, rngs=rngs) for width in config.widths[1:]])


class SwinTransformer(Backbone):
    """Swin transformer without a head: images to the mean over the last, normalised feature map.

    Between stages SOLIDER's semantic control scales and shifts each channel:
    y = x softplus(W [w, 1 - w] + b) + V [w, 1 - w] + c. Source: Liu et al., Swin Transformer,
    https://arxiv.org/abs/2103.14030; Chen et al., SOLIDER, https://arxiv.org/abs/2303.17602; names
    of https://github.com/open-mmlab/mmdetection (mmdet/models/backbones/swin.py).

    Args:
        config: its shape.
        axis_name: of no use here, where nothing is shared between images.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: images [B,H,W,3] with mean 0 and variance 1, H and W multiples of
        config.multiple -> [B,D] float32, D = config.feature_size.
    """

    def __init__(
        self,
        config: SwinConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: SwinConfig = config
        stages = range(len(config.depths))
        self.patch_embed = _PatchEmbed(config, dtype, rngs)
        self.stages = nnx.List([_Stage(config, i, dtype=dtype, rngs=rngs) for i in stages])
        # The norm of the last stage, by its name; those of the others reach no feature.
        setattr(self, f"norm{stages[-1]}", _norm(config.feature_size, dtype=dtype, rngs=rngs))
        controlled = config.semantic_weight is not None
        # float32 at least: it is computed once for all pixels.
        wide = jnp.promote_types(dtype, jnp.float32)
        self.semantic_embed_w = _controls(config, wide, rngs) if controlled else None
        self.semantic_embed_b = _controls(config, wide, rngs) if controlled else None

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        size, multiple = tuple(images.shape[1:3]), self.config.multiple
        if min(size) < multiple or any(side % multiple for side in size):
            raise InputError(
                f"this Swin transformer takes images whose sides are multiples of {multiple} "
                f"pixels, got {size}"
            )
        x = self.patch_embed(images)
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if place < len(self.stages) - 1:
                x = self._controlled(x, place)
        x = getattr(self, f"norm{len(self.stages) - 1}")(x)
        return at_least_float32(x).mean((1, 2))

    def _controlled(self, x: Array, place: int) -> Array:
        """What the stage after this one reads."""
        weight = self.config.semantic_weight
        if weight is None or self.semantic_embed_w is None or self.semantic_embed_b is None:
            return x
        mix = jnp.array([weight, 1 - weight])
        factor = jax.nn.softplus(self.semantic_embed_w[place](mix))
        return x * factor.astype(x.dtype) + self.semantic_embed_b[place](mix).astype(x.dtype)
