"""Splits with random access: encoded images by index, and columns that need no image."""

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np

from jaxreid.data.catalogue import PARTS_OF_TRAIN_ALL, SPLITS
from jaxreid.data.decode import as_png
from jaxreid.data.prepared import (
    SplitIndex,
    prepared_folder,
    read_index,
    read_upright,
    record_files,
)
from jaxreid.errors import InputError, reason_of

__all__ = [
    "Example",
    "InMemorySplit",
    "ReidSource",
    "ReidSplit",
    "available_splits",
    "open_split",
]

_REASON = 200  # characters of what C++ says


class Example(TypedDict):
    """One image of a split.

    Attributes:
        image: the encoded JPEG, PNG, BMP or WebP.
        identity: 0 is a distractor, -1 junk.
        label: from 0 in training, -1 elsewhere.
        camera: from 0.
        sequence: -1 where it is unknown.
        frame: -1 where it is unknown.
        file_name: its path below the original split's folder.
        upright: False where the image must not be turned as its Exif orientation says.
    """

    image: bytes
    identity: int
    label: int
    camera: int
    sequence: int
    frame: int
    file_name: str
    upright: NotRequired[bool]


@runtime_checkable
class ReidSource(Protocol):
    """What the loader needs: a split with random access, known without reading its images.

    Attributes:
        identities: int64 [N]; 0 is a distractor, -1 junk.
        labels: int64 [N]; contiguous from 0 in training, -1 elsewhere.
        cameras: int64 [N], 0-based.
        file_names: N names; error messages use them.
    """

    @property
    def identities(self) -> np.ndarray: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray: ...  # noqa: D102
    @property
    def cameras(self) -> np.ndarray: ...  # noqa: D102
    @property
    def file_names(self) -> Sequence[str]: ...  # noqa: D102

    def __len__(self) -> int: ...

    # An `Example`, of which sources of one's own may leave out all but the image.
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


def _parts_of(split: str, index: dict[str, SplitIndex], folder: Path) -> list[str]:
    parts = [split] if split != "train_all" else [p for p in PARTS_OF_TRAIN_ALL if p in index]
    if not parts or any(part not in index for part in parts):
        have = ", ".join(s for s in SPLITS if s in index or s == "train_all")
        raise InputError(f"{folder} has no split {split!r}; expected one of: {have}")
    return parts


class ReidSplit:
    """A prepared split as a random-access source, for Grain and for plain loops.

    Can be pickled (workers open the records anew) and read from several threads.

    Args:
        folder: where the records are; `open_split` finds it.
        split: one of `SPLITS`.

    Raises:
        InputError: the folder has no such split, or is damaged.

    Attributes:
        identities: int64 [N]; 0 is a distractor, -1 junk.
        labels: int64 [N]; from 0 by ascending identity in `train` (its people only) and
            `train_all` (all training people); -1 in the other splits.
        cameras: int64 [N], from 0.
        file_names: N paths below the original split's folder.
        upright: whether images are turned as their Exif orientation says; see `Example`.
    """

    def __init__(self, folder: Path, split: str) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        # Not left to the threads that read: importing it together they wait for ever, now and then.
        from tensorflow_datasets.proto import tf_example_pb2  # noqa: F401

        index = read_index(folder)
        parts = _parts_of(split, index, folder)
        self._columns = SplitIndex.concatenated([index[part] for part in parts])
        paths = [path for part in parts for path in record_files(folder, part)]
        try:
            self._records = ArrayRecordDataSource(paths)
        except (RuntimeError, OSError, ValueError) as error:
            raise _damaged(f"{folder}, split {split}", error) from None
        if len(self._records) != len(self._columns):
            raise InputError(
                f"{folder} has {len(self._records)} records of split {split} and "
                f"{len(self._columns)} in its index; prepare it again with --force"
            )
        self._folder, self._split = folder, split
        self.upright = read_upright(folder)
        self.identities = self._columns.identity
        self.labels = self._columns.label_all if split == "train_all" else self._columns.label
        self.cameras = self._columns.camera
        self.file_names: tuple[str, ...] = tuple(self._columns.file_name.tolist())

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: int) -> Example:
        columns = self._columns
        if not 0 <= index < len(columns):
            raise IndexError(f"{self!r} has no image {index}")
        # The rest of the record is in the columns already; only the image is parsed.
        example: Example = {
            "image": self._image(index),
            "identity": int(columns.identity[index]),
            "label": int(self.labels[index]),
            "camera": int(columns.camera[index]),
            "sequence": int(columns.sequence[index]),
            "frame": int(columns.frame[index]),
            "file_name": self.file_names[index],
        }
        if not self.upright:
            example["upright"] = False
        return example

    def _image(self, index: int) -> bytes:
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            example = tf_example_pb2.Example.FromString(self._records[index])
            image: bytes = example.features.feature["image"].bytes_list.value[0]
        except Exception as error:  # array_record's, protobuf's: whatever damage makes them raise
            raise _damaged(self._place(index), error) from None
        # Files are opened when they are first read: by then other data may have taken their place.
        if zlib.crc32(image) != self._columns.checksum[index]:
            raise InputError(
                f"{self._place(index)} does not hold the image that the index names: the dataset "
                "is damaged, or was prepared anew meanwhile; start again, or prepare it again "
                "with --force"
            )
        return image

    def _place(self, index: int) -> str:
        return f"{self._folder}, split {self._split}, record {index} ({self.file_names[index]})"

    @property
    def sequences(self) -> np.ndarray:
        """Sequence of each image, int64 [N]; -1 where its name has none."""
        return self._columns.sequence

    @property
    def frames(self) -> np.ndarray:
        """Frame of each image, int64 [N]; -1 where its name has none."""
        return self._columns.frame

    @property
    def checksums(self) -> np.ndarray:
        """CRC-32 of each image's bytes, int64 [N], taken before they were written."""
        return self._columns.checksum

    def __repr__(self) -> str:
        return f"ReidSplit({str(self._folder)!r}, {self._split!r}): {len(self)} images"


