"""Whose names a file has, and what a network's parameters are called there."""

from collections.abc import Iterable

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.weights.libraries import LAYOUTS
from jaxreid.models.weights.libraries.layout import Layout

__all__ = [
    "LAYOUTS",
    "Layout",
    "Path",
    "check_layout",
    "default_layout",
    "detect_layout",
    "name_of",
    "only_here",
]

Path = tuple[str | int, ...]
"""Where a parameter lives in a network: ("backbone", "layer1", 0, "conv1", "kernel")."""

# A parameter's name here -> in PyTorch; "bias" and the raw tensors of a ViT are the same in both.
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
# Backbones that no re-ID library made.
_OF_MANY = ("resnet", "vit")
_CLASSIFIERS = ("classifier", "classifiers")


def detect_layout(names: Iterable[str]) -> str:
    """The library that named the tensors, a key of LAYOUTS; an InputError if it is none of them."""
    known = set(names)
    for layout, table in LAYOUTS.items():
        if table.recognises(known):
            return layout
    raise InputError(
        "the tensors are named by none of the known libraries "
        f"({', '.join(LAYOUTS)}); the first is {min(known)!r}"
    )


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
        A key of LAYOUTS: "torchvision", "timm" or "torchreid" for a bare backbone or ImageNet
        classifier,
        "adv-reid" for the re-ID heads, else the first library that has this network, which is
        "jaxreid" where no other has it.
    """
    bare = ("torchvision", "timm", "torchreid")
    usual = bare if config.head in ("linear", "none") else ("adv-reid",)
    others = (name for name in LAYOUTS if name != "jaxreid")
    return next((name for name in (*usual, *others) if _has(LAYOUTS[name], config)), "jaxreid")


def only_here(config: ModelConfig) -> str:
    """What of a network no other library has and no tensor shows, in words; "" for nothing."""
    activation = getattr(config.backbone, "activation", "relu")
    return "" if activation == "relu" else f"activation {activation!r}"


def _has(table: Layout, config: ModelConfig) -> bool:
    """Whether a library has a name for every part of a network."""
    if only_here(config):
        return False
    if kind_of(config.backbone) not in table.kinds or config.head not in table.heads:
        return False
    if config.has_logits and config.classifier_bias and table.classifier_bias is False:
        return False
    if len(config.backbone.parts) == 1 or config.head in ("linear", "none"):
        return True
    return "necks" in table.heads[config.head]


def name_of(path: Path, config: ModelConfig, layout: str) -> str:
    """Name of one parameter in a library's state dict, such as "backbone.layer1.0.conv1.weight"."""
    table = LAYOUTS[layout]
    kind = kind_of(config.backbone)
    if kind not in table.kinds:
        raise InputError(f"the layout {layout!r} has no names for {KINDS[kind].title}")
    if layout != "jaxreid" and (own := only_here(config)):
        raise InputError(
            f"the layout {layout!r} is of networks without {own}, and no tensor would say so; "
            "expected the layout 'jaxreid'"
        )
    part, *rest, leaf = path
    if part == "head":
        if config.head not in table.heads:
            raise InputError(
                f"the layout {layout!r} has no head {config.head!r}; it has "
                f"{', '.join(table.heads)} (to train a new one: --allow-missing head)"
            )
        if leaf == "bias" and rest[0] in _CLASSIFIERS and table.classifier_bias is False:
            raise InputError(f"the classifier of the layout {layout!r} has no bias, this one does")
        names = table.heads[config.head][str(rest.pop(0))]
        # Of several parts, each has its name.
        rest.insert(0, names if isinstance(names, str) else names[int(rest.pop(0))])
    elif table.place is not None:
        rest = list(table.place([str(name) for name in (*rest, leaf)]))
    elif table.backbone:
        rest.insert(0, table.backbone)
    return ".".join([str(name) for name in rest] + [_LEAVES.get(str(leaf), str(leaf))])
