"""Files of safetensors, one or several that an index joins."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxreid.errors import InputError, first_line, reason_of
from jaxreid.models.weights.files.formats import HEAD, SAFETENSORS, foreign, kind_of_file

__all__ = [
    "folder_index",
    "is_index",
    "parts_of",
    "read_safetensors",
    "read_shards",
    "refuse_shard",
]

_INDEX = ".safetensors.index.json"
_LONGEST_INDEX = 1 << 26
_SHARD = re.compile(r"-(\d+)-of-(\d+)\.safetensors$")


def is_index(path: Path) -> bool:
    """Whether a file lists shards, by its name."""
    return path.name.endswith(_INDEX)


def refuse_shard(path: Path) -> None:
    """Refuses a file that is one of several by its name: a network is all of them."""
    named = _SHARD.search(path.name)
    if named and int(named[2]) > 1:
        raise InputError(
            f"{path} is shard {int(named[1])} of {int(named[2])}: name their index (*{_INDEX}), or "
            "the folder that holds it"
        )


def folder_index(folder: Path) -> Path:
    """The one index of shards in a folder."""
    found = sorted(path for path in folder.iterdir() if is_index(path))
    if len(found) != 1:
        what = "several indices" if found else "no index"
        raise InputError(
            f"{folder} is a folder with {what} of shards (*{_INDEX}); expected a .safetensors or "
            "PyTorch file"
        )
    return found[0]


def parts_of(path: Path) -> list[Path]:
    """The files that hold what a path stands for: itself, or an index and its shards."""
    index = folder_index(path) if path.is_dir() else path
    if not is_index(index):
        return [index]
    return [index, *(index.parent / shard for shard in sorted(set(_weight_map(index).values())))]


def read_shards(index: Path, max_bytes: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of all shards that an index names, each where it says."""
    places = _weight_map(index)
    shards = sorted(set(places.values()))
    _check_shards(index, shards, max_bytes)
    tensors: dict[str, np.ndarray] = {}
    for shard in shards:
        found, _ = read_safetensors(index.parent / shard)
        for name, value in found.items():
            if name in tensors:
                raise InputError(f"{index}: {name} is in {shard} and in {places.get(name)}")
            if places.get(name) != shard:
                where = places.get(name, "no shard")
                raise InputError(f"{index}: {name} is in {shard}; the index says {where}")
            tensors[name] = value
    missing = sorted(set(places) - set(tensors))
    if missing:
        raise InputError(f"{index}: {missing[0]} is not in {places[missing[0]]}")
    return tensors, {}


def _weight_map(index: Path) -> dict[str, str]:
    """Name of a tensor -> name of the file beside the index that has it."""
    try:
        if index.stat().st_size > _LONGEST_INDEX:
            raise ValueError("it is larger than any index")
        content: Any = json.loads(index.read_text("utf-8"), object_pairs_hook=_without_doubles)
        places = content["weight_map"]
        if not isinstance(places, dict) or not all(type(file) is str for file in places.values()):
            raise TypeError("weight_map")
    except OSError as error:
        raise InputError(f"{index}: cannot be read: {reason_of(error)}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{index} is no index of shards: expected JSON with weight_map, the file of every "
            f"tensor ({first_line(error)[:100]})"
        ) from error
    for file in places.values():
        if Path(file).name != file or not file.isprintable() or file in ("", ".", ".."):
            raise InputError(f"{index}: {file!r} leads out of the folder; shards lie beside it")
    return places


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("it names something twice")
    return dict(pairs)


def _check_shards(index: Path, shards: list[str], max_bytes: int) -> None:
    total = 0
    for shard in shards:
        path = index.parent / shard
        try:
            if not path.is_file():
                raise InputError(
                    f"{index}: the shard {shard} is not there ({len(shards)} are named)"
                )
            total += path.stat().st_size
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
        if kind_of_file(head) != SAFETENSORS:
            raise InputError(f"{path}{foreign(head)}")
    if total > max_bytes:
        raise InputError(f"{index}: {total} bytes are more than the limit of {max_bytes}")


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of one file."""
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
