"""Checkpoint files: found, read without running code in them, written whole or not at all."""

import errno
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing
from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.nesting import Nested, state_dict_of
from jaxreid.models.weights.torch_files import first_line, read_torch, to_numpy

__all__ = ["Checkpoint", "from_memory", "read", "write"]

_GIB = 1 << 30
# The user's choice of a path is wrong; anything else is the disk's fault.
_WRONG_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)

_EXPECTED = "expected hf:owner/name or hf:owner/name/file, and @revision behind it if need be"
# The hub's own rule for the two parts of a repository's name.
_PART = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./-]{0,254}", re.ASCII)


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
    """Reads a checkpoint: .safetensors, or PyTorch's zip or legacy format (needs torch).

    Nothing in the file is executed: PyTorch files are opened with `weights_only=True`. The format
    is recognised by the content, not by the name.

    Args:
        source: path, or "hf:owner/name" with an optional "/file" and "@revision".
        network: the key of the network to take, where a file has several.
        max_bytes: a file larger than this, or that claims to unpack to more, is refused.
    """
    path = _download(str(source)) if str(source).startswith("hf:") else Path(source)
    try:
        if path.is_dir():
            raise InputError(f"{source} is a folder; expected a .safetensors or PyTorch file")
        if not path.is_file():
            raise InputError(f"{source}: no {'regular' if path.exists() else 'such'} file")
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(f"{source}: {size} bytes are more than the limit of {max_bytes}")
        with path.open("rb") as file:
            head = file.read(9)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{source}: cannot be read: {reason_of(error)}") from None
    if not size:
        raise InputError(f"{source}: the file is empty")
    if head[8:9] == b"{":
        tensors, metadata = _read_safetensors(path)
    elif head[:2] == b"PK" or head[:1] == b"\x80":
        found = read_torch(path, size, network)
        return Checkpoint(
            _not_empty(found.tensors, str(source)), {}, str(source), found.peeled, found.ignored
        )
    else:
        raise InputError(f"{source}: neither a .safetensors nor a PyTorch file")
    return Checkpoint(_not_empty(tensors, str(source)), metadata, str(source))


def _download(source: str) -> Path:
    """Path in the local Hugging Face cache of "hf:owner/name", fetched where it is not there."""
    from huggingface_hub import errors, hf_hub_download

    owner, name, file, revision = _parts(source)
    candidates = [file] if file else ["model.safetensors", "pytorch_model.bin"]
    for candidate in candidates:
        try:
            return Path(hf_hub_download(f"{owner}/{name}", candidate, revision=revision or None))
        except errors.LocalEntryNotFoundError as error:
            raise InputError(
                f"{source}: not in the local cache, and huggingface.co cannot be reached"
            ) from error
        except errors.EntryNotFoundError:
            continue
        # Whatever else: the network, the disk, a name that the hub does not take.
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)[:200]}"
            raise InputError(f"{source}: {reason}") from error
    raise InputError(f"{source}: the repository has none of {', '.join(candidates)}")


def _parts(source: str) -> tuple[str, str, str, str]:
    """Owner, name, file and revision, none of which can lead out of the cache."""
    spec, at, revision = source.removeprefix("hf:").partition("@")
    owner, _, rest = spec.partition("/")
    name, slash, file = rest.partition("/")
    steps = file.split("/") if slash else []
    if not (_PART.fullmatch(owner) and _PART.fullmatch(name)):
        raise InputError(f"{source}: {_EXPECTED}")
    if any(step in ("", ".", "..") or not step.isprintable() or "\\" in step for step in steps):
        raise InputError(f"{source}: {file!r} is no path inside a repository; {_EXPECTED}")
    if at and not _REVISION.fullmatch(revision):
        raise InputError(f"{source}: {revision!r} is no revision; {_EXPECTED}")
    return owner, name, file, revision


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    except AttributeError as error:
        # The library looks types of 8 bits and less up in NumPy.
        raise InputError(f"{path}: has a type that is not read: {first_line(error)}") from error
    except (
        *(SafetensorError, TypeError, ValueError, KeyError),
        *(MemoryError, OverflowError),
    ) as error:
        raise InputError(f"{path}: broken .safetensors file: {first_line(error)}") from error


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
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise InputError(f"{path} is a folder; expected the name of a file")
        with replacing(path) as temporary:
            save(dict(tensors), temporary, metadata=dict(metadata))
    except OSError as error:
        raise _refused(error, path) from error
    except SafetensorError as error:
        # The library writes by itself, and gives the system's error as text.
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise OSError(f"{path} cannot be written: {first_line(error)}") from error
        raise _refused(OSError(int(code[1]), os.strerror(int(code[1]))), path) from error


def _refused(error: OSError, path: Path) -> Exception:
    if error.errno in _WRONG_PLACE:
        return InputError(f"{path} cannot be written: {reason_of(error)}")
    return OSError(error.errno, reason_of(error), str(path)) if error.errno else error
