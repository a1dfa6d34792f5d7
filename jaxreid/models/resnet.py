"""Residual networks with the layout of torchvision's state dict (v1.5: stride in the 3x3)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.activations import ACTIVATIONS, ActivationName
from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.instance_norm import IBN
from jaxreid.models.layers import Conv, max_pool
from jaxreid.models.non_local import NonLocal
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.pooling import GlobalPool, Pooling
from jaxreid.models.residual import block_maker, stage_of
from jaxreid.types import Array

__all__ = ["IBN_RESNETS", "NON_LOCAL_RESNETS", "RESNETS", "ResNet", "ResNetConfig"]


@dataclass(frozen=True)
class ResNetConfig(BackboneConfig):
    """Shape of a residual network.

    Args:
        block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1).
        depths: blocks of each stage; one to eight stages.
        widths: channels of the 3x3 convolutions of each stage.
        expansion: a bottleneck's output channels per channel of its 3x3; basic blocks have 1.
        stem: "imagenet" (7x7 convolution of stride 2, then 3x3 max pooling of stride 2) or "patch"
            (4x4 convolution of stride 4, no pooling: a matrix product, quick on a CPU).
        stem_width: channels after the stem.
        last_stride: stride of the last stage; 1 keeps twice the resolution, as many re-ID models.
        pool: where the stem's max pooling looks: "padded" (torchvision: one pixel around the
            image) or "ceil" (fast-reid: none, the last window may hang over the edge).
        stem_relu: whether a ReLU, or another activation, follows the stem; reid-strong-baseline's
            ResNets lack it.
        ibn: whether bn1 of every block, those of the last stage aside, is IBN-a: instance
            normalisation of half of the channels.
        non_local: for each stage, how many non-local blocks it has, one behind each of its last
            blocks; () for none.
        pooling: how the last map becomes one vector, see `jaxreid.models.pooling`.
        activation: what follows the norms of stem and blocks, "relu" or "silu"; heads keep theirs.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value, or depths and widths differ in length.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    expansion: int = 4
    stem: Literal["imagenet", "patch"] = "imagenet"
    stem_width: int = 64
    last_stride: int = 2
    pool: Literal["padded", "ceil"] = "padded"
    stem_relu: bool = True
    ibn: bool = False
    non_local: tuple[int, ...] = ()
    pooling: Pooling = "average"
    activation: ActivationName = "relu"

    def __post_init__(self) -> None:
        for name in ("depths", "widths", "non_local"):
            as_tuple(self, name)
        choices = {
            "block": (self.block, ("basic", "bottleneck")),
            "stem": (self.stem, ("imagenet", "patch")),
            "last_stride": (self.last_stride, (1, 2)),
            "pool": (self.pool, ("padded", "ceil")),
            "stem_relu": (self.stem_relu, (True, False)),
            "ibn": (self.ibn, (True, False)),
            "pooling": (self.pooling, get_args(Pooling)),
            "activation": (self.activation, get_args(ActivationName)),
            "non_local": (len(self.non_local), (0, len(self.depths))),
            "stages": (len(self.depths), tuple(range(1, 9))),
            "widths": (len(self.widths), (len(self.depths),)),
        }
        for name, (value, allowed) in choices.items():
            if value not in allowed:
                raise InputError(f"ResNet {name}: expected one of {allowed}, got {value!r}")
        sizes = (*self.depths, *self.widths, self.expansion, self.stem_width)
        # The bound keeps a forged file from asking for a network that never ends.
        if not all(isinstance(size, int) and 0 < size <= 1 << 14 for size in sizes):
            raise InputError(f"ResNet sizes must be integers from 1 to 16384, got {sizes}")
        if max(self.depths) > 256:
            raise InputError(f"ResNet stages have at most 256 blocks, got {self.depths}")
        if not all(
            isinstance(count, int) and 0 <= count <= depth
            for count, depth in zip(self.non_local, self.depths, strict=False)
        ):
            raise InputError(
                f"ResNet non_local: expected at most as many as blocks, {self.depths}, got "
                f"{self.non_local}"
            )

    @property
    def growth(self) -> int:
        """Channels that leave a block per channel of its 3x3 convolutions."""
        return self.expansion if self.block == "bottleneck" else 1

    @property
    def feature_size(self) -> int:
        """Channels after the last stage."""
        return self.widths[-1] * self.growth


