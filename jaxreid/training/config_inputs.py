"""The part of the configuration that says what is learned from, and by which network."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxreid.constants import LARGEST_BATCH, LONGEST_SIDE, MOST_DIMENSIONS, MOST_WORKERS
from jaxreid.data.catalogue import image_size
from jaxreid.training.fields import Group, declare

__all__ = ["AugmentationConfig", "BatchConfig", "DatasetConfig", "ModelConfig"]


def _is_size(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and all(type(v) is int and 1 <= v <= LONGEST_SIDE for v in value)


def _are_names(value: str) -> bool:
    return not value or all(name.strip() for name in value.split(","))


# Not imported above: it imports JAX. And there may be more of them by then.
def _architectures() -> list[str]:
    from jaxreid.models import ARCHITECTURES

    return list(ARCHITECTURES)


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Group, group="dataset"):
    """What is trained on."""

    name: str = declare(
        "synthetic_reid",
        "As in `jaxreid data prepare`: market1501, cuhk03_np/labeled, synthetic_reid/tiny, ...",
        expected="a name such as market1501",
        fits=bool,
    )
    more: str = declare(
        "",
        "Other datasets whose training people are learned beside these, such as "
        "msmt17,cuhk03_np/labeled; validation stays with `name`.",
        expected="names with commas between them",
        fits=_are_names,
    )
    data_dir: str = declare(
        "",
        "Where prepared datasets are; empty for $TFDS_DATA_DIR or ~/tensorflow_datasets.",
        free=True,
    )
    split: Literal["train", "train_all"] = declare(
        "train",
        "`train` leaves the validation people out; `train_all` trains on them too: then the last "
        "weights count, for there is nothing left to choose the best by.",
    )
    size: tuple[int, int] = declare(
        image_size("synthetic_reid"),
        "(height, width) to which every image is resized.",
        expected=f"(height, width) in pixels, such as (256, 128), up to {LONGEST_SIDE}",
        fits=_is_size,
    )
    filter: Literal["bicubic", "bilinear"] = declare(
        "bicubic",
        "Kernel of that resize, as in PIL; validation and evaluation resize with bilinear, or as "
        "the pipeline of model.start_from says.",
    )
    workers: int = declare(
        0, "Processes that decode; 0 decodes in threads.", low=0, high=MOST_WORKERS, free=True
    )
    cache: bool = declare(
        True,
        "Whether decoded training images stay in memory (Market-1501 at 256x128: 1.3 GB).",
        free=True,
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Of all datasets that are trained on."""
        more = self.more.split(",") if self.more else []
        return (self.name, *(name.strip() for name in more))


@dataclass(frozen=True, kw_only=True)
class BatchConfig(Group, group="batch"):
    """What a step sees."""

    sampler: Literal["shuffled", "identities"] = declare(
        "shuffled",
        "`shuffled`: every image once per epoch; `identities`: images_per_identity images of each "
        "of size / images_per_identity people, every person once per epoch.",
    )
    size: int = declare(
        32, "Images per step, over all devices of all processes.", low=1, high=LARGEST_BATCH
    )
    images_per_identity: int = declare(
        4, "Images of a person in a batch of the sampler identities.", low=1, high=LARGEST_BATCH
    )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Group, group="model"):
    """The network."""

    architecture: str = declare(
        "resnet_patch",
        "A key of jaxreid.models.ARCHITECTURES.",
        expected=lambda: f"one of {', '.join(_architectures())}",
        fits=lambda name: name in _architectures(),
    )
    head: Literal["classification", "reduction", "embedding", "triplet"] = declare(
        "classification",
        "`classification`: BatchNorm neck and classifier; `reduction`: a 1x1 convolution before "
        "these, for each part of the backbone, as fast-reid's MGN has; `embedding`: linear layer, "
        "BatchNorm, ReLU and classifier, as torchreid's OSNets have; `triplet`: an embedding.",
    )
    dimensions: int = declare(
        128,
        "Size of the feature of `reduction` (for each part; fast-reid: 256), `embedding` "
        "(torchreid: 512) and `triplet`.",
        low=1,
        high=MOST_DIMENSIONS,
    )
    last_stride: Literal[0, 1, 2] = declare(
        0, "Stride of a ResNet's last stage; 0 for the architecture's or model.start_from's own."
    )
    start_from: str = declare(
        "",
        "Weights to start from: a .safetensors of `jaxreid convert` or of an earlier run, without "
        "its head where that has another shape; empty for fresh weights. Normalisation, colour "
        "order and pipeline go with it.",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = declare(
        "float32",
        "What the backbone computes in; parameters, BatchNorm statistics, losses and the attack's "
        "images stay in float32. With float64 all is float64, to compare layouts; it needs "
        "JAX_ENABLE_X64=1.",
    )
    synchronize_batch_norm: bool = declare(
        True,
        "Whether BatchNorm's batch statistics are those of the whole batch or each device's own.",
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Group, group="augmentation"):
    """What is done to images before a step."""

    pad: int = declare(
        3,
        "Black pixels on every side before a random crop of the old size.",
        unit="pixels",
        low=0,
        high=LONGEST_SIDE,
    )
    flip: float = declare(0.5, "Probability of mirroring.", low=0, high=1)
    erase: float = declare(0.0, "Probability of random erasing.", low=0, high=1)
    noise: float = declare(
        0.0,
        "Deviation of Gaussian noise that is added last, cut to the range of pixels: what a "
        "network needs to be certified (`jaxreid certify --sigma`).",
        unit="pixel range",
        low=0,
        high=255,
    )
