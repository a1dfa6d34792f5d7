"""What is said of a model's pipeline: its card, its line, and what a user overrides."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jaxreid.cli.lines import WIDTH, wrapped
from jaxreid.constants import Distance, Filter
from jaxreid.data.catalogue import image_size

if TYPE_CHECKING:  # at run time these import JAX
    from jaxreid.models import ModelConfig, Pipeline
    from jaxreid.models.backbone import BackboneConfig

__all__ = [
    "card_lines",
    "filter_text",
    "only_size",
    "override_notes",
    "pipeline_card",
    "pipeline_line",
    "size_notes",
    "size_text",
    "usual_size",
]

_LABELS = 12  # columns of the labels of a card
_UNKNOWN = "nothing says: PIL's bilinear kernel, euclidean distance"


def size_text(size: tuple[int, int] | None) -> str:
    """Writes (height, width), which may be unknown."""
    return "x".join(map(str, size)) if size else "not known (--size stores it)"


def only_size(config: "ModelConfig") -> tuple[int, int] | None:
    """(height, width) of the only images that a network takes; None where others will do."""
    inside = config.resize or config.crop
    return None if inside or config.backbone.image_size is None else config.size


def pipeline_card(config: "ModelConfig") -> dict[str, str]:
    """All that surrounds the weights of a network: label -> text."""
    settings = ", ".join(_settings(config.backbone))
    return _surroundings(config) | ({"settings": settings} if settings else {})


def _settings(backbone: "BackboneConfig") -> Iterator[str]:
    """What weights are computed with and do not show, by the names that `convert` has for it."""
    values = {
        "last stride": getattr(backbone, "last_stride", None),
        "pool": getattr(backbone, "pool", None),
        "pooling": getattr(backbone, "pooling", None),
        "stride": getattr(backbone, "step", None),
        "sie factor": getattr(backbone, "sie_factor", None) if backbone.cameras else None,
        "semantic weight": getattr(backbone, "semantic_weight", None),
    }
    if getattr(backbone, "stem", "") == "patch":
        del values["pool"]  # nothing pools there
    for name, value in values.items():
        if value is not None:
            yield f"{name} {value}" if isinstance(value, str) else f"{name} {value:.6g}"
    if getattr(backbone, "stem_relu", True) is False:
        yield "no ReLU after the stem"


def _surroundings(config: "ModelConfig") -> dict[str, str]:
    pipeline = config.pipeline
    size = size_text(config.size)
    if pipeline is not None:
        size += f", resized by {filter_text(pipeline.filter)}"
    card = {"size": size, "pixels": "; ".join(_pixels(config)), "feature": _feature(config)}
    if pipeline is None:
        return {**card, "pipeline": _UNKNOWN}
    flip = "averaged with the mirror image's" if pipeline.flip else "no mirror image"
    card["compared"] = f"by {pipeline.distance} distance; {flip}"
    if config.backbone.cameras:
        card["cameras"] = _cameras(config.backbone.cameras, pipeline)
    return {**card, "said by": pipeline.source} if pipeline.source else card


def _cameras(rows: int, pipeline: "Pipeline") -> str:
    text = f"{rows}, an input beside the image, counted from {pipeline.first_camera}"
    if pipeline.views == 1:
        return text
    cameras = (rows - pipeline.first_camera) // pipeline.views
    return f"{cameras} of {text}; of each the mean over {pipeline.views} views"


def card_lines(card: dict[str, str]) -> Iterator[str]:
    """The lines of a card, no wider than a terminal."""
    for label, text in card.items():
        yield from textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"{label:<{_LABELS}}",
            subsequent_indent=" " * _LABELS,
            break_on_hyphens=False,
            break_long_words=False,
        )


def pipeline_line(
    config: "ModelConfig",
    *,
    size: tuple[int, int] | None,
    filter: Filter,
    distance: Distance,
    flip: bool,
    unit_length: bool | None = None,
) -> list[str]:
    """What a command does around a network, in one line or two."""
    pipeline = config.pipeline
    parts = [f"{size_text(size)} by {filter_text(filter)}"]
    parts += [f"centre of {size_text(config.crop)}"] * (config.crop is not None)
    parts += [config.colours] * (config.colours != "RGB")
    parts += [_feature(config, unit_length), f"{distance} distance"]
    parts += ["flip"] * flip
    said = "" if pipeline is None or not pipeline.source else f" ({pipeline.source})"
    return wrapped(f"pipeline: {', '.join(parts)}{said}")


def override_notes(
    config: "ModelConfig",
    size: tuple[int, int] | None,
    asked: Mapping[str, object],
    *,
    whose: str = "--",
) -> Iterator[str]:
    """What somebody asked for that is not as the model has it.

    `size` is the model's; `whose` stands before the names of what was asked.
    """
    own: dict[str, object] = {"size": size}
    pipeline = config.pipeline
    if pipeline is not None:
        own |= {"filter": pipeline.filter, "distance": pipeline.distance}
    for name, usual in own.items():
        given = asked[name]
        if given is not None and usual is not None and given != usual:
            yield f"{whose}{name} {_word(given)} overrides the model's {_word(usual)}"
    for name in ("flip", "unit_length"):
        value = asked[name]
        if pipeline is not None and value is not None and value != getattr(pipeline, name):
            word = name.replace("_", "-")
            words = (f"--{word}", f"--no-{word}") if value else (f"--no-{word}", f"--{word}")
            yield f"{words[0]} overrides the model's {words[1]}"


def size_notes(config: "ModelConfig", dataset: str) -> Iterator[str]:
    """What a network is taken for where its library's usual size is not that of such images.

    Libraries train one network upright for people and square for vehicles, and no tensor of a
    convolutional network or a Swin transformer shows which.
    """
    size, usual = usual_size(config), image_size(dataset)
    if size is not None and (size[0] > size[1]) != (usual[0] > usual[1]):
        yield (
            f"images of {size_text(size)} are those of {_library(config)} for people, and no "
            f"tensor of the file says its size; those of {dataset} are {size_text(usual)} for "
            f"most networks: if it was trained on such, give --size {size_text(usual)}, or say it "
            f"once by jaxreid convert --size {size_text(usual)}"
        )


def usual_size(config: "ModelConfig") -> tuple[int, int] | None:
    """(height, width) that a library's configurations have, where nothing in the file says one."""
    pipeline = config.pipeline
    if pipeline is None or config.backbone.image_size is not None:
        return None
    # What a training of ours stores is what its images had.
    known = "training_size" in pipeline.told or pipeline.source.startswith("jaxreid")
    return None if known else config.training_size


