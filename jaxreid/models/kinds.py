"""The kinds of backbones: which shape belongs to which module, and the shapes that have a name."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxreid.models.backbone import Backbone, BackboneConfig
from jaxreid.models.clip_resnet import CLIP_RESNETS, CLIPResNet, CLIPResNetConfig
from jaxreid.models.clip_vit import CLIP_VITS, CLIPVisionTransformer, CLIPViTConfig
from jaxreid.models.jpm import JPMS, JigsawTransformer, JPMConfig
from jaxreid.models.mgn import MGN, MGNS, MGNConfig
from jaxreid.models.osnet import OSNETS, OSNet, OSNetConfig
from jaxreid.models.resnet import IBN_RESNETS, NON_LOCAL_RESNETS, RESNETS, ResNet, ResNetConfig
from jaxreid.models.swin import SWINS, SwinConfig, SwinTransformer
from jaxreid.models.vit import VITS, VisionTransformer, ViTConfig

__all__ = ["ARCHITECTURES", "KINDS", "Kind", "architecture_name", "architecture_names", "kind_of"]


class Kind(NamedTuple):
    """One kind of backbone.

    Attributes:
        title: in messages.
        config: its shape, a subclass of BackboneConfig.
        build: (config, axis_name=, dtype=, rngs=) -> the module.
        open_fields: fields of the shape in which networks of one architecture may differ.
    """

    title: str
    config: type[BackboneConfig]
    build: Callable[..., Backbone]
    open_fields: frozenset[str]


_OF_VITS = frozenset({"image_size", "stride", "cameras", "sie_factor"})

KINDS = {
    "resnet": Kind(
        "a ResNet",
        ResNetConfig,
        ResNet,
        frozenset({"last_stride", "pool", "pooling", "stem_relu"}),
    ),
    "mgn": Kind("an MGN", MGNConfig, MGN, frozenset({"pool", "pooling"})),
    "vit": Kind("a vision transformer", ViTConfig, VisionTransformer, _OF_VITS),
    "jpm": Kind(
        "a vision transformer with a jigsaw patch module", JPMConfig, JigsawTransformer, _OF_VITS
    ),
    "clip_vit": Kind(
        "CLIP's vision transformer",
        CLIPViTConfig,
        CLIPVisionTransformer,
        _OF_VITS,
    ),
    "clip_resnet": Kind("CLIP's ResNet", CLIPResNetConfig, CLIPResNet, frozenset({"image_size"})),
    "osnet": Kind("an OSNet", OSNetConfig, OSNet, frozenset()),
    "swin": Kind("a Swin transformer", SwinConfig, SwinTransformer, frozenset({"semantic_weight"})),
}
"""name, as the header of a file has it -> Kind."""

ARCHITECTURES: dict[str, BackboneConfig] = {
    **RESNETS,
    **IBN_RESNETS,
    **NON_LOCAL_RESNETS,
    **MGNS,
    **VITS,
    **JPMS,
    **CLIP_VITS,
    **CLIP_RESNETS,
    **SWINS,
    **OSNETS,
}
"""name -> shape of a backbone; the names that `create` takes."""


def kind_of(config: BackboneConfig) -> str:
    """The key of KINDS of a shape."""
    return next(name for name, kind in KINDS.items() if type(config) is kind.config)


def architecture_name(config: BackboneConfig) -> str:
    """The first of `architecture_names`, or "custom"."""
    return next(iter(architecture_names(config)), "custom")


def architecture_names(config: BackboneConfig) -> list[str]:
    """The keys of ARCHITECTURES with this shape, open fields of its kind aside."""
    kind = KINDS[kind_of(config)]

    def closed(shape: BackboneConfig) -> dict[str, Any]:
        return {name: value for name, value in vars(shape).items() if name not in kind.open_fields}

    return [
        name
        for name, known in ARCHITECTURES.items()
        if type(known) is kind.config and closed(known) == closed(config)
    ]
