"""One declaration per library: how its files are recognised, and how its tensors are named."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.resnet import ResNetConfig

__all__ = [
    "LAYOUTS",
    "Layout",
    "Path",
    "check_layout",
    "default_layout",
    "detect_layout",
    "listed",
    "name_of",
]

Path = tuple[str | int, ...]
"""Where a parameter lives in a network: ("backbone", "layer1", 0, "conv1", "kernel")."""

# A parameter's name here -> in PyTorch; "bias" and the raw tensors of a ViT are the same in both.
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


@dataclass(frozen=True)
class Layout:
    """How files of one library are recognised, and how its networks differ from those here.

    Args:
        mark: beginning of names that only this library has; see LAYOUTS for the order.
        backbone: what stands before the names of the backbone's tensors.
        heads: head -> {part of the head here: its name there}; the heads the library has.
        vit: whether the library's transformers are read.
        classifier_bias: whether its classifiers have a bias; None where that differs by file.
        resnet: fields of ResNetConfig that tensors do not show, as its ResNets usually have them.
        renamed: old beginning of names -> the present one, for modules that a library renamed.
        check_names: raises InputError where the names leave open which network a file holds; it
            is given the names, whether the user named the layout, and the user's choices.

    Returns:
        The layout.
    """

    mark: str
    backbone: str
    heads: Mapping[str, Mapping[str, str]]
    vit: bool = False
    classifier_bias: bool | None = True
    resnet: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    check_names: Callable[[Collection[str], bool, Mapping[str, object]], None] | None = None

    @property
    def head_names(self) -> set[str]:
        """Names under which any head of this library stores its tensors."""
        return {name for parts in self.heads.values() for name in parts.values()}


def _pooling_of_fast_reid(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    if any(name.startswith("heads.bnneck.") for name in names) and not choices.get("pool"):
        raise InputError(
            "heads.bnneck is what fast-reid called heads.bottleneck.0 up to 2020-09; its stem then "
            "pooled as torchvision's does, and no tensor says so: --pool padded for a file of that "
            "time, --pool ceil for one of today's code"
        )


def _stem_of_strong_baseline(
    names: Collection[str], named: bool, choices: Mapping[str, object]
) -> None:
    """Forks of reid-strong-baseline share its names, not its network."""
    if named:
        return
    if "base.conv1.weight" in names:
        raise InputError(
            "the names begin with 'base.', as those of reid-strong-baseline and of its forks do, "
            "and no tensor tells which: --from strong-baseline reads the original (no ReLU after "
            "the stem), with --stem-relu forks that have one; TransReID's ResNets, which pool 2x2, "
            "are not read"
        )
    raise InputError(
        f"the names begin with 'base.' ({listed(sorted(names))}), as those of TransReID and "
        "SOLIDER do: of such files only ResNets named as torchvision's are read"
    )


LAYOUTS = {
    "fast-reid": Layout(
        mark="heads.",
        backbone="backbone",
        heads={"classification": {"neck": "heads.bottleneck.0", "classifier": "heads"}, "none": {}},
        classifier_bias=False,
        resnet={"last_stride": 1, "pool": "ceil"},
        renamed={
            "heads.classifier.weight": "heads.weight",
            "heads.bnneck.": "heads.bottleneck.0.",
        },
        check_names=_pooling_of_fast_reid,
    ),
    "adv-reid": Layout(
        mark="backbone.",
        backbone="backbone",
        heads={
            "classification": {"neck": "backbone.fc", "classifier": "fc"},
            "triplet": {"neck": "backbone.fc.0", "projection": "backbone.fc.2"},
            "linear": {"classifier": "fc"},
            "none": {},
        },
        vit=True,
    ),
    # https://github.com/michuanhaohao/reid-strong-baseline: modeling/baseline.py, and no ReLU after
    # the stem in modeling/backbones/resnet.py.
    "strong-baseline": Layout(
        mark="base.",
        backbone="base",
        heads={
            "classification": {"neck": "bottleneck", "classifier": "classifier"},
            "linear": {"classifier": "classifier"},
            "none": {},
        },
        classifier_bias=None,
        resnet={"last_stride": 1, "stem_relu": False},
        check_names=_stem_of_strong_baseline,
    ),
    "timm": Layout(
        mark="patch_embed.",
        backbone="",
        heads={"linear": {"classifier": "head"}, "none": {}},
        vit=True,
    ),
    "torchreid": Layout(
        mark="classifier.",
        backbone="",
        heads={"linear": {"classifier": "classifier"}, "none": {}},
    ),
    "torchvision": Layout(
        mark="layer1.", backbone="", heads={"linear": {"classifier": "fc"}, "none": {}}
    ),
}
"""name -> Layout, in the order in which they are looked for: the first whose mark is found.

timm's ResNets are named as torchvision's, so "timm" is for its transformers.
"""


def detect_layout(names: Iterable[str]) -> str:
    """The library that named the tensors, a key of LAYOUTS; an InputError if it is none of them."""
    known = list(names)
    for layout, table in LAYOUTS.items():
        if any(name.startswith(table.mark) for name in known):
            return layout
    raise InputError(
        "the tensors are named by none of the known libraries "
        f"({', '.join(LAYOUTS)}); the first is {known[0]!r}"
    )


def listed(names: Sequence[str]) -> str:
    """Names in a message: the first eight of them, and how many more there are."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def check_layout(layout: str, config: ModelConfig | None = None) -> str:
    """Checks the name of a layout, for this network if one is given.

    Returns the layout; "torchvision" for a ResNet of "timm", which names them alike.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    if layout == "timm" and config is not None and isinstance(config.backbone, ResNetConfig):
        return "torchvision"
    return layout


def default_layout(config: ModelConfig) -> str:
    """Names under which a network is written by default.

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
    """Name of one parameter in a library's state dict, such as "backbone.layer1.0.conv1.weight"."""
    table = LAYOUTS[layout]
    if not table.vit and not isinstance(config.backbone, ResNetConfig):
        raise InputError(f"the layout {layout!r} has no names for vision transformers")
    part, *rest, leaf = path
    if part == "head":
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
    return ".".join([str(name) for name in rest] + [_LEAVES.get(str(leaf), str(leaf))])
