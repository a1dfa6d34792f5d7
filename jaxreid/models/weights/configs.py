"""The shape of a network, read off the names and shapes of its tensors."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.config import ARCHITECTURES, Head, ModelConfig
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.layouts import LAYOUTS

__all__ = ["Choices", "architecture_name", "infer", "override"]

# Width of one attention head in every DeiT and in timm's plain ViTs; tensors do not show it.
_HEAD_WIDTH = 64


class Choices(TypedDict, total=False):
    """What the tensors do not show, or what should differ from what they show.

    Attributes:
        architecture: a key of ARCHITECTURES that the file must hold.
        head: see ModelConfig; the file's own by default.
        classes: training identities; the file's own by default.
        dimensions: size of the triplet head's feature; the file's own by default.
        last_stride: 1 or 2, stride of a ResNet's last stage.
        pool: where a ResNet's stem pools, see ResNetConfig.
        stem_relu: whether a ReLU follows a ResNet's stem.
        image_size: (height, width) in pixels of a ViT's images; position embeddings of another
            size are resampled (bicubic).
        resize: (height, width) in pixels to which images are resized inside.
        training_size: (height, width) in pixels of the images it was trained on; the size that
            `jaxreid evaluate` and `attack` take by default.
        mean: of each channel of images in [0, 1].
        std: of each channel of images in [0, 1].
    """

    architecture: str | None
    head: Head | None
    classes: int | None
    dimensions: int | None
    last_stride: int | None
    pool: Literal["padded", "ceil"] | None
    stem_relu: bool | None
    image_size: tuple[int, int] | None
    resize: tuple[int, int] | None
    training_size: tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


def architecture_name(backbone: ResNetConfig | ViTConfig) -> str:
    """The key of ARCHITECTURES with this shape, strides and image size aside, or "custom"."""
    for name, known in ARCHITECTURES.items():
        if type(known) is not type(backbone):
            continue
        loose = (
            {"last_stride", "pool", "stem_relu"}
            if isinstance(known, ResNetConfig)
            else {"image_size"}
        )
        fields = {f.name for f in dataclasses.fields(known)} - loose
        if all(getattr(known, field) == getattr(backbone, field) for field in fields):
            return name
    return "custom"


def infer(
    tensors: Mapping[str, np.ndarray], layout: str, *, image_size: tuple[int, int] | None = None
) -> ModelConfig:
    """Reads the configuration of a network off its tensors, named by a key of LAYOUTS.

    `image_size`, (height, width) in pixels of a ViT's images, is asked for only where the number of
    position embeddings is no square. Whether every tensor fits is for the import to check.
    """
    prefix = LAYOUTS[layout].backbone
    prefix = f"{prefix}." if prefix else ""
    shapes = {
        name.removeprefix(prefix): value.shape
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    if not shapes:
        raise InputError(f"no tensor is named {prefix}..., as the layout {layout!r} names them")
    if "patch_embed.proj.weight" in shapes:
        backbone: ResNetConfig | ViTConfig = _vit(shapes, image_size)
    else:
        backbone = _resnet(shapes, layout)
    return ModelConfig(backbone=backbone, **_head(tensors, layout))


def override(config: ModelConfig, choices: Choices) -> ModelConfig:
    """Applies the choices of the user to a configuration; None or absent ones change nothing.

    Refuses another architecture than the file holds, or a field that this one does not have.
    """
    unknown = set(choices) - set(Choices.__annotations__)
    if unknown:
        raise InputError(
            f"unknown options {sorted(unknown)}; there are {', '.join(Choices.__annotations__)}"
        )
    backbone = config.backbone
    _check_architecture(backbone, choices.get("architecture"))
    for field in ("last_stride", "pool", "stem_relu"):
        if (value := choices.get(field)) is not None:
            if not isinstance(backbone, ResNetConfig):
                raise InputError(f"{field} belongs to ResNets; the file holds a ViT")
            changes: dict[str, Any] = {field: value}
            backbone = dataclasses.replace(backbone, **changes)
    if (size := choices.get("image_size")) is not None:
        if not isinstance(backbone, ViTConfig):
            raise InputError("image_size belongs to ViTs; the file holds a ResNet (see resize)")
        backbone = dataclasses.replace(backbone, image_size=size)
    size = choices.get("training_size")
    if size is not None and isinstance(backbone, ViTConfig):
        resize = choices.get("resize") or config.resize
        if resize is None and tuple(size) != backbone.image_size:
            raise InputError(
                f"training_size: this ViT takes images of {backbone.image_size}, got "
                f"{tuple(size)}; see image_size and resize"
            )
    given: dict[str, Any] = {
        name: choices[name]
        for name in ("head", "classes", "dimensions", "resize", "training_size", "mean", "std")
        if choices.get(name) is not None
    }
    return dataclasses.replace(config, backbone=backbone, **given)


def _check_architecture(backbone: ResNetConfig | ViTConfig, wanted: str | None) -> None:
    found = architecture_name(backbone)
    if wanted is not None and wanted not in ARCHITECTURES:
        raise InputError(f"unknown architecture {wanted!r}; there are {', '.join(ARCHITECTURES)}")
    if wanted is not None and wanted != found:
        raise InputError(f"expected the tensors of {wanted}, the file holds {found}: {backbone}")


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str, rank: int) -> tuple[int, ...]:
    if name not in shapes:
        first = sorted({known.partition(".")[0] for known in shapes})
        raise InputError(
            f"missing tensor {name}: neither a ResNet nor a ViT as known here; the names begin "
            f"with {', '.join(first[:8])}{', ...' if len(first) > 8 else ''}"
        )
    if len(shapes[name]) != rank:
        raise InputError(f"{name}: expected {rank} dimensions, got shape {shapes[name]}")
    return shapes[name]


def _three_channels(name: str, shape: tuple[int, ...]) -> None:
    if shape[1] != 3:
        raise InputError(f"{name}: expected 3 input channels (RGB), got {shape[1]}")


def _resnet(shapes: Mapping[str, tuple[int, ...]], layout: str) -> ResNetConfig:
    stem = _shape(shapes, "conv1.weight", 4)
    _three_channels("conv1.weight", stem)
    if stem[2:] not in ((7, 7), (4, 4)):
        raise InputError(f"conv1.weight: expected a 7x7 or 4x4 kernel, got shape {stem}")
    places = [re.match(r"layer(\d+)\.(\d+)\.", name) for name in shapes]
    found = {(int(place[1]), int(place[2])) for place in places if place}
    depths: list[int] = []
    while (len(depths) + 1, 0) in found:
        stage = len(depths) + 1
        depths.append(sum(1 for where, _ in found if where == stage))
    last = "conv2" if "layer1.0.conv3.weight" not in shapes else "conv3"
    widths = [
        _shape(shapes, f"layer{stage}.0.{'conv1' if last == 'conv2' else 'conv2'}.weight", 4)[0]
        for stage in range(1, len(depths) + 1)
    ]
    outputs = _shape(shapes, f"layer1.0.{last}.weight", 4)[0]
    return ResNetConfig(
        block="basic" if last == "conv2" else "bottleneck",
        depths=tuple(depths),
        widths=tuple(widths),
        expansion=4 if last == "conv2" else max(1, outputs // max(1, widths[0])),
        stem="imagenet" if stem[2] == 7 else "patch",
        stem_width=stem[0],
        **LAYOUTS[layout].resnet,
    )


def _vit(shapes: Mapping[str, tuple[int, ...]], image_size: tuple[int, int] | None) -> ViTConfig:
    patches = _shape(shapes, "patch_embed.proj.weight", 4)
    _three_channels("patch_embed.proj.weight", patches)
    tokens = _shape(shapes, "pos_embed", 3)[1] - 1
    side = math.isqrt(max(tokens, 0))
    square = side * side == tokens
    if image_size is None and not square:
        raise InputError(
            f"pos_embed has {tokens} patches, not a square: give the image size they belong to"
        )
    blocks = {int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", name) for name in shapes) if m}
    width = patches[0]
    return ViTConfig(
        width=width,
        depth=len(blocks),
        heads=max(1, width // _HEAD_WIDTH),
        patch=patches[2],
        image_size=(side * patches[2],) * 2 if square or image_size is None else image_size,
        mlp_ratio=_shape(shapes, "blocks.0.mlp.fc1.weight", 2)[0] // max(1, width),
    )


def _head(tensors: Mapping[str, np.ndarray], layout: str) -> dict[str, Any]:
    """Head, classes, dimensions and bias, from the tensors that lie where heads do."""
    # The heads with most parts first: "linear" needs only a part of what "classification" has.
    heads = LAYOUTS[layout].heads
    for head in ("triplet", "classification", "linear"):
        parts = heads.get(head)
        if parts is None or not all(f"{name}.weight" in tensors for name in parts.values()):
            continue
        fields: dict[str, Any] = {"head": head}
        for part, name in parts.items():
            outputs = tensors[f"{name}.weight"].shape[:1]
            if part == "classifier" and outputs:
                fields["classes"] = int(outputs[0])
                bias = LAYOUTS[layout].classifier_bias
                fields["classifier_bias"] = f"{name}.bias" in tensors if bias is None else bias
            if part == "projection" and outputs:
                fields["dimensions"] = int(outputs[0])
        return fields
    return {"head": "none"}
