"""What a checkpoint holds: by the header of our own files, or by the names of its tensors."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.models.pipeline import Pipeline
from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.configs import infer, override
from jaxreid.models.weights.layouts import LAYOUTS, check_layout, detect_layout, name_of
from jaxreid.models.weights.names import find_layout, has_names_of, looks_like, peel, renamed
from jaxreid.models.weights.storage import Checkpoint

__all__ = [
    "HEADER",
    "Plan",
    "checksum_of",
    "config_of",
    "encode",
    "plan",
    "resample_positions",
]

# 1 had no checksum.
_FORMAT = 2
# The one key of the .safetensors header: of several, the library changes the order between runs.
HEADER = "jaxreid"


class Plan(NamedTuple):
    """A checkpoint with its network: what to import where.

    Attributes:
        tensors: name -> array, by today's names of the layout.
        config: the network.
        layout: a key of LAYOUTS.
        where: "below 'model.': " before messages that show names as they are below it, or "".
        peeled: what stood around the network, from the outside: keys of the file ("state_dict"),
            then what its names began with ("module.", "model.").
        ignored: tensors of other networks in the file.
        stored: today's names -> those in the file, of before its library renamed modules.
    """

    tensors: Mapping[str, np.ndarray]
    config: ModelConfig
    layout: str
    where: str = ""
    peeled: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    stored: Mapping[str, str] = MappingProxyType({})


def plan(checkpoint: Checkpoint, layout: str | None, choices: Choices) -> Plan:
    """Finds what network a checkpoint holds, from its header or its tensors.

    A `layout` of None is found by header or names; `choices` are what tensors do not show.
    """
    tensors = dict(checkpoint.tensors)
    if layout is not None:
        check_layout(layout)
    header = _decode(checkpoint.metadata[HEADER]) if HEADER in checkpoint.metadata else None
    if header is not None:
        _check_digest(header, tensors)
    where, peeled, ignored = "", checkpoint.peeled, checkpoint.ignored
    if header is not None and layout is None:
        if (wanted := choices.get("network")) is not None:
            raise InputError(
                f"network {wanted!r}: a file of jaxreid holds one network; leave it out"
            )
        stored, layout = header.config, header.layout
        before, tensors = tensors, renamed(tensors, layout)
    else:
        network = choices.get("network")
        found = peel(tensors, layout, None if network in peeled else network)
        peeled, ignored = (*peeled, *found.peeled), (*ignored, *found.ignored)
        where, before = found.where, found.tensors
        try:
            stored, layout, tensors = _recognised(before, layout, choices)
        except InputError as error:
            other = "" if layout is None else looks_like(checkpoint.tensors, layout)
            message = f"{found.where}{error}"
            if layout is not None and other and not has_names_of(before, layout):
                # What else there is to say is of another library's files.
                message = f"the names are not those of {layout}"
            raise InputError(f"{message}{other}") from error
    config = override(stored, choices)
    old, new = stored.backbone, config.backbone
    if old.positions and old.grid != new.grid:
        name = name_of(("backbone", *old.positions), config, layout)
        # One that is missing is named with all others at the import.
        if name in tensors:
            tensors[name] = resample_positions(tensors[name], old.grid, new.grid, name=name)
    # Renaming keeps the order.
    old_names = {now: name for now, name in zip(tensors, before, strict=True) if now != name}
    return Plan(tensors, config, layout, where, peeled, ignored, old_names)


def _recognised(
    tensors: dict[str, np.ndarray], layout: str | None, choices: Choices
) -> tuple[ModelConfig, str, dict[str, np.ndarray]]:
    """Configuration, layout and tensors by today's names, from the tensors alone."""
    named = layout is not None
    layout = layout or find_layout(tensors) or detect_layout(tensors)
    # timm names its ResNets as torchvision does.
    if layout == "timm" and "patch_embed.proj.weight" not in tensors:
        layout = "torchvision"
    library = LAYOUTS[layout]
    if library.check_names is not None:
        library.check_names(tensors, named, choices)
    tensors = renamed(tensors, layout)
    told = {} if library.tell is None else library.tell(tensors)
    stored = infer(tensors, layout, choices)
    return dataclasses.replace(stored, **told), layout, tensors


