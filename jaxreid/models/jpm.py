"""TransReID's vision transformer with a jigsaw patch module: one global feature, four local."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, Part
from jaxreid.models.normalization import Statistics
from jaxreid.models.standardization import LayerNorm
from jaxreid.models.transformer import Block
from jaxreid.models.vit import Trunk, ViTConfig
from jaxreid.precision import at_least_float32
from jaxreid.types import Array

__all__ = ["JPMS", "JPMConfig", "JigsawTransformer", "jigsaw"]

_PARTS = 4
# TransReID's SHIFT_NUM of 5 counts from the class token: its patches move by one less.
_SHIFT = 4
_GROUPS = 2


@dataclass(frozen=True)
class JPMConfig(ViTConfig):
    """Shape of a vision transformer with a jigsaw patch module; depth counts the last block.

    Args:
        width: see ViTConfig, as all that follows.
        depth: blocks that an image goes through: all but one of them belong to both branches.
        heads: see ViTConfig.
        patch: see ViTConfig.
        image_size: see ViTConfig.
        mlp_ratio: see ViTConfig.
        stride: see ViTConfig.
        stem: see ViTConfig.
        stem_width: see ViTConfig.
        qkv_bias: see ViTConfig.
        scale: see ViTConfig.
        epsilon: see ViTConfig.
        cameras: see ViTConfig.
        sie_factor: see ViTConfig.

    Returns:
        The configuration.

    Raises:
        InputError: as of ViTConfig, or there are fewer patches than parts.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        rows, columns = self.grid
        if rows * columns < _PARTS + _SHIFT:
            raise InputError(
                f"the jigsaw patch module needs {_PARTS + _SHIFT} patches, got {rows}x{columns}"
            )

    @property
    def feature_size(self) -> int:
        """Channels of the global and the local features."""
        return (1 + _PARTS) * self.width

    @property
    def parts(self) -> tuple[Part, ...]:
        """The global feature, then the local ones, which share the weight of one."""
        return (Part(self.width), *[Part(self.width, 1 / _PARTS)] * _PARTS)

    @property
    def positions(self) -> tuple[str, ...]:
        """The table of the trunk, which lies beside the branches."""
        return "base", "pos_embed"


JPMS = {"vit_base_jpm": JPMConfig(width=768, heads=12)}
"""name -> JPMConfig, for images of 224x224 pixels."""


def jigsaw(tokens: Array) -> list[Array]:
    """Shuffles an image's patches and deals them out to four parts.

    The n patches are rotated left by 4 to s and interleaved to q: q[2i] = s[i],
    q[2i+1] = s[m/2 + i], with m = n, or n + 1 where n is odd, the last but one of s once more at
    the end. Part k is q[k L] to q[k L + L - 1] with L = floor(n / 4).

    Source: He et al., TransReID, section 3.2, https://arxiv.org/abs/2102.04378.

    Args:
        tokens: [B,n,D], of the patches in row-major order; n at least 8.

    Returns:
        Four arrays [B,L,D].
    """
    count, length = tokens.shape[1], tokens.shape[1] // _PARTS
    order = [*range(_SHIFT, count), *range(_SHIFT)]
    order += order[-2:-1] * (-count % _GROUPS)
    each = len(order) // _GROUPS
    shuffled = jnp.array([order[g * each + i] for i in range(each) for g in range(_GROUPS)])
    return [tokens[:, shuffled[k * length : (k + 1) * length]] for k in range(_PARTS)]


class JigsawTransformer(Backbone):
    """TransReID with its jigsaw patch module: the last block runs on all patches, and on parts.

    With T the tokens after all blocks but one: the global feature is the class token of b1(T); a
    local one that of b2(class token of T, patches of the part), b1 and b2 a block and a layer
    normalisation each. Attributes have the names of TransReID's files.

    Source: He et al., section 3.2, https://arxiv.org/abs/2102.04378.

    Args:
        config: its shape.
        axis_name: mapped axis over which a convolutional stem's batch statistics are shared.
        dtype: of the computation; parameters are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: images [B,H,W,3] with mean 0 and variance 1 -> [B,5D] float32, D = config.width.
    """

    def __init__(
        self,
        config: JPMConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: JPMConfig = config
        options: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.base = Trunk(config, depth=config.depth - 1, axis_name=axis_name, **options)
        self.b1, self.b2 = (
            nnx.List(
                [
                    Block(config.block, **options),
                    LayerNorm(config.width, epsilon=config.epsilon, **options),
                ]
            )
            for _ in range(2)
        )

    def __call__(
        self, images: Array, statistics: Statistics = "running", cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> the global and four local class tokens side by side, [B,5D]."""
        tokens = self.base(images, statistics, cameras)
        # Of both branches only the class token counts, and norms are token by token.
        features = [self.b1[1](self.b1[0](tokens, 1)[:, 0])]
        parts = jnp.stack(jigsaw(tokens[:, 1:]), 1)
        B, _, length, D = parts.shape
        heads = jnp.broadcast_to(tokens[:, None, :1], (B, _PARTS, 1, D))
        parts = jnp.concatenate([heads, parts], 2).reshape(B * _PARTS, 1 + length, D)
        features.append(self.b2[1](self.b2[0](parts, 1)[:, 0]).reshape(B, _PARTS * D))
        pooled = jnp.concatenate(features, 1)
        return at_least_float32(pooled)