# For CPUs: no small-channel convolutions (slow there), most of the work in matrix products.
_PATCH = ResNetConfig(depths=(1, 2, 2), widths=(64, 128, 256), expansion=2, stem="patch")

RESNETS = {
    "resnet18": ResNetConfig(block="basic", depths=(2, 2, 2, 2)),
    "resnet34": ResNetConfig(block="basic"),
    "resnet50": ResNetConfig(),
    "resnet101": ResNetConfig(depths=(3, 4, 23, 3)),
    "resnet152": ResNetConfig(depths=(3, 8, 36, 3)),
    "resnet_patch": _PATCH,
    "resnet_patch_wide": replace(_PATCH, widths=tuple(2 * width for width in _PATCH.widths)),
    "resnet_patch_deep": replace(_PATCH, depths=tuple(2 * depth for depth in _PATCH.depths)),
    "resnet_patch_silu": replace(_PATCH, activation="silu"),
}
"""name -> ResNetConfig."""

IBN_RESNETS = {
    f"{name}_ibn": replace(RESNETS[name], ibn=True)
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
}
"""name -> ResNetConfig with IBN-a, https://arxiv.org/abs/1807.09441."""

NON_LOCAL_RESNETS = {
    f"{name}_nl": replace(shape, non_local=(0, 2, looks, 0), pooling="gem-learnt")
    for depth, looks in (("resnet50", 3), ("resnet101", 9))
    for name, shape in ((depth, RESNETS[depth]), (f"{depth}_ibn", IBN_RESNETS[f"{depth}_ibn"]))
}
"""name -> ResNetConfig of AGW, https://arxiv.org/abs/2001.04193, and fast-reid's SBS."""


class ResNet(Backbone):
    """Residual network without a head: images to the last feature map, pooled.

    Source: He et al., Deep Residual Learning, https://arxiv.org/abs/1512.03385; the strides of
    https://docs.pytorch.org/vision/stable/models/resnet.html.

    Args:
        config: its shape.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters and statistics are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] with mean 0 and variance 1, statistics) -> [B,D] float32, D =
        config.feature_size.
    """

    def __init__(
        self,
        config: ResNetConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: ResNetConfig = config
        conv = partial(Conv, dtype=dtype, rngs=rngs)
        norm = partial(BatchNorm, axis_name=axis_name, dtype=dtype)
        ibn = partial(IBN, axis_name=axis_name, dtype=dtype)
        parts = partial(block_maker, conv=conv, norm=norm, activation=config.activation)
        if config.stem == "imagenet":
            self.conv1 = conv(3, config.stem_width, 7, stride=2, padding=3)
        else:
            self.conv1 = conv(3, config.stem_width, 4, stride=4)
        self.bn1 = norm(config.stem_width)
        channels = config.stem_width
        expansion = None if config.block == "basic" else config.expansion
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            last = stage == len(config.depths) - 1
            stride = 1 if stage == 0 else config.last_stride if last else 2
            first = ibn if config.ibn and not last else norm
            make = parts(expansion=expansion, first=first)
            grown = {"depth": depth, "stride": stride, "growth": config.growth}
            setattr(self, f"layer{stage + 1}", stage_of(make, channels, width, **grown))
            channels = width * config.growth
            if any(config.non_local[stage : stage + 1]):
                looks = [NonLocal(channels, conv, norm) for _ in range(config.non_local[stage])]
                setattr(self, f"NL_{stage + 1}", nnx.List(looks))
        self.pool_layer = GlobalPool(config.pooling)

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        act = ACTIVATIONS[self.config.activation]
        x = self.bn1(self.conv1(images), statistics)
        if self.config.stem_relu and not act.keeps_order:
            x = act.alone(x)
        if self.config.stem == "imagenet":
            # Before the ReLU: the two may change places, and it then has a quarter of the pixels.
            x = max_pool(x, padded=self.config.pool == "padded")
        if self.config.stem_relu and act.keeps_order:
            x = act.alone(x)
        for stage in range(1, len(self.config.depths) + 1):
            blocks, looks = getattr(self, f"layer{stage}"), getattr(self, f"NL_{stage}", [])
            for block in blocks[: len(blocks) - len(looks)]:
                x = block(x, statistics)
            for block, look in zip(blocks[len(blocks) - len(looks) :], looks, strict=True):
                x = look(block(x, statistics), statistics)
        return self.pool_layer(x)