def resample_positions(
    embeddings: np.ndarray,
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    name: str = "pos_embed",
) -> np.ndarray:
    """Resizes the grid of position embeddings, bicubic and antialiased as timm does.

    Args:
        embeddings: [1,1+rows*columns,D] or without the first axis; the first position, of the class
            token or of CLIP's mean, stays as it is.
        old: (rows, columns) of patches.
        new: (rows, columns) of patches wanted.
        name: of the tensor, for messages.
    """
    *first, tokens, width = embeddings.shape
    if tokens != old[0] * old[1] + 1 or math.prod(first) != 1:
        raise InputError(
            f"{name} has shape {embeddings.shape}, expected {old[0] * old[1] + 1} tokens"
        )
    table = embeddings.reshape(tokens, width)
    grid = table[1:].astype(np.float32).reshape(*old, width)
    grid = np.asarray(jax.image.resize(grid, (*new, width), "cubic", antialias=True))
    flat = grid.reshape(-1, width).astype(embeddings.dtype)
    return np.concatenate([table[:1], flat]).reshape(*first, -1, width)


class _Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        config: the network.
        layout: a key of LAYOUTS, whose names the file has.
        checksum: as it was when the file was written, or None in files of format 1.
        described: what the checksum is over, beside the tensors.
    """

    config: ModelConfig
    layout: str
    checksum: str | None
    described: str


def encode(config: ModelConfig, layout: str, tensors: Mapping[str, np.ndarray]) -> str:
    """Writes the header of a file of these tensors as JSON, with its checksum."""
    fields = {"format": _FORMAT, "layout": layout, **dataclasses.asdict(config)}
    fields["backbone"]["kind"] = kind_of(config.backbone)
    if fields["backbone"].get("activation") == "relu":
        # What files say that have no word for it: earlier releases read those of today.
        del fields["backbone"]["activation"]
    checksum = _digest(json.dumps(fields, sort_keys=True), tensors)
    return json.dumps({**fields, "checksum": checksum}, sort_keys=True)


def _decode(text: str) -> _Header:
    """Reads the JSON of `encode`, from an untrusted file."""
    try:
        fields: dict[str, Any] = json.loads(text)
        checksum = fields.pop("checksum", None)
        described = json.dumps(fields, sort_keys=True)
        version = fields.pop("format")
        if version not in (1, _FORMAT):
            raise InputError(
                f"the file's header has format {version}; this release reads 1 and {_FORMAT}"
            )
        if checksum is None and version != 1:
            raise InputError("the file's header lost its checksum: it is damaged")
        layout = check_layout(fields.pop("layout"))
        backbone = _tuples(fields.pop("backbone"))
        if (pipeline := fields.pop("pipeline", None)) is not None:
            fields["pipeline"] = Pipeline(**pipeline)
        config = ModelConfig(backbone=_backbone(backbone), **_tuples(fields))
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise InputError(f"the file's header does not describe a network: {error}") from error
    return _Header(config, layout, None if checksum is None else str(checksum), described)


def config_of(header: str) -> ModelConfig:
    """The network that a header describes, as `encode` wrote it; it may come from anybody.

    Raises:
        InputError: it describes none.
    """
    return _decode(header).config


def _backbone(fields: dict[str, Any]) -> BackboneConfig:
    """A shape by its kind, which files had no word for while there were two."""
    kind = fields.pop("kind", "vit" if "patch" in fields else "resnet")
    if kind not in KINDS:
        raise InputError(f"the file's header has a backbone of kind {kind!r}, unknown here")
    return KINDS[kind].config(**fields)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _check_digest(header: _Header, tensors: Mapping[str, np.ndarray]) -> None:
    """Compares a file's content with the checksum that was written into it."""
    if header.checksum is not None and header.checksum != _digest(header.described, tensors):
        raise InputError(
            "its content does not match its checksum: the file is damaged, or was changed by a "
            "program that kept its header; take another copy, or write it anew"
        )


def _digest(described: str, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the header, then name, type, shape and bytes of the tensors by name."""
    digest = hashlib.sha256(described.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\0{name}\0{value.dtype.name}\0{value.shape}\0".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


def checksum_of(checkpoint: Checkpoint) -> Literal["right", "wrong", "none"]:
    """Whether a file of ours is as it was written; "none" where it does not say.

    An InputError says that its header is no network's.
    """
    if HEADER not in checkpoint.metadata:
        return "none"
    header = _decode(checkpoint.metadata[HEADER])
    if header.checksum is None:
        return "none"
    found = _digest(header.described, checkpoint.tensors)
    return "right" if header.checksum == found else "wrong"
