"""What a network is but for its weights, as data that can be hashed and stored."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from jaxreid.checks import as_tuple
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.pipeline import Pipeline

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Head", "ModelConfig"]

Head = Literal["classification", "reduction", "embedding", "triplet", "linear", "none"]
"""See ModelConfig."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """Everything that makes a network but its weights.

    Args:
        backbone: shape of the backbone.
        head: "classification" (the feature is a BatchNorm of the pooled map, or the pooled map
            itself, see neck_feature; a linear layer on the former gives logits), "reduction" (a
            1x1 convolution before that BatchNorm; fast-reid's embeddings), "embedding" (linear,
            BatchNorm, ReLU: the feature, a linear layer on it gives logits, if there are classes;
            torchreid's fc),
            "triplet" (BatchNorm, ReLU, linear: the feature), "linear" (the feature
            is the pooled map, a linear layer on it gives logits; torchvision, torchreid) or "none"
            (the feature is the pooled map).
        classes: training identities, for the heads with logits.
        dimensions: size of the feature of the heads "triplet", "reduction" (of each part) and
            "embedding".
        classifier_bias: whether the linear layer of logits has a bias.
        mean: of each channel, subtracted from images in [0, 1]; in the order of colours.
        std: of each channel, then divided by.
        colours: order of the channels that the backbone was trained on; images are RGB.
        resize: (height, width) in pixels to which images are resized first, or None.
        crop: (height, width) in pixels of the centre that is cut out of images then, or None.
        training_size: (height, width) in pixels of the images it was trained on, or None where
            nothing says so; changes nothing of what is computed.
        neck_feature: whether the feature of "classification" is taken "after" its BatchNorm or
            "before".
        pipeline: what surrounds the network at test time, or None where nothing says so; but for
            its first camera it changes nothing of what is computed.

    Returns:
        The configuration.

    Raises:
        InputError: a field has another value.
    """

    backbone: BackboneConfig
    head: Head = "classification"
    classes: int | None = None
    dimensions: int = 128
    classifier_bias: bool = True
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    colours: Literal["RGB", "BGR"] = "RGB"
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    training_size: tuple[int, int] | None = None
    neck_feature: Literal["after", "before"] = "after"
    pipeline: Pipeline | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std", "resize", "crop", "training_size"):
            as_tuple(self, name)
        if self.head not in get_args(Head):
            raise InputError(f"head: expected one of {sorted(get_args(Head))}, got {self.head!r}")
        if self.neck_feature not in ("after", "before"):
            raise InputError(
                f"neck_feature: expected 'after' or 'before', got {self.neck_feature!r}"
            )
        if self.has_logits and not (isinstance(self.classes, int) and self.classes > 0):
            raise InputError(
                f"the head {self.head!r} needs classes, the number of training identities; got "
                f"{self.classes!r}"
            )
        if not (isinstance(self.dimensions, int) and self.dimensions > 0):
            raise InputError(f"dimensions must be a positive integer, got {self.dimensions!r}")
        _check_pixels(self)
        _check_sizes(self)
        _check_views(self)

    @property
    def has_logits(self) -> bool:
        """Whether the head has a classifier."""
        if self.head == "embedding":
            return self.classes is not None
        return self.head in ("classification", "reduction", "linear")

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the images it was made for; None where nothing says so."""
        if self.backbone.image_size is None:
            return self.training_size
        # A transformer that resizes or crops inside was trained on images of any size.
        inside = self.resize or self.crop
        return (inside and self.training_size) or self.backbone.image_size

    @property
    def feature_size(self) -> int:
        """D of the features."""
        if self.head == "reduction":
            return self.dimensions * len(self.backbone.parts)
        own = self.head in ("triplet", "embedding")
        return self.dimensions if own else self.backbone.feature_size


def _check_pixels(config: ModelConfig) -> None:
    numbers = (*config.mean, *config.std)
    if (
        len(config.mean) != 3
        or len(config.std) != 3
        or not all(map(math.isfinite, numbers))
        or min(config.std) <= 0
    ):
        raise InputError(
            f"mean and std need three numbers each, std above 0; got {config.mean}, {config.std}"
        )
    if config.colours not in ("RGB", "BGR"):
        raise InputError(f"colours: expected 'RGB' or 'BGR', got {config.colours!r}")


def _check_views(config: ModelConfig) -> None:
    pipeline = config.pipeline
    if pipeline is None or pipeline.views == 1:
        return
    rows = config.backbone.cameras - pipeline.first_camera
    if rows < 1 or rows % pipeline.views:
        raise InputError(
            f"pipeline.views: {rows} camera embeddings are not those of {pipeline.views} views of "
            "each camera; of how many cameras they are, cameras (--cameras) says"
        )


def _check_sizes(config: ModelConfig) -> None:
    for name in ("resize", "crop", "training_size"):
        size = getattr(config, name)
        if size is not None and not (
            len(size) == 2
            and all(type(side) is int and 0 < side <= LONGEST_STORED_SIDE for side in size)
        ):
            raise InputError(
                f"{name} must be (height, width), integers from 1 to {LONGEST_STORED_SIDE}, "
                f"got {size}"
            )
    crop, whole = config.crop, config.resize or config.training_size
    if crop and whole and (crop[0] > whole[0] or crop[1] > whole[1]):
        raise InputError(f"crop: {crop} cannot be cut out of images of {whole}")
    if crop and config.backbone.image_size not in (None, crop):
        raise InputError(
            f"crop: this network takes images of {config.backbone.image_size}, got {crop}"
        )
