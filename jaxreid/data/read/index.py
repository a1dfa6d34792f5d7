"""The columns of a prepared split, beside its records: read without touching an image."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing

__all__ = ["INDEX_FILE", "SplitIndex", "read_index", "read_upright", "write_index"]

INDEX_FILE = "reid_index.npz"


@dataclass(frozen=True)
class SplitIndex:
    """One row per image, in the order of the records; all int64 [N] but the last.

    Attributes:
        identity: 0 is a distractor, -1 junk.
        label: from 0 among the identities of `train`; -1 elsewhere.
        label_all: from 0 among all training identities, validation included; -1 elsewhere.
        camera: from 0.
        sequence: -1 where the name has none.
        frame: -1 where the name has none.
        checksum: CRC-32 of the image's bytes.
        file_name: str [N], the path below the original split's folder.
    """

    identity: np.ndarray
    label: np.ndarray
    label_all: np.ndarray
    camera: np.ndarray
    sequence: np.ndarray
    frame: np.ndarray
    checksum: np.ndarray
    file_name: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)

    @classmethod
    def concatenated(cls, parts: Sequence["SplitIndex"]) -> "SplitIndex":
        """The rows of one or more splits, one after the other."""
        columns = {name: [getattr(part, name) for part in parts] for name in _COLUMNS}
        return cls(**{name: np.concatenate(rows) for name, rows in columns.items()})


_AS_STORED = "as_stored"
_COLUMNS = tuple(field.name for field in fields(SplitIndex))


def write_index(folder: Path, splits: Mapping[str, SplitIndex], *, upright: bool = True) -> None:
    """Writes the columns of all splits beside the records.

    `upright`: whether images are turned as their Exif orientation says when they are decoded.
    """
    columns = {
        f"{split}/{name}": column
        for split, index in splits.items()
        for name, column in vars(index).items()
    }
    if not upright:
        columns[_AS_STORED] = np.array(True)
    with replacing(folder / INDEX_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)


def read_index(folder: Path) -> dict[str, SplitIndex]:
    """Split -> its columns, as `write_index` wrote them; InputError if missing or damaged."""
    with _opened(folder) as columns:
        names = sorted({key.partition("/")[0] for key in columns.files if key != _AS_STORED})
        splits = {
            split: SplitIndex(**{name: columns[f"{split}/{name}"] for name in _COLUMNS})
            for split in names
        }
        for split, index in splits.items():
            _check_columns(split, index)
        return splits


def read_upright(folder: Path) -> bool:
    """Whether a dataset's images are turned as their Exif orientation says, not left as stored."""
    with _opened(folder) as columns:
        return _AS_STORED not in columns.files


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[np.lib.npyio.NpzFile]:
    path = folder / INDEX_FILE
    try:
        with np.load(path, allow_pickle=False) as columns:
            yield columns
    except FileNotFoundError:
        raise InputError(
            f"{folder} has no {INDEX_FILE}; expected a dataset prepared by 'jaxreid data prepare'; "
            "if it is one, prepare it again with --force"
        ) from None
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        raise InputError(
            f"{path} is damaged ({reason_of(error)}); prepare the dataset again with --force"
        ) from None


def _check_columns(split: str, index: SplitIndex) -> None:
    rows = len(index.identity)
    for name, column in vars(index).items():
        kind = "U" if name == "file_name" else "i"
        if column.shape != (rows,) or column.dtype.kind != kind:
            raise ValueError(f"{split}/{name} is {column.dtype} {list(column.shape)}")
