"""CLIP's ResNet as CLIP-ReID uses it, with the names of CLIP's state dict."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig, Part, refuse_other_sizes
from jaxreid.models.layers import Conv, average_pool, relu, relu_of_sum
from jaxreid.models.linear import Linear
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.transformer import attend
from jaxreid.types import Array

__all__ = ["CLIP_RESNETS", "CLIPResNet", "CLIPResNetConfig"]

_EXPANSION = 4
# Layer 4 has stride 1 in CLIP-ReID; plain CLIP has 2 there.
_STRIDES = (1, 2, 2, 1)


@dataclass(frozen=True)
class CLIPResNetConfig(BackboneConfig):
    """Shape of CLIP's ResNet with a last stage of stride 1.

    Args:
        width: channels after the stem, even; the stages have 1, 2, 4 and 8 times as many inside.
        depths: bottlenecks of each of the four stages.
        heads: of the attention pool; must divide 32 width.
        outputs: channels of the space that CLIP shares between images and texts.
        image_size: (height, width) of the images, in pixels; the attention pool's position
            embeddings belong to it.

    Returns:
        The configuration.

    Raises:
        InputError: a size is out of its range, or heads does not divide 32 width.
    """

    width: int = 64
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    heads: int = 32
    outputs: int = 1024
    image_size: tuple[int, int] = (256, 128)

    def __post_init__(self) -> None:
        for name in ("depths", "image_size"):
            as_tuple(self, name)
        sizes = (self.width, *self.depths, self.heads, self.outputs, *self.image_size)
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"CLIP ResNet sizes must be integers from 1 to 16384, got {sizes}")
        if len(self.depths) != len(_STRIDES) or max(self.depths) > 256:
            raise InputError(
                f"CLIP ResNets have four stages of at most 256 blocks, got {self.depths}"
            )
        if self.width % 2 or self.channels % self.heads:
            raise InputError(
                f"CLIP ResNet: the width must be even, and heads divide 32 times the width; got "
                f"{self.width} and {self.heads}"
            )
        if min(self.grid) < 1:
            raise InputError(f"CLIP ResNet images {self.image_size} are smaller than 16 pixels")

    @property
    def channels(self) -> int:
        """Channels of the last feature map."""
        return 8 * _EXPANSION * self.width

    @property
    def feature_size(self) -> int:
        """Channels of the mean and of the attention pool."""
        return self.channels + self.outputs

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mean over the last feature map, and the attention pool's output."""
        return Part(self.channels), Part(self.outputs)

    @property
    def positions(self) -> tuple[str, ...]:
        """The table beside whose first row, of the mean, are those of the map's places."""
        return ("attnpool", "positional_embedding")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the last feature map."""
        # The first convolution rounds up, the three average pools that halve round down.
        rows, columns = ((side + 1) // 2 // 8 for side in self.image_size)
        return rows, columns


CLIP_RESNETS = {"clip_rn50": CLIPResNetConfig()}
"""name -> CLIPResNetConfig, for images of 256x128 pixels."""


class _Bottleneck(nnx.Module):
    """A bottleneck whose strides are average pools before a 1x1 convolution (anti-aliased)."""

    def __init__(
        self, inputs: int, width: int, stride: int, *, conv: partial[Conv], norm: partial[BatchNorm]
    ) -> None:
        outputs = width * _EXPANSION
        self.conv1, self.bn1 = conv(inputs, width, 1), norm(width)
        self.conv2, self.bn2 = conv(width, width, 3, padding=1), norm(width)
        self.conv3, self.bn3 = conv(width, outputs, 1), norm(outputs)
        changes = stride > 1 or inputs != outputs
        self.downsample: nnx.List[nnx.Module] | None = (
            nnx.List([conv(inputs, outputs, 1), norm(outputs)]) if changes else None
        )
        self.stride = stride

    def __call__(self, x: Array, statistics: Statistics) -> Array:
        y = relu(self.bn1(self.conv1(x), statistics))
        y = relu(self.bn2(self.conv2(y), statistics))
        if self.stride > 1:
            x, y = average_pool(x), average_pool(y)
        y = self.bn3(self.conv3(y), statistics)
        if self.downsample is not None:
            conv, norm = self.downsample
            x = norm(conv(x), statistics)
        return relu_of_sum(x, y, per_pixel=True)


class _AttentionPool(nnx.Module):
    """One attention whose query is the mean over positions, which is the first key, too."""

    def __init__(self, config: CLIPResNetConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        width, (rows, columns) = config.channels, config.grid
        init = jax.nn.initializers.normal(width**-0.5)
        linear = partial(Linear, width, kernel_init=init, dtype=dtype, rngs=rngs)
        shape = (rows * columns + 1, width)
        self.positional_embedding = nnx.Param(init(rngs.params(), shape))
        self.q_proj, self.k_proj, self.v_proj = linear(width), linear(width), linear(width)
        self.c_proj = linear(config.outputs)
        self.heads = config.heads

    def __call__(self, x: Array) -> Array:
        """X [B,H,W,C] -> [B,outputs]."""
        B, _, _, C = x.shape
        tokens = x.reshape(B, -1, C)
        tokens = jnp.concatenate([tokens.mean(1, keepdims=True), tokens], axis=1)
        tokens = tokens + self.positional_embedding[...].astype(x.dtype)
        # Of CLIP's 1 + HW queries only the first one's output is used.
        query, key, value = (
            y.reshape(B, -1, self.heads, C // self.heads)
            for y in (self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens))
        )
        mixed = attend(query, key, value, scale=(C // self.heads) ** -0.5)
        return self.c_proj(mixed.reshape(B, C))


class CLIPResNet(Backbone):
    """CLIP's ResNet: images to the mean over the last feature map beside its attention pool.

    Three 3x3 convolutions for a stem, average pools in the place of strides, an attention pool at
    the end. Source: Radford et al., https://arxiv.org/abs/2103.00020, section 2.4; Li et al.,
    CLIP-ReID, https://arxiv.org/abs/2211.13977, for the last stride and the feature.

    Args:
        config: its shape.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters and statistics are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] with mean 0 and variance 1, statistics) -> [B,D] float32, D =
        32 config.width + config.outputs.
    """

    def __init__(
        self,
        config: CLIPResNetConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: CLIPResNetConfig = config
        conv = partial(Conv, dtype=dtype, rngs=rngs)
        norm = partial(BatchNorm, axis_name=axis_name, dtype=dtype)
        half = config.width // 2
        self.conv1, self.bn1 = conv(3, half, 3, stride=2, padding=1), norm(half)
        self.conv2, self.bn2 = conv(half, half, 3, padding=1), norm(half)
        self.conv3, self.bn3 = conv(half, config.width, 3, padding=1), norm(config.width)
        channels = config.width
        for stage, (depth, stride) in enumerate(zip(config.depths, _STRIDES, strict=True)):
            width = config.width << stage
            blocks = [_Bottleneck(channels, width, stride, conv=conv, norm=norm)]
            channels = width * _EXPANSION
            blocks += [
                _Bottleneck(channels, width, 1, conv=conv, norm=norm) for _ in range(depth - 1)
            ]
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))
        self.attnpool = _AttentionPool(config, dtype, rngs)

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> mean and attention pool [B,D] float32."""
        refuse_other_sizes(images, self.config, "CLIP ResNet")
        x = images
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = relu(norm(conv(x), statistics))
        x = average_pool(x)
        for stage in range(len(_STRIDES)):
            for block in getattr(self, f"layer{stage + 1}"):
                x = block(x, statistics)
        at_least = jnp.promote_types(x.dtype, jnp.float32)
        attended = self.attnpool(x).astype(at_least)
        return jnp.concatenate([x.astype(at_least).mean((1, 2)), attended], axis=1)
