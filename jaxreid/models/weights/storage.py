"""Checkpoint files: found, read without running code in them, written whole or not at all."""

import errno
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreid.errors import InputError, first_line, reason_of
from jaxreid.files import replacing
from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.files.formats import HEAD, SAFETENSORS, TORCH, foreign, kind_of_file
from jaxreid.models.weights.files.hub import download
from jaxreid.models.weights.files.nesting import Nested, state_dict_of
from jaxreid.models.weights.files.tensor_files import (
    folder_index,
    is_index,
    parts_of,
    read_safetensors,
    read_shards,
    refuse_shard,
)
from jaxreid.models.weights.files.torch_files import read_torch, to_numpy, to_torch_tensor

__all__ = [
    "Checkpoint",
    "file_digest",
    "from_memory",
    "read",
    "write",
    "write_by",
    "write_torch",
]

_GIB = 1 << 30
# The user's choice of a path is wrong; anything else is the disk's fault.
_WRONG_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: name -> array, names without data-parallel prefixes.
        metadata: string -> string of a .safetensors header; empty for other formats.
        name: of the file, for messages.
        peeled: keys of the file below which the tensors lie, from the outside, such as
            ("state_dict",).
        ignored: tensors of other networks in the file, and why they were left.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]
    name: str
    peeled: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()


def read(
    source: str | os.PathLike[str], *, network: str | None = None, max_bytes: int = 8 * _GIB
) -> Checkpoint:
    """Reads a checkpoint: .safetensors, whole or in shards, or PyTorch's zip or legacy format.

    Nothing in the file is executed: PyTorch files are opened with `weights_only=True`, or without
    PyTorch by a reader that knows tensors alone. The format is recognised by the content, not by
    the name; shards by the name of their index.

    Args:
        source: path of a file, of the index of shards or of the folder that holds it, or
            "hf:owner/name" with an optional "/file" and "@revision".
        network: the key of the network to take, where a file has several.
        max_bytes: a file larger than this, or that claims to unpack to more, is refused.
    """
    path = download(str(source)) if str(source).startswith("hf:") else Path(source)
    try:
        if path.is_dir():
            path = folder_index(path)
        if not path.is_file():
            raise InputError(f"{source}: no {'regular' if path.exists() else 'such'} file")
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(f"{source}: {size} bytes are more than the limit of {max_bytes}")
        with path.open("rb") as file:
            head = file.read(HEAD)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{source}: cannot be read: {reason_of(error)}") from None
    if is_index(path):
        tensors, metadata = read_shards(path, max_bytes)
    elif (kind := kind_of_file(head)) == SAFETENSORS:
        refuse_shard(path)
        tensors, metadata = read_safetensors(path)
    elif kind == TORCH:
        found = read_torch(path, size, network)
        return Checkpoint(
            _not_empty(found.tensors, str(source)), {}, str(source), found.peeled, found.ignored
        )
    else:
        raise InputError(f"{source}{foreign(head)}")
    return Checkpoint(_not_empty(tensors, str(source)), metadata, str(source))


def file_digest(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of what a path stands for; of shards one after the other, by name."""
    digest, size = hashlib.sha256(), 0
    for part in parts_of(path):
        size += part.stat().st_size
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return size, digest.hexdigest()


def from_memory(tensors: Mapping[str, Any], network: str | None = None) -> Checkpoint:
    """Takes a state dict of PyTorch tensors (any device and type) or arrays, in their types.

    It may lie below keys, as in what `torch.load` gives; `network` is one to take.
    """
    source = "state dict"
    found = Nested(dict(tensors), (), ())
    if any(isinstance(value, Mapping) for value in tensors.values()):
        found = state_dict_of(tensors, source, lambda value: hasattr(value, "shape"), network)
    arrays = {name: to_numpy(str(name), value, source) for name, value in found.tensors.items()}
    arrays = {str(name): value for name, value in arrays.items()}
    return Checkpoint(_not_empty(arrays, source), {}, source, found.peeled, found.ignored)


def _not_empty(tensors: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    if not tensors:
        raise InputError(f"{source}: holds no tensors")
    return tensors


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a .safetensors file under a temporary name, then renames it; types and bits are kept.

    Raises:
        InputError: another suffix, no such folder, or a place that may not be written.
        OSError: the disk is full or broken.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: weights are written as .safetensors")
    save: Callable[..., None] = save_file
    try:
        write_by(path, lambda temporary: save(dict(tensors), temporary, metadata=dict(metadata)))
    except SafetensorError as error:
        # The library writes by itself, and gives the system's error as text.
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise OSError(f"{path} cannot be written: {first_line(error)}") from error
        raise _refused(OSError(int(code[1]), os.strerror(int(code[1]))), path) from error


def write_torch(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict for `torch.load`, in the same way; names, types and bits alone.

    Raises:
        InputError: PyTorch is not installed, no such folder, or a place that may not be written.
        OSError: the disk is full or broken.
    """
    path = Path(path)
    try:
        import torch
    except (ImportError, OSError) as error:
        raise InputError(
            f"{path}: a file of PyTorch is written by PyTorch, which cannot be imported "
            f"({first_line(error)}); write .safetensors"
        ) from error
    state = OrderedDict((name, to_torch_tensor(value)) for name, value in tensors.items())
    try:
        write_by(path, lambda temporary: torch.save(state, temporary))
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {first_line(error)}") from error


def write_by(path: Path, save: Callable[[Path], None]) -> None:
    """Has a file written under a temporary name and renames it.

    Raises:
        InputError: no such folder, or a place that may not be written.
        OSError: the disk is full or broken.
    """
    try:
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise InputError(f"{path} is a folder; expected the name of a file")
        with replacing(path) as temporary:
            save(temporary)
    except OSError as error:
        raise _refused(error, path) from error


def _refused(error: OSError, path: Path) -> Exception:
    if error.errno in _WRONG_PLACE:
        return InputError(f"{path} cannot be written: {reason_of(error)}")
    return OSError(error.errno, reason_of(error), str(path)) if error.errno else error
