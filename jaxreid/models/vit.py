"""Vision transformers with the layout of DeiT and the names of timm's state dict."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.layers import Conv
from jaxreid.models.normalization import Statistics
from jaxreid.types import Array

__all__ = ["VITS", "ViTConfig", "VisionTransformer"]

_EPSILON = 1e-6


@dataclass(frozen=True)
class ViTConfig(BackboneConfig):
    """Shape of a vision transformer.

    Args:
        width: channels of a token.
        depth: transformer blocks.
        heads: attention heads; must divide width.
        patch: side of the square that becomes one token, in pixels.
        image_size: (height, width) of the images, in pixels; the position embeddings belong to it.
        mlp_ratio: channels inside the MLP per channel of a token.

    Returns:
        The configuration.

    Raises:
        InputError: a size is not a positive integer, or heads does not divide width.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 16
    image_size: tuple[int, int] = (224, 224)
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        as_tuple(self, "image_size")
        sizes = (self.width, self.depth, self.heads, self.patch, *self.image_size, self.mlp_ratio)
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"ViT sizes must be integers from 1 to 16384, got {sizes}")
        if self.width % self.heads:
            raise InputError(f"ViT: {self.heads} heads do not divide a width of {self.width}")
        if self.depth > 256:
            raise InputError(f"ViT has at most 256 blocks, got {self.depth}")
        if min(self.image_size) < self.patch:
            raise InputError(f"ViT images {self.image_size} are smaller than a {self.patch} patch")

    @property
    def feature_size(self) -> int:
        """Channels of the class token."""
        return self.width

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches; pixels that fill no patch are cut off, as in PyTorch."""
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch


VITS = {
    "deit_tiny": ViTConfig(width=192, heads=3),
    "deit_small": ViTConfig(width=384, heads=6),
    "deit_base": ViTConfig(width=768, heads=12),
}
"""name -> ViTConfig, for images of 224x224 pixels."""


def _linear(inputs: int, outputs: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
    init = jax.nn.initializers.truncated_normal(0.02)
    return nnx.Linear(inputs, outputs, kernel_init=init, dtype=dtype, rngs=rngs)


def _norm(width: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=_EPSILON, dtype=dtype, use_fast_variance=False, rngs=rngs)


class _PatchEmbed(nnx.Module):
    def __init__(self, config: ViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.proj = Conv(
            3, config.width, config.patch, stride=config.patch, bias=True, dtype=dtype, rngs=rngs
        )

    def __call__(self, images: Array) -> Array:
        x = self.proj(images)
        return x.reshape(x.shape[0], -1, x.shape[-1])


class _Attention(nnx.Module):
    def __init__(self, config: ViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.qkv = _linear(config.width, 3 * config.width, dtype, rngs)
        self.proj = _linear(config.width, config.width, dtype, rngs)
        self.heads = config.heads

    def __call__(self, x: Array) -> Array:
        B, T, D = x.shape
        qkv = self.qkv(x).reshape(B, T, 3, self.heads, D // self.heads)
        query, key, value = jnp.moveaxis(qkv, 2, 0)
        mixed = jax.nn.dot_product_attention(query, key, value)
        return self.proj(mixed.reshape(B, T, D))


class _Mlp(nnx.Module):
    def __init__(self, config: ViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        hidden = config.width * config.mlp_ratio
        self.fc1 = _linear(config.width, hidden, dtype, rngs)
        self.fc2 = _linear(hidden, config.width, dtype, rngs)

    def __call__(self, x: Array) -> Array:
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class _Block(nnx.Module):
    def __init__(self, config: ViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.norm1 = _norm(config.width, dtype, rngs)
        self.attn = _Attention(config, dtype, rngs)
        self.norm2 = _norm(config.width, dtype, rngs)
        self.mlp = _Mlp(config, dtype, rngs)

    def __call__(self, x: Array) -> Array:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(Backbone):
    """Vision transformer without a head: images to the normalised class token.

    Source: Touvron et al., Training data-efficient image transformers,
    https://arxiv.org/abs/2012.12877 (without distillation token); names of
    https://huggingface.co/timm/deit_small_patch16_224.fb_in1k.

    Args:
        config: its shape.
        axis_name: of no use here, where nothing is shared between images.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: images [B,H,W,3] with mean 0 and variance 1 -> [B,D] float32, D = config.width.
    """

    def __init__(
        self,
        config: ViTConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: ViTConfig = config
        self.dtype = dtype
        init = jax.nn.initializers.truncated_normal(0.02)
        rows, columns = config.grid
        self.cls_token = nnx.Param(init(rngs.params(), (1, 1, config.width)))
        self.pos_embed = nnx.Param(init(rngs.params(), (1, rows * columns + 1, config.width)))
        self.patch_embed = _PatchEmbed(config, dtype, rngs)
        self.blocks = nnx.List([_Block(config, dtype, rngs) for _ in range(config.depth)])
        self.norm = _norm(config.width, dtype, rngs)

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> class token [B,D] float32."""
        if tuple(images.shape[1:3]) != tuple(self.config.image_size):
            raise InputError(
                f"this ViT takes images of {self.config.image_size} (height, width) pixels, got "
                f"{tuple(images.shape[1:3])}; set resize, or build it with that image_size"
            )
        x = self.patch_embed(images)
        token = self.cls_token[...].astype(x.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, x.shape[2])), x], axis=1)
        x = x + self.pos_embed[...].astype(x.dtype)
        for block in self.blocks:
            x = block(x)
        token = self.norm(x)[:, 0]
        return token.astype(jnp.promote_types(token.dtype, jnp.float32))
