"""Checkpoint files from strangers: read without running code, written whole or not at all."""

import errno
import math
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreid.errors import InputError
from jaxreid.files import replacing
from jaxreid.models.weights.hub import download

__all__ = ["Checkpoint", "from_memory", "read", "write"]

_GIB = 1 << 30
# Tied weights are stored once and count twice; a file of ties alone is no checkpoint.
_TIES = 4
# Where training scripts put the state dict: adv-reid, torchreid, fast-reid and timm, DeiT's EMA.
_WRAPPERS = ("net", "state_dict", "model", "model_state", "model_state_dict")
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
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]
    name: str


def read(source: str | os.PathLike[str], *, max_bytes: int = 8 * _GIB) -> Checkpoint:
    """Reads a checkpoint: .safetensors, or PyTorch's zip or legacy format (needs torch).

    Nothing in the file is executed: PyTorch files are opened with `weights_only=True`. The format
    is told by the content, not by the name.

    Args:
        source: path, or "hf:owner/name" with an optional "/file" and "@revision".
        max_bytes: a file larger than this, or that claims to unpack to more, is refused.

    Returns:
        The tensors, in the types of the file.

    Raises:
        InputError: the file is missing, broken, too large, of another format, or would run code.
    """
    path = download(str(source)) if str(source).startswith("hf:") else Path(source)
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
        raise InputError(f"{source}: cannot be read: {_why(error)}") from None
    if not size:
        raise InputError(f"{source}: the file is empty")
    if head[8:9] == b"{":
        tensors, metadata = _read_safetensors(path)
    elif head[:2] == b"PK" or head[:1] == b"\x80":
        tensors, metadata = _read_torch(path, size), {}
    else:
        raise InputError(f"{source}: neither a .safetensors nor a PyTorch file")
    return Checkpoint(_some(tensors, str(source)), metadata, str(source))


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {_why(error)}") from error
    except AttributeError as error:
        # The library looks types of 8 bits and less up in NumPy.
        raise InputError(f"{path}: has a type that is not read: {_first_line(error)}") from error
    except (
        *(SafetensorError, TypeError, ValueError, KeyError),
        *(MemoryError, OverflowError),
    ) as error:
        raise InputError(f"{path}: broken .safetensors file: {_first_line(error)}") from error


def _read_torch(path: Path, size: int) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is a PyTorch file; reading it needs PyTorch: pip install 'jaxreid[torch]' "
            "(.safetensors files do not)"
        ) from error
    if zipfile.is_zipfile(path):
        _refuse_zip_bomb(path, size)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless_globals()):
            # What torch warns of here is what it raises next, and the message is one line.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    # A broken pickle fails in any way the stream steers it to; none of them is our fault.
    except Exception as error:
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            reason = (
                "it holds more than tensors, and loading it could run code; save its state_dict()"
            )
        else:
            reason = "truncated or broken"
        raise InputError(f"{path}: not loaded: {reason} ({_reason(error)})") from error
    tensors = _state_dict(content, path, torch.Tensor)
    _refuse_large_claims(tensors, path, size)
    return {name: _to_numpy(name, value, str(path)) for name, value in tensors.items()}


def _reason(error: BaseException) -> str:
    """The line of torch's long explanation that names what was refused."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:200]
    return _first_line(error)[:200]


def _refuse_zip_bomb(path: Path, size: int) -> None:
    """PyTorch stores its entries uncompressed, so they cannot be larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: not loaded: truncated or broken ({error})") from error
    claimed = sum(entry.file_size for entry in entries)
    if claimed > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(
            f"{path}: not loaded: {size} bytes that unpack to {claimed}; PyTorch does not "
            "compress its checkpoints, so this is not one"
        )


def _harmless_globals() -> list[Any]:
    """What training scripts put beside the weights: NumPy scalars such as the best mAP.

    They are rebuilt from bytes; none of these names can call anything else.
    """
    from numpy._core.multiarray import scalar

    types = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")]
    # Files written with NumPy 1 name the module by its former path.
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *types]


def _state_dict(content: Any, path: Path, tensor: type) -> dict[str, Any]:
    """The state dict inside what torch.load gave: the whole, or the value of a known key."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a state dict, found {type(content).__name__}")
    if not any(isinstance(value, tensor) for value in content.values()):
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                return _state_dict(content[key], path, tensor)
        others = [key for key, value in content.items() if _holds_only(value, tensor)]
        if len(others) == 1:
            return _state_dict(content[others[0]], path, tensor)
        keys = ", ".join(map(str, list(content)[:8]))
        raise InputError(
            f"{path}: found no state dict: expected tensors, or one of the keys "
            f"{', '.join(_WRAPPERS)}; the file has {keys or 'nothing'}"
        )
    others = [str(key) for key, value in content.items() if not isinstance(value, tensor)]
    if others:
        raise InputError(f"{path}: the state dict holds other things than tensors: {others[:8]}")
    return {str(key): value for key, value in content.items()}


def _holds_only(value: Any, tensor: type) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(one, tensor) for one in value.values())
    )


def _refuse_large_claims(tensors: Mapping[str, Any], path: Path, size: int) -> None:
    """A tensor may be a view that repeats one stored number 10^12 times."""
    import torch

    total = 0
    for name, value in tensors.items():
        claimed = math.prod(value.shape) * value.element_size()
        if value.layout != torch.strided or claimed > size:
            raise InputError(f"{path}: {name} claims to be larger than the file")
        total += claimed
        if total > _TIES * size:
            raise InputError(f"{path}: {size} bytes that unpack to more than {_TIES} times that")


def _to_numpy(name: str, value: Any, source: str) -> np.ndarray:
    """A PyTorch tensor of any device, or what NumPy takes for an array; bits are kept."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().contiguous()
            if str(value.dtype) == "torch.bfloat16":
                import ml_dtypes
                import torch

                return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
            value = value.numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{source}: {name} is no array: {_first_line(error)}") from error
    if array.dtype.kind in "OUSMm":
        raise InputError(f"{source}: {name} is no array of numbers but {type(value).__name__}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def from_memory(tensors: Mapping[str, Any]) -> Checkpoint:
    """Takes a state dict as it lies in memory.

    Args:
        tensors: name -> PyTorch tensor (any device and type), or array.

    Returns:
        The tensors, in the types they have.

    Raises:
        InputError: it holds nothing, or something that is no array of numbers.
    """
    source = "state dict"
    arrays = {str(name): _to_numpy(str(name), value, source) for name, value in tensors.items()}
    return Checkpoint(_some(arrays, source), {}, source)


def _some(tensors: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    if not tensors:
        raise InputError(f"{source}: holds no tensors")
    return tensors


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a .safetensors file under a temporary name, then renames it.

    Args:
        path: ends in .safetensors; its folder exists.
        tensors: name -> array; types and bits are kept.
        metadata: string -> string for the header.

    Returns:
        Nothing.

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
            raise OSError(f"{path} cannot be written: {_first_line(error)}") from error
        raise _refused(OSError(int(code[1]), os.strerror(int(code[1]))), path) from error


def _refused(error: OSError, path: Path) -> Exception:
    if error.errno in _WRONG_PLACE:
        return InputError(f"{path} cannot be written: {_why(error)}")
    return OSError(error.errno, _why(error), str(path)) if error.errno else error
