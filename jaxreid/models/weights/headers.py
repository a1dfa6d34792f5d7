"""What our own files say of themselves: the network, whose names, and a checksum of it all."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.reid import ModelConfig
from jaxreid.models.resnet import ResNetConfig
from jaxreid.models.vit import ViTConfig
from jaxreid.models.weights.layouts import check_layout

__all__ = ["Header", "check_digest", "decode", "encode"]

# 1 had no checksum.
_FORMAT = 2


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        config: the network.
        layout: a key of LAYOUTS, whose names the file has.
        checksum: as it was when the file was written, or None in files of old.
        described: what the checksum is over, beside the tensors.
    """

    config: ModelConfig
    layout: str
    checksum: str | None
    described: str


def encode(config: ModelConfig, layout: str, tensors: Mapping[str, np.ndarray]) -> str:
    """Writes a header as JSON.

    Args:
        config: the network.
        layout: a key of LAYOUTS, whose names the file has.
        tensors: name -> array, what the file will hold.

    Returns:
        JSON that `decode` reads.
    """
    fields = {"format": _FORMAT, "layout": layout, **dataclasses.asdict(config)}
    checksum = _digest(json.dumps(fields, sort_keys=True), tensors)
    return json.dumps({**fields, "checksum": checksum}, sort_keys=True)


def decode(text: str) -> Header:
    """Reads the JSON of `encode`.

    Args:
        text: the JSON, from an untrusted file.

    Returns:
        What it says; whether the tensors are those that were written is for `check_digest`.

    Raises:
        InputError: not that JSON.
    """
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
        kind = ViTConfig if "patch" in backbone else ResNetConfig
        config = ModelConfig(backbone=kind(**backbone), **_tuples(fields))
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise InputError(f"the file's header does not describe a network: {error}") from error
    return Header(config, layout, None if checksum is None else str(checksum), described)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def check_digest(header: Header, tensors: Mapping[str, np.ndarray]) -> None:
    """Compares a file's content with the checksum that was written into it.

    Args:
        header: of the file.
        tensors: name -> array, all of the file.

    Raises:
        InputError: something in the file is not what was written.
    """
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
