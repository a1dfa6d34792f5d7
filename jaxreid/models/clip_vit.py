"""CLIP's vision transformer as CLIP-ReID uses it, with the names of CLIP's state dict."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig, Part, refuse_other_sizes
from jaxreid.models.cameras import camera_rows
from jaxreid.models.linear import linear
from jaxreid.models.normalization import Statistics
from jaxreid.models.patches import Patches
from jaxreid.models.standardization import LayerNorm
from jaxreid.models.transformer import self_attention
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["CLIP_VITS", "CLIPViTConfig", "CLIPVisionTransformer"]

_INIT = jax.nn.initializers.truncated_normal(0.02)


@dataclass(frozen=True)
class CLIPViTConfig(BackboneConfig):
    """Shape of CLIP's vision transformer.

    Args:
        width: channels of a token.
        depth: transformer blocks.
        heads: attention heads; must divide width.
        patch: side of the square that becomes one token, in pixels.
        stride: pixels between patches; below `patch` they overlap.
        image_size: (height, width) of the images, in pixels; the position embeddings belong to it.
        mlp_ratio: channels inside the MLP per channel of a token.
        outputs: channels of the space that CLIP shares between images and texts.
        cameras: camera embeddings, or 0 for a network without.
        sie_factor: what they are multiplied by; no tensor shows it.

    Returns:
        The configuration.

    Raises:
        InputError: a size is out of its range, or heads does not divide width.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    patch: int = 16
    stride: int = 16
    image_size: tuple[int, int] = (256, 128)
    mlp_ratio: int = 4
    outputs: int = 512
    cameras: int = 0
    sie_factor: float = 1.0

    def __post_init__(self) -> None:
        as_tuple(self, "image_size")
        numbers = (self.width, self.depth, self.heads, self.patch, self.stride, self.mlp_ratio)
        sizes = (*numbers, self.outputs, *self.image_size)
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"CLIP ViT sizes must be integers from 1 to 16384, got {sizes}")
        if self.width % self.heads:
            raise InputError(f"CLIP ViT: {self.heads} heads do not divide a width of {self.width}")
        if self.depth > 256:
            raise InputError(f"CLIP ViT has at most 256 blocks, got {self.depth}")
        if not (isinstance(self.cameras, int) and 0 <= self.cameras <= 1 << 20):
            raise InputError(f"cameras must be an integer from 0 to 2^20, got {self.cameras!r}")
        if not (isinstance(self.sie_factor, int | float) and math.isfinite(self.sie_factor)):
            raise InputError(f"sie_factor must be a finite number, got {self.sie_factor!r}")
        if min(self.image_size) < self.patch:
            raise InputError(
                f"CLIP ViT images {self.image_size} are smaller than a {self.patch} patch"
            )

    @property
    def feature_size(self) -> int:
        """Channels of the class token and of its projection."""
        return self.width + self.outputs

    @property
    def parts(self) -> tuple[Part, ...]:
        """The class token, and its projection."""
        return Part(self.width), Part(self.outputs)

    @property
    def step(self) -> int:
        """Pixels from one patch to the next."""
        return self.stride

    @property
    def positions(self) -> tuple[str, ...]:
        """The table beside whose first row, of the class token, are those of the patches."""
        return ("positional_embedding",)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches; pixels that fill no patch are never read."""
        rows, columns = ((side - self.patch) // self.stride + 1 for side in self.image_size)
        return rows, columns


CLIP_VITS = {"clip_vit_b16": CLIPViTConfig()}
"""name -> CLIPViTConfig, for images of 256x128 pixels."""


def _quick_gelu(x: Array) -> Array:
    """CLIP's approximation of the GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


