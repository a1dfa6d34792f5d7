"""PyTorch's checkpoint files from strangers, read without running code in them."""

import math
import warnings
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from jaxreid.errors import InputError, first_line
from jaxreid.models.weights.files.archives import array_of, number_of, pickled, read_archive
from jaxreid.models.weights.files.formats import EXPORTED, holds_programs
from jaxreid.models.weights.files.nesting import Nested, state_dict_of
from jaxreid.models.weights.files.pickles import names_in
from jaxreid.models.weights.files.rebuilding import ForbiddenError, View

__all__ = ["read_alone", "read_torch", "to_numpy", "to_torch_tensor"]

# Tied weights are stored once and count twice; a file of ties alone is no checkpoint.
_TIES = 4
_ENCRYPTED = 1


def read_torch(path: Path, size: int, network: str | None = None) -> Nested:
    """Reads the state dict in PyTorch's zip or legacy format, with `weights_only=True`.

    Where PyTorch is not installed, a reader of our own does, with the same limits. A file that
    claims to unpack to more than its `size` in bytes is refused. `network` is the key of the one
    to take where a file has several.
    """
    if zipfile.is_zipfile(path):
        _check_zip(path, size)
    try:
        import torch
    # It is not there, or does not start.
    except (ImportError, OSError):
        return read_alone(path, size, network)
    with torch.serialization.safe_globals(_harmless_globals()), warnings.catch_warnings():
        # What torch warns of here is what it raises next, and the message is one line.
        warnings.simplefilter("ignore")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        # A broken pickle fails in any way the stream steers it to; none of them is our fault.
        except Exception as error:
            forbidden = any(word in str(error).lower() for word in ("weights_only", "unsupported"))
            raise InputError(_not_loaded(path, error, forbidden)) from error
    found = state_dict_of(
        content, str(path), lambda value: isinstance(value, torch.Tensor), network
    )
    for name, value in found.tensors.items():
        if value.layout != torch.strided:
            raise InputError(f"{path}: {name} is a sparse tensor")
    _refuse_large_claims(
        {n: math.prod(v.shape) * v.element_size() for n, v in found.tensors.items()}, path, size
    )
    arrays = {name: to_numpy(name, value, str(path)) for name, value in found.tensors.items()}
    return found._replace(tensors=arrays)


def read_alone(path: Path, size: int, network: str | None = None) -> Nested:
    """What `read_torch` gives, without PyTorch."""
    try:
        archive = read_archive(path)
    except Exception as error:
        forbidden = isinstance(error, ForbiddenError)
        raise InputError(_not_loaded(path, error, forbidden)) from error
    found = state_dict_of(
        archive.content, str(path), lambda value: isinstance(value, View), network
    )
    claims = {}
    for name, view in found.tensors.items():
        try:
            claims[name] = math.prod(view.shape) * number_of(view.dtype).itemsize
        except TypeError as error:
            raise InputError(f"{path}: {name} is no array: {first_line(error)}") from error
    _refuse_large_claims(claims, path, size)
    arrays = {}
    with path.open("rb") as file:
        for name, view in found.tensors.items():
            try:
                arrays[name] = array_of(file, archive, view)
            except Exception as error:
                reason = f"truncated or broken ({name}: {first_line(error)[:200]})"
                raise InputError(f"{path}: not loaded: {reason}") from error
    return found._replace(tensors=arrays)


def _not_loaded(path: Path, error: BaseException, forbidden: bool) -> str:
    """Why a file is not loaded: what it asks for beside tensors, or how it is broken."""
    names = names_in(pickled(path))
    layers = [name for name in names if name.startswith(("torch.nn.modules.", "torch.nn.Module"))]
    if forbidden and layers:
        network = names[0] if not names[0].startswith("collections.") else layers[0]
        return (
            f"{path}: not loaded: it holds a whole network ({network}) with its code, and loading "
            "it could run code; in its own project write its weights alone: "
            "torch.save(network.state_dict(), 'weights.pth')"
        )
    if forbidden:
        return (
            f"{path}: not loaded: it holds more than tensors, and loading it could run code; save "
            f"its state_dict() ({_reason(error)})"
        )
    return f"{path}: not loaded: truncated or broken ({_reason(error)})"


def _reason(error: BaseException) -> str:
    """The line of torch's long explanation that names what was refused, or its first sentence."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:200]
    return first_line(error).partition(". ")[0][:200]


def _check_zip(path: Path, size: int) -> None:
    """Refuses archives of other things, and those whose entries lie about their place or size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
        raise InputError(f"{path}: not loaded: truncated or broken ({error})") from error
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{path} is a TorchScript file, a program with its weights; write the weights alone: "
            "torch.save(torch.jit.load(...).state_dict(), 'weights.pth')"
        )
    # PyTorch stores its entries uncompressed, so they cannot be larger than the file.
    claimed = sum(entry.file_size for entry in entries)
    mains = [name for name in names if name.endswith("/data.pkl")]
    if mains and (
        claimed > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    ):
        raise InputError(
            f"{path}: not loaded: {size} bytes that unpack to {claimed}; PyTorch does not "
            "compress its checkpoints, so this is not one"
        )
    if not names:
        raise InputError(f"{path} is a zip archive without any file; expected one of PyTorch's")
    if not mains and holds_programs(names):
        raise InputError(
            f"{path} is an exported model ({EXPORTED}), whose weights cannot be converted or "
            "trained: name the file that it was exported from"
        )
    if not mains:
        raise InputError(
            f"{path} is a zip archive of other files than PyTorch's ({', '.join(names[:3])}): "
            "unpack it and name the file of weights"
        )
    _refuse_overlaps(path, entries)


def _refuse_overlaps(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Two entries on the same bytes, or of one name, are a trick; so is one that is encrypted."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    for entry, after in pairwise(ordered):
        if entry.header_offset + entry.compress_size > after.header_offset:
            raise InputError(
                f"{path}: not loaded: truncated or broken ({entry.filename} and "
                f"{after.filename} overlap)"
            )
    if len({entry.filename for entry in entries}) != len(entries):
        raise InputError(f"{path}: not loaded: truncated or broken (two entries of one name)")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise InputError(f"{path}: not loaded: it is encrypted")


def _harmless_globals() -> list[Any]:
    """What training scripts put beside the weights: NumPy scalars such as the best mAP, settings.

    They are rebuilt from bytes or hold values; none of these names can call anything else.
    """
    import argparse

    from numpy._core.multiarray import scalar

    codes = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    types = [type(np.dtype(code)) for code in codes]
    # Files written with NumPy 1 name the module by its former path.
    old = (scalar, "numpy.core.multiarray.scalar")
    return [old, scalar, np.dtype, argparse.Namespace, *types]


def _refuse_large_claims(claims: Mapping[str, int], path: Path, size: int) -> None:
    """A tensor may be a view that repeats one stored number 10^12 times."""
    total = 0
    for name, claimed in claims.items():
        if claimed > size:
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


def to_torch_tensor(value: np.ndarray) -> Any:
    """The inverse of `to_numpy`: a PyTorch tensor of the same type and bits."""
    import torch

    # A tensor must own what it may write to.
    value = np.array(value)
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(value)
