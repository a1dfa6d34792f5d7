"""The configuration of a network, read off the names and shapes of its tensors."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.kinds import (
    ARCHITECTURES,
    KINDS,
    architecture_name,
    architecture_names,
    kind_of,
)
from jaxreid.models.pipeline import TOLD, Pipeline
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.layouts import LAYOUTS

__all__ = ["infer", "override"]

# Fields of shapes that tensors do not show, and whose they are.
_OF_BACKBONES = {
    "last_stride": "ResNets",
    "pool": "ResNets",
    "pooling": "ResNets and MGNs",
    "stem_relu": "ResNets",
    "sie_factor": "networks with camera embeddings",
    "semantic_weight": "SOLIDER's transformers",
}

# Fields of ModelConfig and of Pipeline that a user may say.
_OF_NETWORKS = (
    *("head", "classes", "dimensions", "resize", "crop", "training_size", "mean", "std"),
    *("colours", "neck_feature"),
)
_OF_PIPELINES = ("filter", "distance", "unit_length", "flip", "first_camera")
# Those of the former that a library says for its networks, as it does the latter.
_OF_PIXELS = ("training_size", "resize", "crop", "colours", "mean", "std", "neck_feature")


def infer(tensors: Mapping[str, np.ndarray], layout: str, choices: Choices) -> ModelConfig:
    """Reads the configuration of a network off its tensors, named by a key of LAYOUTS.

    `choices` are asked only for what tensors do not show. Whether every tensor fits is for the
    import to check.
    """
    library = LAYOUTS[layout]
    shapes = library.shapes_of(tensors)
    if not shapes:
        raise InputError(
            f"no tensor's name begins with {library.backbone}. as the layout {layout!r} names them"
        )
    found = (read(shapes, choices) for read in library.readers)
    backbone = next((one for one in found if one is not None), None)
    if backbone is None:
        kinds = " or ".join(KINDS[kind].title for kind in library.kinds)
        raise InputError(f"the tensors are named as {layout} names them, and are not {kinds}")
    config = ModelConfig(backbone=backbone, **_head(tensors, layout))
    if library.fields is None:
        return config
    config = dataclasses.replace(config, **library.fields(set(tensors), config, choices))
    wanted = choices.get("image_size")
    if wanted is None or tuple(wanted) != backbone.image_size or config.pipeline is None:
        return config
    # Several tables may have as many rows: the user's word counts as much as a library's.
    known = _told(config.pipeline, ["image_size (taken for that of the positions)"])
    return dataclasses.replace(config, pipeline=known)


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
    _check_stride(backbone, choices.get("stride"))
    if (size := choices.get("image_size")) is not None:
        if backbone.image_size is None:
            kind = KINDS[kind_of(backbone)].title
            raise InputError(f"image_size belongs to ViTs; the file holds {kind} (see resize)")
        backbone = dataclasses.replace(cast(Any, backbone), image_size=size)
    size = choices.get("training_size")
    if size is not None and backbone.image_size is not None:
        inside = (choices.get(name) or getattr(config, name) for name in ("resize", "crop"))
        if not any(inside) and tuple(size) != backbone.image_size:
            own, wanted = ("x".join(map(str, one)) for one in (backbone.image_size, size))
            raise InputError(
                f"training_size (--size) {wanted}: this network takes images of {own} only; "
                f"--image-size {wanted} resamples its positions to others, --resize {own} resizes "
                "images inside"
            )
    given: dict[str, Any] = {
        name: value for name in _OF_NETWORKS if (value := choices.get(name)) is not None
    }
    changed = dataclasses.replace(config, backbone=backbone, **given)
    _check_neck(changed, choices.get("neck_feature"))
    return dataclasses.replace(changed, pipeline=_pipeline(config, changed, choices))


def _check_neck(config: ModelConfig, wanted: str | None) -> None:
    if wanted is not None and config.head != "classification":
        raise InputError(
            f"neck_feature belongs to the head 'classification', whose feature may be taken before "
            f"its BatchNorm; this head is {config.head!r}"
        )


def _pipeline(config: ModelConfig, changed: ModelConfig, choices: Choices) -> Pipeline | None:
    """What is known of the pipeline, with what the user says of it, and that it was the user."""
    known, before = config.pipeline, config.pipeline or Pipeline()
    given: dict[str, Any] = {
        name: value for name in _OF_PIPELINES if (value := choices.get(name)) is not None
    }
    if (cameras := choices.get("cameras")) is not None:
        first = given.get("first_camera", before.first_camera)
        given["views"] = _views(config.backbone, first, cameras)
    if known is None and not given:
        return None
    told = _positions(config.backbone, changed.backbone)
    told += [name for name in _OF_PIXELS if getattr(changed, name) != getattr(config, name)]
    # A library's size is that of its usual images, and no tensor shows it: the user's word counts.
    if config.backbone.image_size is None and choices.get("training_size") is not None:
        told.append("training_size")
    own = vars(before) if known else {}
    changed_by_user = [name for name, value in given.items() if value != own.get(name)]
    # Cameras were said, and views follow from them.
    told += ["cameras" if name == "views" else name for name in changed_by_user]
    return _told(dataclasses.replace(before, **given), told)


def _views(backbone: BackboneConfig, first: int, cameras: int) -> int:
    """Rows of the camera embeddings for each of so many cameras."""
    if not backbone.cameras:
        kind = KINDS[kind_of(backbone)].title
        raise InputError(
            f"cameras belongs to networks with camera embeddings; the file holds {kind}, without "
            "any"
        )
    rows = backbone.cameras - first
    if not 1 <= cameras <= rows or rows % cameras:
        fitting = ", ".join(str(one) for one in range(1, rows + 1) if rows % one == 0)
        raise InputError(
            f"cameras: {rows} camera embeddings are not those of {cameras} cameras with as many "
            f"views each; expected one of {fitting}"
        )
    return rows // cameras


def _positions(old: BackboneConfig, new: BackboneConfig) -> list[str]:
    """What became of the positions, if the user wants other images."""
    if old.image_size is None or old.image_size == new.image_size:
        return []
    done = "as they are" if old.grid == new.grid else "resampled"
    return [f"image_size (positions of {'x'.join(map(str, old.image_size))} {done})"]


def _told(pipeline: Pipeline, names: Sequence[str]) -> Pipeline:
    """The same, whose source names what the user said; once, however often a file is converted."""
    told = ", ".join(dict.fromkeys((*pipeline.told, *names)))
    said = f"{told}{TOLD}" if told else ""
    return dataclasses.replace(pipeline, source="; ".join(filter(None, (pipeline.library, said))))


def _check_stride(backbone: BackboneConfig, wanted: int | None) -> None:
    """A stride is no wish: the position table belongs to one."""
    found = getattr(backbone, "step", None)
    if wanted is not None and found is None:
        kind = KINDS[kind_of(backbone)].title
        raise InputError(f"stride belongs to networks of patches; the file holds {kind}")
    if wanted not in (None, found):
        raise InputError(
            f"the positions in the file belong to patches at a stride of {found}, not {wanted}"
        )


def _check_architecture(backbone: BackboneConfig, wanted: str | None) -> None:
    if wanted is not None and wanted not in ARCHITECTURES:
        raise InputError(f"unknown architecture {wanted!r}; there are {', '.join(ARCHITECTURES)}")
    if wanted is not None and wanted not in architecture_names(backbone):
        found = architecture_name(backbone)
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
