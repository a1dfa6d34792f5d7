"""What a network is but for its weights, as data that can be hashed and stored."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from jaxreid.checks import as_tuple
from jaxreid.constants import LONGEST_STORED_SIDE
from jaxreid.errors import InputError
from jaxreid.models.resnet import RESNETS, ResNetConfig
from jaxreid.models.vit import VITS, ViTConfig

__all__ = ["ARCHITECTURES", "IMAGENET_MEAN", "IMAGENET_STD", "Head", "ModelConfig"]

ARCHITECTURES: dict[str, ResNetConfig | ViTConfig] = {**RESNETS, **VITS}
"""name -> shape of a backbone; the names that `create` takes."""

Head = Literal["classification", "triplet", "linear", "none"]
"""See ModelConfig."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: tuple[int, int] | None = None
    training_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std", "resize", "training_size"):
            as_tuple(self, name)
        if self.head not in get_args(Head):
            raise InputError(f"head: expected one of {sorted(get_args(Head))}, got {self.head!r}")
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
