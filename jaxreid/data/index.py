"""The columns of a prepared split, beside its records: read without touching an image."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jaxreid.errors import InputError
from jaxreid.files import replacing

__all__ = ["INDEX_FILE", "SplitIndex", "read_index", "write_index"]

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


_COLUMNS = tuple(field.name for field in fields(SplitIndex))


def write_index(folder: Path, splits: Mapping[str, SplitIndex]) -> None:
    """Writes the columns of all splits into a prepared dataset's folder.

    Args:
        folder: the folder of the records.
        splits: split -> its columns.
    """
    columns = {
        f"{split}/{name}": column
        for split, index in splits.items()
        for name, column in vars(index).items()
    }
    with replacing(folder / INDEX_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)
        file.flush()
        os.fsync(file.fileno())


def read_index(folder: Path) -> dict[str, SplitIndex]:
    """Reads what `write_index` wrote.

    Args:
        folder: the folder of the records.

    Returns:
        split -> its columns.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / INDEX_FILE
    try:
        with np.load(path, allow_pickle=False) as columns:
            names = sorted({key.partition("/")[0] for key in columns.files})
            return {
                split: SplitIndex(
                    **{c.name: columns[f"{split}/{c.name}"] for c in fields(SplitIndex)}
                )
                for split in names
            }
    except FileNotFoundError:
        raise InputError(
            f"{folder} has no {INDEX_FILE}; expected a dataset prepared by 'jaxreid data prepare'"
        ) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); prepare the dataset again") from None