def _damaged(where: str, error: Exception) -> InputError:
    said = reason_of(error)[:_REASON]
    return InputError(f"{where} cannot be read ({said}); prepare the dataset again with --force")


class InMemorySplit:
    """A `ReidSource` from lists.

    Args:
        images: N encoded images (JPEG or PNG), or their pixels, uint8 [N,H,W,3] in RGB.
        identities: N integers; 0 is a distractor, -1 junk.
        cameras: N integers, from 0.
        labels: N integers; by default the rank of the identity among those present.
        file_names: N names; by default the index with seven digits.

    Raises:
        InputError: lengths differ, or pixels are something else.
    """

    def __init__(
        self,
        images: Sequence[bytes] | Sequence[np.ndarray] | np.ndarray,
        identities: Sequence[int],
        cameras: Sequence[int],
        *,
        labels: Sequence[int] | None = None,
        file_names: Sequence[str] | None = None,
    ) -> None:
        count = len(images)
        self.identities = np.asarray(identities, dtype=np.int64)
        self.cameras = np.asarray(cameras, dtype=np.int64)
        ranks = np.searchsorted(np.unique(self.identities), self.identities)
        self.labels = np.asarray(ranks if labels is None else labels, dtype=np.int64)
        names = [f"{i:07d}.jpg" for i in range(count)] if file_names is None else file_names
        self.file_names: tuple[str, ...] = tuple(names)
        for what in ("identities", "cameras", "labels", "file_names"):
            if np.shape(getattr(self, what)) != (count,):
                raise InputError(
                    f"{what} has shape {np.shape(getattr(self, what))}; expected ({count},), one "
                    "per image"
                )
        self._images = [i if isinstance(i, bytes) else as_png(i) for i in images]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        return {
            "image": self._images[index],
            "identity": int(self.identities[index]),
            "label": int(self.labels[index]),
            "camera": int(self.cameras[index]),
            "sequence": -1,
            "frame": -1,
            "file_name": self.file_names[index],
        }


def open_split(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
) -> ReidSplit:
    """Opens a split of a prepared dataset.

    Args:
        name: such as `market1501`, or with its config `cuhk03_np/labeled`.
        split: one of `SPLITS`.
        data_dir: where prepared datasets are; `default_data_dir()` by default.
        config: the config, if `name` does not have it; the dataset's first one by default.

    Returns:
        A source: `len(s)`, `s[i]` (an `Example`), and columns such as `s.identities`.

    Raises:
        InputError: the dataset is not prepared, or has no such split.
    """
    return ReidSplit(prepared_folder(name, data_dir=data_dir, config=config), split)


def available_splits(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, config: str | None = None
) -> tuple[str, ...]:
    """Lists the splits of a prepared dataset.

    Args:
        name: as in `open_split`.
        data_dir: as in `open_split`.
        config: as in `open_split`.

    Returns:
        Those of `SPLITS` that can be opened.

    Raises:
        InputError: the dataset is not prepared.
    """
    index = read_index(prepared_folder(name, data_dir=data_dir, config=config))
    return tuple(split for split in SPLITS if split in index or split == "train_all")
