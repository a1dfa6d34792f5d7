"""How each library names the tensors of a network: tables, and the two-way walk over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.reid import ModelConfig
from jaxreid.models.resnet import ResNetConfig

__all__ = [
    "LAYOUTS",
    "Layout",
    "Path",
    "check_layout",
    "default_layout",
    "from_torch",
    "name_of",
    "to_torch",
]

Path = tuple[str | int, ...]
"""Where a parameter lives in a network: ("backbone", "layer1", 0, "conv1", "kernel")."""

# A parameter's name here -> in PyTorch; "bias" and the raw tensors of a ViT are the same in both.
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


@dataclass(frozen=True)
class Layout:
    """The names of one library.

    Args:
        backbone: what stands before the names of the backbone's tensors.
        heads: head -> {part of the head here: its name there}; the heads the library has.
        last_stride: what the library's ResNets use unless told otherwise (no tensor tells).
        pool: likewise, see ResNetConfig.
        stem_relu: likewise.
        renamed: old beginning of names -> what it is since, for modules that a library renamed.
        vit: whether the library's transformers are read.
        classifier_bias: whether its classifiers have a bias; None where the file tells.

    Returns:
        The layout.
    """

    backbone: str
    heads: Mapping[str, Mapping[str, str]]
    last_stride: int = 2
    pool: str = "padded"
    stem_relu: bool = True
    renamed: Mapping[str, str] = field(default_factory=dict)
    vit: bool = False
    classifier_bias: bool | None = True

    @property
    def head_names(self) -> set[str]:
        """Names under which any head of this library stores its tensors."""
        return {name for parts in self.heads.values() for name in parts.values()}


LAYOUTS = {
    "adv-reid": Layout(
        backbone="backbone",
        heads={
            "classification": {"neck": "backbone.fc", "classifier": "fc"},
            "triplet": {"neck": "backbone.fc.0", "projection": "backbone.fc.2"},
            "linear": {"classifier": "fc"},
            "none": {},
        },
        vit=True,
    ),
    "torchvision": Layout(backbone="", heads={"linear": {"classifier": "fc"}, "none": {}}),
    "timm": Layout(backbone="", heads={"linear": {"classifier": "head"}, "none": {}}, vit=True),
    "torchreid": Layout(backbone="", heads={"linear": {"classifier": "classifier"}, "none": {}}),
    "fast-reid": Layout(
        backbone="backbone",
        heads={"classification": {"neck": "heads.bottleneck.0", "classifier": "heads"}, "none": {}},
        last_stride=1,
        pool="ceil",
        classifier_bias=False,
        renamed={
            "heads.classifier.weight": "heads.weight",
            "heads.bnneck.": "heads.bottleneck.0.",
        },
    ),
    # https://github.com/michuanhaohao/reid-strong-baseline: modeling/baseline.py, and no ReLU after
    # the stem in modeling/backbones/resnet.py.
    "strong-baseline": Layout(
        backbone="base",
        heads={
            "classification": {"neck": "bottleneck", "classifier": "classifier"},
            "linear": {"classifier": "classifier"},
            "none": {},
        },
        last_stride=1,
        stem_relu=False,
        classifier_bias=None,
    ),
}
"""name -> Layout. timm's ResNets are named as torchvision's, so "timm" is for its transformers."""


def check_layout(layout: str, config: ModelConfig | None = None) -> str:
    """Checks the name of a layout.

    Args:
        layout: the name.
        config: the network that it is for, if known.

    Returns:
        The layout; "torchvision" for a ResNet of "timm", which names them alike.

    Raises:
        InputError: there is no such layout.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if layout == "timm" and config is not None and isinstance(config.backbone, ResNetConfig):
        return "torchvision"
    return layout


def default_layout(config: ModelConfig) -> str:
    """Names under which a network is written unless told otherwise.

    Args:
        config: the network.

    Returns:
        A key of LAYOUTS: "torchvision" or "timm" for a bare backbone or ImageNet classifier,
        "adv-reid" for the re-ID heads.
    """
    if config.head not in ("linear", "none"):
        return "adv-reid"
    return "torchvision" if isinstance(config.backbone, ResNetConfig) else "timm"


def name_of(path: Path, config: ModelConfig, layout: str) -> str:
    """Name of one parameter in a library's state dict.

    Args:
        path: where it lives in the network.
        config: the network.
        layout: a key of LAYOUTS.

    Returns:
        The name, such as "backbone.layer1.0.conv1.weight".

    Raises:
        InputError: the library has no such head or backbone.
    """
    table = LAYOUTS[layout]
    if not table.vit and not isinstance(config.backbone, ResNetConfig):
        raise InputError(f"the layout {layout!r} has no names for vision transformers")
    room, *rest, leaf = path
    if room == "head":
        if config.head not in table.heads:
            raise InputError(
                f"the layout {layout!r} has no head {config.head!r}; it has "
                f"{', '.join(table.heads)} (to train a new one: --allow-missing head)"
            )
        if path == ("head", "classifier", "bias") and table.classifier_bias is False:
            raise InputError(f"the classifier of the layout {layout!r} has no bias, this one does")
        rest[0] = table.heads[config.head][str(rest[0])]
    elif table.backbone:
        rest.insert(0, table.backbone)
    return ".".join([str(part) for part in rest] + [_LEAVES.get(str(leaf), str(leaf))])


def to_torch(value: np.ndarray, path: Path) -> np.ndarray:
    """Turns a parameter to PyTorch's axes.

    Args:
        value: convolution [h,w,C,K], linear [C,K], or any other shape.
        path: where it lives in the network.

    Returns:
        [K,C,h,w], [K,C], or value itself; same type and bits.
    """
    if path[-1] == "kernel":
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return np.ascontiguousarray(value)


def from_torch(value: np.ndarray, path: Path) -> np.ndarray:
    """Turns a PyTorch tensor to the axes used here: the inverse of `to_torch`.

    Args:
        value: [K,C,h,w], [K,C], or any other shape.
        path: where it belongs in the network.

    Returns:
        Convolution [h,w,C,K], linear [C,K], or value itself; same type and bits.
    """
    if path[-1] == "kernel":
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    return np.ascontiguousarray(value)
