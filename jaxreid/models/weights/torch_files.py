"""PyTorch's checkpoint files from strangers, read without running code in them."""

import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.weights.nesting import Nested, state_dict_of

__all__ = ["first_line", "read_torch", "to_numpy"]

# Tied weights are stored once and count twice; a file of ties alone is no checkpoint.
_TIES = 4


def read_torch(path: Path, size: int, network: str | None = None) -> Nested:
    """Reads the state dict in PyTorch's zip or legacy format, with `weights_only=True`.

    A file that claims to unpack to more than its `size` in bytes is refused. `network` is the key
    of the one to take where a file has several.
    """
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
    found = state_dict_of(
        content, str(path), lambda value: isinstance(value, torch.Tensor), network
    )
    _refuse_large_claims(found.tensors, path, size)
    arrays = {name: to_numpy(name, value, str(path)) for name, value in found.tensors.items()}
    return found._replace(tensors=arrays)


def _reason(error: BaseException) -> str:
    """The line of torch's long explanation that names what was refused."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:200]
    return first_line(error)[:200]


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


def to_numpy(name: str, value: Any, source: str) -> np.ndarray:
    """Takes a PyTorch tensor of any device, or an array, to NumPy bit by bit.

    bfloat16 becomes `ml_dtypes.bfloat16`; `source` is where it is from, for messages.
    """
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
        raise InputError(f"{source}: {name} is no array: {first_line(error)}") from error
    if array.dtype.kind in "OUSMm":
        raise InputError(f"{source}: {name} is no array of numbers but {type(value).__name__}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
