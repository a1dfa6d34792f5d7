"""A re-ID network: normalise the pixels, run a backbone, apply one of the heads."""

import dataclasses
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.cameras import rows_of_cameras
from jaxreid.models.config import IMAGENET_MEAN, IMAGENET_STD, Head, ModelConfig
from jaxreid.models.heads import Outputs, make_head
from jaxreid.models.kinds import ARCHITECTURES, KINDS, kind_of
from jaxreid.models.normalization import Statistics
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.pixels import float_images
from jaxreid.models.resnet import ResNetConfig
from jaxreid.types import Array

__all__ = ["ReID", "create"]


class ReID(nnx.Module):
    """Images in [0, 1] to features and logits.

    x = (colours(crop(resize(images))) - mean) / std in float32, then backbone and head. All of it
    is inside, so that an attack's eps means the same for every network.

    Args:
        config: what to build.
        dtype: of the backbone's computation (float32 or bfloat16); parameters, BatchNorm
            statistics, head and outputs are float32.
        axis_name: mapped axis over which BatchNorm's batch statistics are shared.
        rngs: source of the initial parameters.

    Returns:
        A module: (images [B,H,W,3] floating point in [0, 1], batch_norm="running" or "batch",
        cameras=None) -> Outputs. With "batch", the call updates the running statistics in place.
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
        build = KINDS[kind_of(config.backbone)].build
        self.backbone = build(config.backbone, axis_name=axis_name, dtype=dtype, rngs=rngs)
        # float32 at least: the backbone's half precision stops here.
        at_least = jnp.promote_types(dtype, jnp.float32)
        self.head = make_head(config, dtype=at_least, axis_name=axis_name, rngs=rngs)

    def __call__(
        self,
        images: Array,
        *,
        batch_norm: Statistics = "running",
        cameras: Array | None = None,
    ) -> Outputs:
        """Images [B,H,W,3] in [0, 1] -> Outputs; `cameras` int32 [B] from 0, as datasets have."""
        if cameras is not None:
            around = self._around
            cameras = rows_of_cameras(cameras, around.first_camera, around.views)
        pooled = self.backbone(self._pixels(images), batch_norm, cameras)
        return self.head(pooled, batch_norm)

    @property
    def cameras(self) -> int:
        """How many cameras it tells apart.

        Returns:
            The number; 0 where the feature does not depend on the camera.
        """
        around = self._around
        return max(self.config.backbone.cameras - around.first_camera, 0) // around.views

    @property
    def _around(self) -> Pipeline:
        """What says which rows of the camera embeddings a camera has."""
        return self.config.pipeline or Pipeline()

    def _pixels(self, images: Array) -> Array:
        x = float_images(images)
        resize = self.config.resize
        if resize is not None and tuple(x.shape[1:3]) != tuple(resize):
            # Antialiased, as PIL and torchvision resize.
            x = jax.image.resize(x, (x.shape[0], *resize, 3), "bilinear", antialias=True)
        if self.config.crop is not None:
            x = _centre(x, self.config.crop)
        if self.config.colours == "BGR":
            x = x[..., ::-1]
        return (x - jnp.array(self.config.mean, x.dtype)) / jnp.array(self.config.std, x.dtype)


def _centre(images: Array, size: tuple[int, int]) -> Array:
    """The centre [B,h,w,3] of images, where torchvision's CenterCrop has it.

    https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.CenterCrop.html: it
    begins at half of what is cut off, a half rounded to the even number.
    """
    rows, columns = images.shape[1:3]
    height, width = size
    if height > rows or width > columns:
        raise InputError(
            f"the network cuts a centre of {height}x{width} out of its images, got "
            f"{rows}x{columns}; expected larger ones"
        )
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return images[:, top : top + height, left : left + width]


def create(
    architecture: str | BackboneConfig = "resnet50",
    *,
    head: Head = "classification",
    classes: int | None = None,
    dimensions: int = 128,
    last_stride: int | None = None,
    image_size: tuple[int, int] | None = None,
    resize: tuple[int, int] | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    colours: Literal["RGB", "BGR"] = "RGB",
    crop: tuple[int, int] | None = None,
    neck_feature: Literal["after", "before"] = "after",
    pipeline: Pipeline | None = None,
    dtype: jnp.dtype = jnp.float32,
    axis_name: str | None = None,
    rngs: nnx.Rngs,
) -> ReID:
    """Builds a re-ID network with fresh weights.

    Args:
        architecture: a key of ARCHITECTURES, or the shape of a backbone.
        head: see ModelConfig.
        classes: training identities, for the heads with logits.
        dimensions: size of the feature, see ModelConfig.
        last_stride: 1 or 2, stride of a ResNet's last stage; the architecture's own by default.
        image_size: (height, width) in pixels of a ViT's images; the architecture's own by default.
        resize: (height, width) in pixels to which images are resized inside, or None.
        mean: of each channel of images in [0, 1]; ImageNet's by default.
        std: of each channel of images in [0, 1]; ImageNet's by default.
        colours: order of the channels that the backbone gets; see ModelConfig.
        crop: (height, width) in pixels of the centre that is cut out of images, or None.
        neck_feature: where the feature is taken; see ModelConfig.
        pipeline: what surrounds the network at test time, or None.
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
            title = KINDS[kind_of(architecture)].title
            raise InputError(f"last_stride belongs to ResNets; {title} has none")
        architecture = dataclasses.replace(architecture, last_stride=last_stride)
    if image_size is not None:
        if architecture.image_size is None:
            title = KINDS[kind_of(architecture)].title
            raise InputError(f"image_size belongs to ViTs; {title} takes any (see resize)")
        # Every shape is a dataclass; their common base has no fields.
        given = {"image_size": image_size}
        architecture = cast(BackboneConfig, dataclasses.replace(cast(Any, architecture), **given))
    config = ModelConfig(
        backbone=architecture,
        head=head,
        classes=None if head in ("triplet", "none") else classes,
        dimensions=dimensions,
        mean=mean,
        std=std,
        colours=colours,
        resize=resize,
        crop=crop,
        neck_feature=neck_feature,
        pipeline=pipeline,
    )
    return ReID(config, dtype=dtype, axis_name=axis_name, rngs=rngs)