class _Attention(nnx.Module):
    """Self-attention with the names of torch.nn.MultiheadAttention."""

    def __init__(self, config: CLIPViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width = config.width
        # As torch stores it, [3 width, width]: query, key and value one below the other.
        self.in_proj_weight = nnx.Param(_INIT(rngs.params(), (3 * width, width)))
        self.in_proj_bias = nnx.Param(jnp.zeros(3 * width))
        self.out_proj = linear(width, width, dtype=dtype, rngs=rngs)
        self.heads, self.dtype = config.heads, dtype

    def __call__(self, x: Array, outputs: int | None = None) -> Array:
        """Tokens [B,T,D] -> [B,T,D], or of the first ones, which attend to all, [B,outputs,D]."""
        scale = (x.shape[2] // self.heads) ** -0.5
        return self.out_proj(self_attention(x, self._projected, self.heads, scale, outputs))

    def _projected(self, x: Array, rows: slice) -> Array:
        y = x @ self.in_proj_weight[...][rows].astype(self.dtype).T
        return y + self.in_proj_bias[...][rows].astype(self.dtype)


class _Mlp(nnx.Module):
    def __init__(self, config: CLIPViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        hidden = config.width * config.mlp_ratio
        self.c_fc = linear(config.width, hidden, dtype=dtype, rngs=rngs)
        self.c_proj = linear(hidden, config.width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.c_proj(_quick_gelu(self.c_fc(x)))


class _Block(nnx.Module):
    def __init__(self, config: CLIPViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.ln_1 = _norm(config.width, dtype=dtype, rngs=rngs)
        self.attn = _Attention(config, dtype, rngs)
        self.ln_2 = _norm(config.width, dtype=dtype, rngs=rngs)
        self.mlp = _Mlp(config, dtype, rngs)

    def __call__(self, x: Array, outputs: int | None = None) -> Array:
        x = x[:, :outputs] + self.attn(self.ln_1(x), outputs)
        return x + self.mlp(self.ln_2(x))


class _Transformer(nnx.Module):
    def __init__(self, config: CLIPViTConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.resblocks = nnx.List([_Block(config, dtype, rngs) for _ in range(config.depth)])

    def __call__(self, x: Array) -> Array:
        last = len(self.resblocks) - 1
        for number, block in enumerate(self.resblocks):
            # Of the last block's tokens the first one alone is looked at.
            x = block(x, 1 if number == last else None)
        return x


_norm = partial(LayerNorm, epsilon=1e-5)


class CLIPVisionTransformer(Backbone):
    """CLIP's vision transformer: images to the class token beside its projection.

    y = LN(token_0), feature [y, y P]. A camera's embedding, times a factor, is added to the class
    token before the positions are. Source: Radford et al., https://arxiv.org/abs/2103.00020, for
    the network; Li et al., CLIP-ReID, https://arxiv.org/abs/2211.13977, for the rest.

    Args:
        config: its shape.
        axis_name: of no use here, where nothing is shared between images.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] with mean 0 and variance 1, statistics, cameras int32 [B] or
        None) -> [B,D] float32, D = config.width + config.outputs.
    """

    def __init__(
        self,
        config: CLIPViTConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: CLIPViTConfig = config
        width, (rows, columns) = config.width, config.grid
        draw = jax.nn.initializers.normal(width**-0.5)
        self.conv1 = Patches(3, width, config.patch, stride=config.stride, dtype=dtype, rngs=rngs)
        self.class_embedding = nnx.Param(draw(rngs.params(), (width,)))
        self.positional_embedding = nnx.Param(draw(rngs.params(), (rows * columns + 1, width)))
        table = (config.cameras, width)
        self.cv_embed = nnx.Param(_INIT(rngs.params(), table)) if config.cameras else None
        self.ln_pre = _norm(width, dtype=dtype, rngs=rngs)
        self.transformer = _Transformer(config, dtype, rngs)
        self.ln_post = _norm(width, dtype=dtype, rngs=rngs)
        self.proj = nnx.Param(draw(rngs.params(), (width, config.outputs)))

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> class token and its projection [B,D] float32."""
        refuse_other_sizes(images, self.config, "CLIP ViT")
        x = self.conv1(images)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        first = at_least_float32(self.class_embedding[...])
        if self.cv_embed is not None:
            first = first + self.config.sie_factor * camera_rows(self.cv_embed[...], cameras)
        token = jnp.broadcast_to(first.astype(x.dtype), (x.shape[0], x.shape[2]))
        x = jnp.concatenate([token[:, None], x], axis=1)
        x = self.ln_pre(x + self.positional_embedding[...].astype(x.dtype))
        token = self.ln_post(self.transformer(x)[:, 0])
        # float32 at least: the projection is the head's, as far as precision goes.
        token = at_least_float32(token)
        return jnp.concatenate([token, token @ self.proj[...]], axis=1)
