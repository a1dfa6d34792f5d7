"""A re-ID network: normalise the pixels, run a backbone, apply one of the heads."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.errors import InputError
from jaxreid.models.normalization import BatchNorm, Statistics
from jaxreid.models.resnet import RESNETS, ResNet, ResNetConfig
from jaxreid.models.tuples import as_tuple
from jaxreid.models.vit import VITS, VisionTransformer, ViTConfig
from jaxreid.types import Array

__all__ = ["ARCHITECTURES", "Head", "ModelConfig", "Outputs", "ReID", "create"]

ARCHITECTURES: dict[str, ResNetConfig | ViTConfig] = {**RESNETS, **VITS}
"""name -> shape of a backbone; the names that `create` takes."""

Head = Literal["classification", "triplet", "linear", "none"]
"""See ModelConfig."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Outputs(NamedTuple):
    """What a re-ID network says of a batch.

    Attributes:
        features: [B,D] float32, what retrieval compares.
        logits: [B,classes] float32, or None where the head has no classifier.
    """

    features: Array
    logits: Array | None


@dataclass(frozen=True)
class ModelConfig:
    """Everything that makes a network but its weights.

    Args:
        backbone: shape of the backbone.
        head: "classification" (the feature is a BatchNorm of the pooled map, a linear layer on it
            gives logits), "triplet" (BatchNorm, ReLU, linear: the feature), "linear" (the feature
            is the pooled map, a linear layer on it gives logits; torchvision, torchreid) or "none"
            (the feature is the pooled map).
        classes: training identities, for the heads with logits.
        dimensions: size of the triplet head's feature.
        classifier_bias: whether the linear layer of logits has a bias.
        mean: of each channel, subtracted from images in [0, 1].
        std: of each channel, then divided by.
        resize: (height, width) in pixels to which images are resized first, or None.
        training_size: (height, width) in pixels of the images it was trained on, or None where
            nothing says so; changes nothing of what is computed.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value.
    """

    backbone: ResNetConfig | ViTConfig
    head: Head = "classification"
    classes: int | None = None
    dimensions: int = 128
    classifier_bias: bool = True
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    resize: tuple[int, int] | None = None
    training_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std", "resize", "training_size"):
            as_tuple(self, name)
        if self.head not in _HEADS:
            raise InputError(f"head: expected one of {sorted(_HEADS)}, got {self.head!r}")
        if self.has_logits and not (isinstance(self.classes, int) and self.classes > 0):
            raise InputError(
                f"the head {self.head!r} needs classes, the number of training identities; got "
                f"{self.classes!r}"
            )
        if not (isinstance(self.dimensions, int) and self.dimensions > 0):
            raise InputError(f"dimensions must be a positive integer, got {self.dimensions!r}")
        numbers = (*self.mean, *self.std)
        if (
            len(self.mean) != 3
            or len(self.std) != 3
            or not all(map(math.isfinite, numbers))
            or min(self.std) <= 0
        ):
            raise InputError(
                f"mean and std need three numbers each, std above 0; got {self.mean}, {self.std}"
            )
        for name in ("resize", "training_size"):
            size = getattr(self, name)
            if size is not None and not (
                len(size) == 2
                and all(type(side) is int and 0 < side <= LONGEST_STORED_SIDE for side in size)
            ):
                raise InputError(
                    f"{name} must be (height, width), integers from 1 to {LONGEST_STORED_SIDE}, "
                    f"got {size}"
                )

    @property
    def has_logits(self) -> bool:
        """Whether the head has a classifier."""
        return self.head in ("classification", "linear")

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the images it was made for; None where nothing says so."""
        if isinstance(self.backbone, ResNetConfig):
            return self.training_size
        # A transformer that resizes inside was trained on images of any size.
        return (self.resize and self.training_size) or self.backbone.image_size

    @property
    def feature_size(self) -> int:
        """D of the features."""
        return self.dimensions if self.head == "triplet" else self.backbone.feature_size


class _Classification(nnx.Module):
    def __init__(
        self, config: ModelConfig, dtype: jnp.dtype, axis_name: str | None, rngs: nnx.Rngs
    ) -> None:
        size = config.backbone.feature_size
        self.neck = BatchNorm(size, axis_name=axis_name, dtype=dtype)
        self.classifier = _classifier(config, rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        features = self.neck(pooled, statistics)
        return Outputs(features, self.classifier(features))


class _Triplet(nnx.Module):
    def __init__(
        self, config: ModelConfig, dtype: jnp.dtype, axis_name: str | None, rngs: nnx.Rngs
    ) -> None:
        size = config.backbone.feature_size
        self.neck = BatchNorm(size, axis_name=axis_name, dtype=dtype)
        init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        self.projection = nnx.Linear(size, config.dimensions, kernel_init=init, rngs=rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(self.projection(nnx.relu(self.neck(pooled, statistics))), None)


class _Linear(nnx.Module):
    def __init__(
        self, config: ModelConfig, dtype: jnp.dtype, axis_name: str | None, rngs: nnx.Rngs
    ) -> None:
        self.classifier = _classifier(config, rngs)

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(pooled, self.classifier(pooled))


class _NoHead(nnx.Module):
    def __init__(
        self, config: ModelConfig, dtype: jnp.dtype, axis_name: str | None, rngs: nnx.Rngs
    ) -> None:
        pass

    def __call__(self, pooled: Array, statistics: Statistics) -> Outputs:
        return Outputs(pooled, None)


_HEADS: dict[str, Callable[..., nnx.Module]] = {
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
        self.head = _HEADS[config.head](config, at_least, axis_name, rngs)

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
    mean: tuple[float, ...] = _IMAGENET_MEAN,
    std: tuple[float, ...] = _IMAGENET_STD,
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