def _library(config: "ModelConfig") -> str:
    library = "" if config.pipeline is None else config.pipeline.library
    return library.partition(":")[0] or "its library"


def _word(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def filter_text(name: str) -> str:
    """A kernel and whose it is."""
    _, dash, kernel = name.rpartition("-")
    return f"{'OpenCV' if dash else 'PIL'}'s {kernel} kernel"


def _pixels(config: "ModelConfig") -> Iterator[str]:
    if config.resize:
        yield f"resized to {size_text(config.resize)} inside"
    if config.crop:
        yield f"the centre of {size_text(config.crop)}"
    mean, std = (" ".join(f"{value:.4g}" for value in row) for row in (config.mean, config.std))
    yield f"{config.colours}, mean {mean}, deviation {std}"


def _feature(config: "ModelConfig", unit_length: bool | None = None) -> str:
    where = {
        "classification": f"{config.neck_feature} the neck's BatchNorm",
        "reduction": "after the neck's BatchNorm",
        "embedding": "after the embedding's ReLU",
        "triplet": "of the embedding",
    }.get(config.head, "as pooled")
    own = config.pipeline is not None and config.pipeline.unit_length
    unit = own if unit_length is None else unit_length
    return f"{config.feature_size} numbers {where}" + (", made unit length" if unit else "")
