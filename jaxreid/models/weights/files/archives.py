"""PyTorch's two containers of a pickle and its storages: the zip of today, the stream of before."""

import contextlib
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import ml_dtypes
import numpy as np

from jaxreid.models.weights.files.pickles import LONGEST, load_pickle
from jaxreid.models.weights.files.rebuilding import Storage, View

__all__ = ["Archive", "Stored", "array_of", "number_of", "pickled", "read_archive"]

# Opens PyTorch's stream of before 2020.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_TYPES: tuple[str, ...] = (
    "bool",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
_TYPES += tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Stored(NamedTuple):
    """Where a storage lies: first byte and number of bytes in the file."""

    start: int
    size: int


class Archive(NamedTuple):
    """What a file holds.

    Attributes:
        content: what was pickled; its tensors are Views.
        places: key of a storage -> where it lies.
        order: byte order of the numbers, "<" or ">".
    """

    content: Any
    places: Mapping[str, Stored]
    order: Literal["<", ">"]


def read_archive(path: Path) -> Archive:
    """Reads the pickle of either container and finds the storages; the storages stay in the file.

    Raises ForbiddenError for more than tensors, and whatever for what is broken.
    """
    if zipfile.is_zipfile(path):
        return _from_zip(path)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise EOFError("the archive has no directory")
        file.seek(0)
        return _from_stream(file)


def pickled(path: Path) -> IO[bytes]:
    """The bytes of the pickles in a file, for whoever looks at their names only."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(path):
            return io.BytesIO(file.read(LONGEST))
        # What is broken enough has no pickle.
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith("/data.pkl"):
                    return io.BytesIO(_bytes_of(file, entry))
    return io.BytesIO()


def _from_zip(path: Path) -> Archive:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        (main,) = (name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = main.removesuffix("data.pkl")
        # PyTorch may leave the checksums out, so they are not looked at.
        with path.open("rb") as file:
            content = load_pickle(io.BytesIO(_bytes_of(file, entries[main])))
            order = b"little"
            if f"{folder}byteorder" in entries:
                order = _bytes_of(file, entries[f"{folder}byteorder"])
            data = f"{folder}data/"
            places = {
                name.removeprefix(data): _place(file, entry)
                for name, entry in entries.items()
                if name.startswith(data)
            }
    return Archive(content, places, _ORDERS[order])


def _place(file: IO[bytes], entry: zipfile.ZipInfo) -> Stored:
    """Where the bytes of an entry begin: behind its own header, which has a length of its own."""
    file.seek(entry.header_offset)
    mark, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if mark != b"PK\x03\x04":
        raise ValueError(f"{entry.filename} does not begin where the archive says")
    return Stored(entry.header_offset + _LOCAL_HEADER.size + name + extra, entry.file_size)


def _bytes_of(file: IO[bytes], entry: zipfile.ZipInfo) -> bytes:
    place = _place(file, entry)
    if place.size > LONGEST:
        raise ValueError(f"{entry.filename} is longer than a pickle of tensors")
    file.seek(place.start)
    return _exactly(file, place.size)


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise EOFError("the file ends early")
    return content


def _from_stream(file: IO[bytes]) -> Archive:
    """Magic number, protocol, machine, content, keys; then each storage behind its length."""
    if load_pickle(file) != _MAGIC or load_pickle(file) != _PROTOCOL:
        raise ValueError("no checkpoint of PyTorch")
    load_pickle(file)
    storages: dict[str, Storage] = {}
    content = load_pickle(file, storages)
    keys = load_pickle(file)
    here, end = file.tell(), file.seek(0, io.SEEK_END)
    places = {}
    for key in keys:
        file.seek(here)
        (count,) = struct.unpack("<q", _exactly(file, 8))
        places[key] = Stored(here + 8, count * number_of(storages[key].dtype).itemsize)
        here = here + 8 + places[key].size
        if count < 0 or here > end:
            raise EOFError("the file ends early")
    return Archive(content, places, "<")


def number_of(dtype: str) -> np.dtype[Any]:
    """The NumPy type of what torch calls "bfloat16"; a TypeError for those that NumPy lacks."""
    if dtype not in _TYPES:
        raise TypeError(f"NumPy has no torch.{dtype}")
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def array_of(file: IO[bytes], archive: Archive, view: View) -> np.ndarray:
    """The numbers of a tensor, in the order of its axes and in this machine's byte order.

    Only the part of the storage that it looks at is read. A ValueError where it looks beyond, a
    TypeError where NumPy has no such type.
    """
    dtype = number_of(view.dtype)
    stored = dtype.newbyteorder(archive.order) if view.dtype != "bfloat16" else dtype
    width = number_of(view.storage.dtype).itemsize
    place = archive.places[view.storage.key]
    # Offsets of an untyped storage count bytes, of a tensor in it numbers.
    first = place.start + view.storage.start * width + view.offset * dtype.itemsize
    if math.prod(view.shape) == 0:
        return np.zeros(view.shape, dtype)
    reach = 1 + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
    last = view.storage.start * width + (view.offset + reach) * dtype.itemsize
    if last > place.size or view.storage.count * width > place.size:
        raise ValueError("it looks beyond the end of its storage")
    file.seek(first)
    content = _exactly(file, reach * dtype.itemsize)
    if view.dtype == "bfloat16" and archive.order == ">":
        content = np.frombuffer(content, ">u2").astype("<u2").tobytes()
    strides = tuple(step * dtype.itemsize for step in view.strides)
    window = np.ndarray(view.shape, stored, content, 0, strides)
    return np.ascontiguousarray(window).astype(dtype, copy=True).reshape(view.shape)
