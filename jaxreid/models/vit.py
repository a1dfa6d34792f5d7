"""Vision transformers with the layout of DeiT and the names of timm's state dict."""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig, refuse_other_sizes
from jaxreid.models.cameras import camera_rows
from jaxreid.models.normalization import Statistics
from jaxreid.models.patches import ConvStem, PatchEmbed
from jaxreid.models.standardization import LayerNorm
from jaxreid.models.transformer import Block, BlockShape
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["VITS", "Trunk", "ViTConfig", "VisionTransformer"]

_LARGEST = 1 << 14  # keeps a forged file from asking for a network that never ends


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
        stride: pixels from one patch to the next, at most patch; None for patch.
        stem: what makes patches of pixels: "linear", or "convolutional" (three convolutions before
            it, with IBN; TransReID-SSL's).
        stem_width: channels of the convolutional stem.
        qkv_bias: whether queries, keys and values have a bias.
        scale: of the products of queries and keys; None for (width / heads)^-0.5.
        epsilon: of the layer normalisations.
        cameras: camera embeddings, added to all tokens (TransReID's side information); where an
            embedding belongs to a camera and a view, cameras x views, and an image's camera is
            camera * views + view.
        sie_factor: what multiplies them; None without camera embeddings.

    Returns:
        The configuration.

    Raises:
        InputError: a size is not a positive integer, or heads does not divide width, or another
            field has an impossible value.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 16
    image_size: tuple[int, int] = (224, 224)
    mlp_ratio: float = 4
    stride: int | None = None
    stem: Literal["linear", "convolutional"] = "linear"
    stem_width: int = 64
    qkv_bias: bool = True
    scale: float | None = None
    epsilon: float = 1e-6
    cameras: int = 0
    sie_factor: float | None = None

    def __post_init__(self) -> None:
        as_tuple(self, "image_size")
        blocks = (self.width, self.depth, self.heads)
        sizes = (*blocks, self.patch, *self.image_size, self.step, self.stem_width)
        if not all(isinstance(size, int) and 0 < size <= _LARGEST for size in sizes):
            raise InputError(f"ViT sizes must be integers from 1 to {_LARGEST}, got {sizes}")
        numbers = {"mlp_ratio": self.mlp_ratio, "epsilon": self.epsilon, "scale": self.scale}
        for name, value in numbers.items():
            if value is not None and not (_is_number(value) and 0 < value <= 64):
                raise InputError(f"ViT {name}: expected a number above 0, up to 64, got {value!r}")
        if self.width % self.heads:
            raise InputError(f"ViT: {self.heads} heads do not divide a width of {self.width}")
        if self.depth > 256:
            raise InputError(f"ViT has at most 256 blocks, got {self.depth}")
        if min(self.image_size) < self.patch:
            raise InputError(f"ViT images {self.image_size} are smaller than a {self.patch} patch")
        if self.step > self.patch:
            raise InputError(f"ViT: a stride of {self.step} is longer than a {self.patch} patch")
        self._check_stem()
        self._check_cameras()

    def _check_stem(self) -> None:
        if self.stem not in ("linear", "convolutional"):
            raise InputError(f"ViT stem: expected linear or convolutional, got {self.stem!r}")
        if self.stem == "convolutional" and (self.patch % 2 or self.step != self.patch):
            raise InputError(
                "ViT: a convolutional stem has patches of an even side that do not overlap, got "
                f"patch {self.patch} and stride {self.step}"
            )

    def _check_cameras(self) -> None:
        if not (isinstance(self.cameras, int) and 0 <= self.cameras <= _LARGEST):
            raise InputError(f"ViT cameras: expected an integer from 0, got {self.cameras!r}")
        if not self.cameras and self.sie_factor is not None:
            raise InputError("sie_factor belongs to networks with camera embeddings; here are none")
        if self.cameras and not (_is_number(self.sie_factor) and abs(self.sie_factor) < math.inf):
            raise InputError(
                f"camera embeddings need sie_factor, a number; got {self.sie_factor!r}"
            )

    @property
    def feature_size(self) -> int:
        """Channels of the class token."""
        return self.width

    @property
    def step(self) -> int:
        """Pixels from one patch to the next."""
        return self.patch if self.stride is None else self.stride

    @property
    def positions(self) -> tuple[str, ...]:
        """The table beside whose first row, of the class token, are those of the patches."""
        return ("pos_embed",)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches; pixels that fill no patch are cut off, as in PyTorch."""
        if self.stem == "convolutional":
            rows, columns = (-(-side // 2) // (self.patch // 2) for side in self.image_size)
        else:
            rows, columns = ((side - self.patch) // self.step + 1 for side in self.image_size)
        return rows, columns

    @property
    def block(self) -> BlockShape:
        """Of every block."""
        scale = (self.width // self.heads) ** -0.5 if self.scale is None else self.scale
        hidden = round(self.width * self.mlp_ratio)
        return BlockShape(self.width, self.heads, hidden, self.qkv_bias, scale, self.epsilon)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SMALL = ViTConfig(width=384, heads=6)
_BASE = ViTConfig(width=768, heads=12)

VITS = {
    "vit_small": _SMALL,
    "vit_base": _BASE,
    "deit_tiny": ViTConfig(width=192, heads=3),
    "deit_small": _SMALL,
    "deit_base": _BASE,
    # What TransReID calls vit_small.
    "transreid_vit_small": ViTConfig(
        width=768, depth=8, heads=8, mlp_ratio=3, qkv_bias=False, scale=768**-0.5
    ),
    "vit_small_ics": ViTConfig(width=384, heads=6, stem="convolutional"),
}
"""name -> ViTConfig, for images of 224x224 pixels; ViT-S and ViT-B have the shapes of DeiT's."""


class Trunk(Backbone):
    """From images to tokens: all of a vision transformer but its last normalisation.

    Args:
        config: its shape.
        depth: blocks.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: images [B,H,W,3] with mean 0 and variance 1 -> tokens [B,1+h*w,D], the class
        token first.
    """

    def __init__(
        self,
        config: ViTConfig,
        *,
        depth: int,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: ViTConfig = config
        self.dtype = dtype
        init = jax.nn.initializers.truncated_normal(0.02)
        (rows, columns), width = config.grid, config.width
        self.cls_token = nnx.Param(init(rngs.params(), (1, 1, width)))
        self.pos_embed = nnx.Param(init(rngs.params(), (1, rows * columns + 1, width)))
        if config.cameras:
            self.sie_embed = nnx.Param(init(rngs.params(), (config.cameras, 1, width)))
        self.patch_embed = _stem(config, axis_name, dtype, rngs)
        options: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.blocks = nnx.List([Block(config.block, **options) for _ in range(depth)])

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> tokens [B,1+h*w,D]."""
        return self.tokens(images, statistics, cameras)

    def tokens(
        self,
        images: Array,
        statistics: Statistics,
        cameras: Array | None,
        *,
        outputs: int | None = None,
    ) -> Array:
        """Images [B,H,W,3] -> tokens [B,1+h*w,D], or the first ones alone, [B,outputs,D]."""
        refuse_other_sizes(images, self.config, "ViT")
        x = self.patch_embed(images, statistics)
        token = self.cls_token[...].astype(x.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, x.shape[2])), x], axis=1)
        x = x + self.pos_embed[...].astype(x.dtype)
        if self.config.cameras:
            side = (self.config.sie_factor or 0) * camera_rows(self.sie_embed[...], cameras)
            x = x + side.astype(x.dtype)
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            # What the last block would make of other tokens is not computed.
            x = block(x, outputs if number == last else None)
        return x


def _stem(
    config: ViTConfig, axis_name: str | None, dtype: jnp.dtype, rngs: nnx.Rngs
) -> PatchEmbed | ConvStem:
    if config.stem == "linear":
        return PatchEmbed(
            config.width, patch=config.patch, stride=config.step, dtype=dtype, rngs=rngs
        )
    return ConvStem(
        config.width,
        patch=config.patch,
        channels=config.stem_width,
        axis_name=axis_name,
        dtype=dtype,
        rngs=rngs,
    )


class VisionTransformer(Trunk):
    """Vision transformer without a head: images to the normalised class token.

    Source: Touvron et al., Training data-efficient image transformers,
    https://arxiv.org/abs/2012.12877 (without distillation token); names of
    https://huggingface.co/timm/deit_small_patch16_224.fb_in1k. Camera embeddings are added to all
    tokens: He et al., TransReID, section 3.3, https://arxiv.org/abs/2102.04378.

    Args:
        config: its shape.
        axis_name: mapped axis over which a convolutional stem's batch statistics are shared.
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
        super().__init__(config, depth=config.depth, axis_name=axis_name, dtype=dtype, rngs=rngs)
        self.norm = LayerNorm(config.width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> class token [B,D] float32."""
        # The norm is token by token: of one token it is that of all.
        token = self.norm(self.tokens(images, statistics, cameras, outputs=1)[:, 0])
        return at_least_float32(token)
