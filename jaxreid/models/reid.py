"""A re-ID network: normalise the pixels, run a backbone, apply one of the heads."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.config import ARCHITECTURES, IMAGENET_MEAN, IMAGENET_STD, Head, ModelConfig
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.resnet import ResNet, ResNetConfig
from jaxreid.models.vit import VisionTransformer, ViTConfig
from jaxreid.types import Array

__all__ = ["Outputs", "ReID", "create"]


class Outputs(NamedTuple):
    """What a re-ID network says of a batch.

    Attributes:
        features: [B,D] float32, what retrieval compares.
        logits: [B,classes] float32, or None where the head has no classifier.
    """

    features: Array
    logits: Array | None


_MakeNorm = Callable[[int], BatchNorm]


class _Classification(nnx.Module):
    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        self.neck = norm(config.backbone.feature_size)
        self.classifier = _classifier(config, rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        features = self.neck(pooled, statistics)
        return Outputs(features, self.classifier(features))


class _Triplet(nnx.Module):
    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        size = config.backbone.feature_size
        self.neck = norm(size)
        init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        self.projection = nnx.Linear(size, config.dimensions, kernel_init=init, rngs=rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(self.projection(nnx.relu(self.neck(pooled, statistics))), None)


class _Linear(nnx.Module):
    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        self.classifier = _classifier(config, rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(pooled, self.classifier(pooled))


class _NoHead(nnx.Module):
    def __init__(self, config: ModelConfig, norm: _MakeNorm, rngs: nnx.Rngs) -> None:
        pass

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(pooled, None)


_HEADS: dict[Head, Callable[[ModelConfig, _MakeNorm, nnx.Rngs], nnx.Module]] = {
    "classification": _Classification,
    "triplet": _Triplet,
    "linear": _Linear,
    "none": _NoHead,
}


def _classifier(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        config.backbone.feature_size,
        config.classes or 0,
        use_bias=config.classifier_bias,
        kernel_init=jax.nn.initializers.normal(0.001),
        rngs=rngs,
    )


class ReID(nnx.Module):
    """Images in [0, 1] to features and logits.

    x = (resize(images) - mean) / std in float32, then backbone and head. The pixels are normalised
    inside, so that an attack's eps means the same for every network.

    Args:
        config: what to build.
        dtype: of the backbone's computation (float32 or bfloat16); parameters, BatchNorm
            statistics, head and outputs are float32.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] floating point in [0, 1], batch_norm="running" or "batch") ->
        Outputs. With "batch", the call updates the running statistics in place.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        dtype: jnp.dtype = jnp.float32,
        axis_name: str | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.config = config
        if isinstance(config.backbone, ResNetConfig):
            self.backbone: ResNet | VisionTransformer = ResNet(
                config.backbone, axis_name=axis_name, dtype=dtype, rngs=rngs
            )
        else:
            self.backbone = VisionTransformer(config.backbone, dtype=dtype, rngs=rngs)
        # float32 at least: the backbone's half precision stops here.
        at_least = jnp.promote_types(dtype, jnp.float32)
        norm = partial(BatchNorm, axis_name=axis_name, dtype=at_least)
        self.head = _HEADS[config.head](config, norm, rngs)

    def __call__(self, images: Array, *, batch_norm: Statistics = "running") -> Outputs:
        """Images [B,H,W,3] in [0, 1] -> Outputs."""
        x = self._pixels(images)
        if isinstance(self.backbone, ResNet):
            return self.head(self.backbone(x, batch_norm), batch_norm)
        return self.head(self.backbone(x), batch_norm)

    def _pixels(self, images: Array) -> Array:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(
                f"expected images [B,H,W,3] (3 channels, last), got shape {tuple(images.shape)}"
            )
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(
                f"expected floating-point images in [0, 1], got {images.dtype}; divide by 255"
            )
        x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
        resize = self.config.resize
        if resize is not None and tuple(x.shape[1:3]) != tuple(resize):
            # Antialiased, as PIL and torchvision resize.
            x = jax.image.resize(x, (x.shape[0], *resize, 3), "bilinear", antialias=True)
        return (x - jnp.array(self.config.mean, x.dtype)) / jnp.array(self.config.std, x.dtype)


def create(
    architecture: str | ResNetConfig | ViTConfig = "resnet50",
    *,
    head: Head = "classification",
    classes: int | None = None,
    dimensions: int = 128,
    last_stride: int | None = None,
    image_size: tuple[int, int] | None = None,
    resize: tuple[int, int] | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs,
) -> ReID:
    """Builds a re-ID network with fresh weights.

    Args:
        architecture: a key of ARCHITECTURES, or the shape of a backbone.
        head: see ModelConfig.
        classes: training identities, for the heads "classification" and "linear".
        dimensions: size of the triplet head's feature.
        last_stride: 1 or 2, stride of a ResNet's last stage; the architecture's own by default.
        image_size: (height, width) in pixels of a ViT's images; the architecture's own by default.
        resize: (height, width) in pixels to which images are resized inside, or None.
        mean: of each channel of images in [0, 1]; ImageNet's by default.
        std: of each channel of images in [0, 1]; ImageNet's by default.
        dtype: of the backbone's computation, float32 or bfloat16.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of the initial parameters, `nnx.Rngs(seed)`.

    Returns:
        The network, a Flax NNX module.

    Raises:
        InputError: an unknown architecture, or an option it does not have.
    """
    if isinstance(architecture, str):
        if architecture not in ARCHITECTURES:
            raise InputError(
                f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}"
            )
        architecture = ARCHITECTURES[architecture]
    if last_stride is not None:
        if not isinstance(architecture, ResNetConfig):
            raise InputError("last_stride belongs to ResNets; a ViT has none")
        architecture = dataclasses.replace(architecture, last_stride=last_stride)
    if image_size is not None:
        if not isinstance(architecture, ViTConfig):
            raise InputError("image_size belongs to ViTs; a ResNet takes any (see resize)")
        architecture = dataclasses.replace(architecture, image_size=image_size)
    config = ModelConfig(
        backbone=architecture,
        head=head,
        classes=classes if head in ("classification", "linear") else None,
        dimensions=dimensions,
        mean=mean,
        std=std,
        resize=resize,
    )
    return ReID(config, dtype=dtype, axis_name=axis_name, rngs=rngs)
