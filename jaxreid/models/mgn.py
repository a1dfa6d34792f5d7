"""MGN: three branches over one trunk, and eight vectors of whole maps and of their stripes."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxreid.checks import as_tuple
from jaxreid.errors import InputError
from jaxreid.models.backbone import Backbone, BackboneConfig, Part
from jaxreid.models.instance_norm import IBN
from jaxreid.models.layers import Conv, max_pool, relu
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.pooling import GlobalPool, Pooling
from jaxreid.models.residual import block_maker, stage_of
from jaxreid.models.resnet import ResNetConfig
from jaxreid.types import Array

__all__ = ["MGN", "MGNS", "PARTS", "MGNConfig"]

PARTS = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
"""The vectors in their order: bI of the whole map of branch I, bIJ of its J-th stripe."""


@dataclass(frozen=True)
class MGNConfig(BackboneConfig):
    """Shape of a Multiple Granularity Network of bottlenecks, as fast-reid builds it.

    Args:
        depths: blocks of each of the four stages. The first block of the third ends the trunk: its
            other blocks, and the fourth stage, are in each branch; the second and third branch
            have a fourth stage of three blocks.
        widths: channels of the 3x3 convolutions of each stage.
        expansion: a block's output channels per channel of its 3x3.
        stem_width: channels after the stem.
        pool: see ResNetConfig.
        ibn: see ResNetConfig.
        pooling: of every map and stripe, see `jaxreid.models.pooling`.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    expansion: int = 4
    stem_width: int = 64
    pool: Literal["padded", "ceil"] = "ceil"
    ibn: bool = False
    pooling: Pooling = "gem-learnt"

    def __post_init__(self) -> None:
        for name in ("depths", "widths"):
            as_tuple(self, name)
        if len(self.depths) != 4 or len(self.widths) != 4:
            raise InputError(f"MGN has four stages, got depths {self.depths}, widths {self.widths}")
        ResNetConfig(**vars(self), last_stride=1)
        if self.depths[2] < 2:
            raise InputError(f"MGN: the third stage has two blocks at least, got {self.depths}")

    @property
    def parts(self) -> tuple[Part, ...]:
        """Eight vectors of the last stage's channels."""
        return (Part(self.widths[3] * self.expansion),) * len(PARTS)

    @property
    def feature_size(self) -> int:
        """Channels of the eight."""
        return sum(part.size for part in self.parts)


MGNS = {
    "mgn_resnet50": MGNConfig(),
    "mgn_resnet50_ibn": MGNConfig(ibn=True),
    "mgn_resnet101": MGNConfig(depths=(3, 4, 23, 3)),
    "mgn_resnet101_ibn": MGNConfig(depths=(3, 4, 23, 3), ibn=True),
}
"""name -> MGNConfig."""


class MGN(Backbone):
    """Multiple Granularity Network without its heads: images to eight pooled vectors.

    Source: Wang et al., https://arxiv.org/abs/1804.01438, figure 3, with fast-reid's branches: the
    last stage keeps the resolution in all three, and the second and third pool their whole maps and
    2 and 3 stripes of the same maps.

    Args:
        config: its shape.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        dtype: of the computation; parameters and statistics are float32.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] with mean 0 and variance 1, statistics) -> [B,D] float32, D =
        config.feature_size, the vectors in the order of PARTS.

    Raises:
        InputError: when called with images whose last map has too few rows for three stripes.
    """

    def __init__(
        self,
        config: MGNConfig,
        *,
        axis_name: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.config: MGNConfig = config
        conv = partial(Conv, dtype=dtype, rngs=rngs)
        norm = partial(BatchNorm, axis_name=axis_name, dtype=dtype)
        first = partial(IBN, axis_name=axis_name, dtype=dtype) if config.ibn else norm
        bottleneck = partial(block_maker, expansion=config.expansion, conv=conv, norm=norm)
        make, make_last = bottleneck(first=first), bottleneck(first=norm)
        stage = partial(stage_of, growth=config.expansion)
        outputs = [width * config.expansion for width in config.widths]
        self.conv1 = conv(3, config.stem_width, 7, stride=2, padding=3)
        self.bn1 = norm(config.stem_width)
        self.layer1 = stage(
            make, config.stem_width, config.widths[0], depth=config.depths[0], stride=1
        )
        self.layer2 = stage(make, outputs[0], config.widths[1], depth=config.depths[1], stride=2)
        self.layer3 = make(outputs[1], config.widths[2], 2)
        for branch in (1, 2, 3):
            # The rest of the third stage is a stage whose first block changes nothing of the shape.
            more = stage(make, outputs[2], config.widths[2], depth=config.depths[2] - 1, stride=1)
            last = stage(
                make_last,
                outputs[2],
                config.widths[3],
                depth=config.depths[3] if branch == 1 else 3,
                stride=1,
            )
            setattr(self, f"b{branch}", nnx.List([more, last]))
        self.pools = nnx.List([GlobalPool(config.pooling) for _ in PARTS])

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Images [B,H,W,3] -> pooled features [B,D] float32."""
        x = self.bn1(self.conv1(images), statistics)
        x = relu(max_pool(x, padded=self.config.pool == "padded"))
        for block in (*self.layer1, *self.layer2, self.layer3):
            x = block(x, statistics)
        maps = [_run(getattr(self, f"b{branch}"), x, statistics) for branch in (1, 2, 3)]
        stripes = [*_stripes(maps[1], 2), *_stripes(maps[2], 3)]
        pooled = [pool(y) for pool, y in zip(self.pools, (*maps, *stripes), strict=True)]
        return jnp.concatenate(pooled, axis=1)


def _run(branch: nnx.List[Any], x: Array, statistics: Statistics) -> Array:
    for stage in branch:
        for block in stage:
            x = block(x, statistics)
    return x


def _stripes(x: Array, count: int) -> list[Array]:
    """Cuts [B,H,W,C] along H as torch.chunk does: ceil(H / count) rows, the last may have fewer."""
    rows = -(-x.shape[1] // count)
    edges = [*range(0, x.shape[1], rows), x.shape[1]]
    if len(edges) != count + 1:
        raise InputError(
            f"the last map has {x.shape[1]} rows, which do not make {count} stripes: MGN takes "
            "higher images (384x128)"
        )
    return [x[:, top:bottom] for top, bottom in pairwise(edges)]
