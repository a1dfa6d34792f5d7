"""The configuration of a network, read off the names and shapes of its tensors."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.kinds import ARCHITECTURES, KINDS, architecture_name, kind_of
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.layouts import LAYOUTS

__all__ = ["infer", "override"]

# Fields of shapes that tensors do not show, and whose they are.
_OF_BACKBONES = {
    "last_stride": "ResNets",
    "pool": "ResNets",
    "stem_relu": "ResNets",
    "sie_factor": "networks with camera embeddings",
    "semantic_weight": "SOLIDER's transformers",
}


def infer(tensors: Mapping[str, np.ndarray], layout: str, choices: Choices) -> ModelConfig:
    """Reads the configuration of a network off its tensors, named by a key of LAYOUTS.

    `choices` are asked only for what tensors do not show. Whether every tensor fits is for the
    import to check.
    """
    library = LAYOUTS[layout]
    prefix = library.backbone
    prefix = f"{prefix}." if prefix else ""
    shapes = {
        name.removeprefix(prefix): value.shape
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    if not shapes:
        raise InputError(f"no tensor is named {prefix}..., as the layout {layout!r} names them")
    found = (read(shapes, choices) for read in library.readers)
    backbone = next((one for one in found if one is not None), None)
    if backbone is None:
        kinds = " or ".join(KINDS[kind].title for kind in library.kinds)
        raise InputError(f"the tensors are named as {layout} names them, and are not {kinds}")
    config = ModelConfig(backbone=backbone, **_head(tensors, layout))
    if library.fields is None:
        return config
    return dataclasses.replace(config, **library.fields(set(tensors), config, choices))


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
    for field, owners in _OF_BACKBONES.items():
        if (value := choices.get(field)) is not None:
            if not hasattr(backbone, field):
                kind = KINDS[kind_of(backbone)].title
                raise InputError(f"{field} belongs to {owners}; the file holds {kind}")
            # Every shape is a dataclass; their common base has no fields.
            backbone = dataclasses.replace(cast(Any, backbone), **{field: value})
    if (size := choices.get("image_size")) is not None:
        if not isinstance(backbone, ViTConfig):
            kind = KINDS[kind_of(backbone)].title
            raise InputError(f"image_size belongs to ViTs; the file holds {kind} (see resize)")
        backbone = dataclasses.replace(backbone, image_size=size)
    size = choices.get("training_size")
    if size is not None and backbone.image_size is not None:
        resize = choices.get("resize") or config.resize
        if resize is None and tuple(size) != backbone.image_size:
            raise InputError(
                f"training_size: this network takes images of {backbone.image_size}, got "
                f"{tuple(size)}; see image_size and resize"
            )
    given: dict[str, Any] = {
        name: choices[name]
        for name in ("head", "classes", "dimensions", "resize", "training_size", "mean", "std")
        if choices.get(name) is not None
    }
    return dataclasses.replace(config, backbone=backbone, **given)


def _check_architecture(backbone: BackboneConfig, wanted: str | None) -> None:
    found = architecture_name(backbone)
    if wanted is not None and wanted not in ARCHITECTURES:
        raise InputError(f"unknown architecture {wanted!r}; there are {', '.join(ARCHITECTURES)}")
    if wanted is not None and wanted != found:
        raise InputError(f"expected the tensors of {wanted}, the file holds {found}: {backbone}")


def _head(tensors: Mapping[str, np.ndarray], layout: str) -> dict[str, Any]:
    """Head, classes, dimensions and bias, from the tensors that lie where heads do."""
    # The heads with most parts first: "linear" needs only a part of what "classification" has.
    heads = LAYOUTS[layout].heads
    for head in ("reduction", "embedding", "triplet", "classification", "linear"):
        parts = {
            part: names if isinstance(names, str) else names[0]
            for part, names in heads.get(head, {}).items()
        }
        # An embedding is one without its classifier, too.
        needed = {part for part in parts if (head, part) != ("embedding", "classifier")}
        if not needed or not all(f"{parts[part]}.weight" in tensors for part in needed):
            continue
        fields: dict[str, Any] = {"head": head}
        for part, name in parts.items():
            outputs = tensors[f"{name}.weight"].shape[:1] if f"{name}.weight" in tensors else ()
            if part in ("classifier", "classifiers") and outputs:
                fields["classes"] = int(outputs[0])
                bias = LAYOUTS[layout].classifier_bias
                fields["classifier_bias"] = f"{name}.bias" in tensors if bias is None else bias
            if part in ("projection", "reductions") and outputs:
                fields["dimensions"] = int(outputs[0])
        return fields
    return {"head": "none"}
