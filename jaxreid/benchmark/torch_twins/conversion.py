"""Which network in PyTorch is a network's twin, and how it gets the same weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from jaxreid.benchmark.torch_twins.clip import CLIPResNet, CLIPViT
from jaxreid.benchmark.torch_twins.layers import PixelNormalization, Projection
from jaxreid.benchmark.torch_twins.mgn import MGN
from jaxreid.benchmark.torch_twins.osnet import OSNet
from jaxreid.benchmark.torch_twins.resnet import ResNet
from jaxreid.benchmark.torch_twins.swin import Swin
from jaxreid.benchmark.torch_twins.vit import JigsawTransformer, ViT
from jaxreid.models import ModelConfig, ReID, weights
from jaxreid.models.kinds import kind_of

__all__ = ["TWINS", "as_torch"]

TWINS: dict[str, Callable[[Any], nn.Module]] = {
    "resnet": ResNet,
    "mgn": MGN,
    "vit": ViT,
    "jpm": JigsawTransformer,
    "clip_vit": CLIPViT,
    "clip_resnet": CLIPResNet,
    "osnet": OSNet,
    "swin": Swin,
}
"""A key of `jaxreid.models.kinds.KINDS` -> (shape of a backbone) -> the same network."""

_HEADS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "none": lambda config: nn.Identity(),
    "embedding": lambda config: Projection(config.backbone.feature_size, config.dimensions),
}


def as_torch(model: ReID) -> nn.Module:
    """Copies a network into PyTorch: images [B,3,H,W] in [0, 1] -> features [B,D].

    Its head is "none" or "embedding". Where it has embeddings of cameras, image i of a batch is
    taken for one of camera i mod cameras; images are neither resized nor cropped.

    Raises:
        KeyError: TWINS has no network of this kind, or there is no such head.
    """
    config = model.config
    twin = TWINS[kind_of(config.backbone)](config.backbone)
    head = _HEADS[config.head](config)
    tensors = weights.to_state_dict(model, layout="jaxreid")
    # Modules here have the names that they have there: none is left over, and none forgotten.
    nn.ModuleDict({"backbone": twin, "head": head}).load_state_dict(
        {name: torch.tensor(value) for name, value in tensors.items()}
    )
    return nn.Sequential(PixelNormalization(config.mean, config.std), twin, head).eval()
