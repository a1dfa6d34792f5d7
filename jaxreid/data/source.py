"""Random access to a prepared split: raw image bytes, and columns that need no image."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxreid.data.catalogue import DATASETS, SPLITS
from jaxreid.data.index import INDEX_FILE, SplitIndex, read_index
from jaxreid.errors import InputError

__all__ = [
    "InMemorySplit",
    "ReidSplit",
    "available_splits",
    "default_data_dir",
    "open_split",
    "prepared_folder",
]

_PARTS_OF_ALL = ("train", "validation_query", "validation_gallery")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def default_data_dir() -> Path:
    """Where prepared datasets are, unless said otherwise: TFDS's own rule.

    Returns:
        The environment variable TFDS_DATA_DIR, or else `~/tensorflow_datasets`.

    Raises:
        InputError: the user has no home folder, as in some containers.
    """
    try:
        return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    except RuntimeError:
        raise InputError(
            "there is no home folder to look for datasets in: name one by --data-dir or "
            "$TFDS_DATA_DIR"
        ) from None


def prepared_folder(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, config: str | None = None
) -> Path:
    """Finds the newest prepared version of a dataset.

    Args:
        name: such as `market1501`, or with its config `cuhk03_np/labeled`.
        data_dir: where prepared datasets are; `default_data_dir()` by default.
        config: the config, if `name` does not have it; the dataset's first one by default.

    Returns:
        The folder of its records.

    Raises:
        InputError: it is not prepared.
    """
    base, _, in_name = name.partition("/")
    root = Path(data_dir or default_data_dir()).expanduser()
    chosen = in_name or config or ""
    if not chosen and base in DATASETS and DATASETS[base].configs:
        chosen = DATASETS[base].configs[0]
    folder = root / base / chosen if chosen else root / base
    versions = sorted(
        (tuple(map(int, match.groups())), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _VERSION.fullmatch(path.name)) and (path / INDEX_FILE).is_file()
    )
    if not versions:
        full = f"{base}/{chosen}" if chosen else base
        raise InputError(
            f"{full} is not prepared in {root}; run: jaxreid data prepare {full} --data-dir {root}"
        )
    return versions[-1][1]


def _shards(folder: Path, part: str) -> list[str]:
    """Paths of a part's records, in order; a missing shard is an error."""
    found = sorted(folder.glob(f"*-{part}.array_record-*-of-*"))
    wanted = int(found[0].name.rpartition("-of-")[2]) if found else 1
    if len(found) != wanted:
        raise InputError(
            f"{folder} has {len(found)} of {wanted} record files of split {part}; prepare it again"
        )
    return [os.fspath(path) for path in found]


def _concatenated(parts: Sequence[SplitIndex]) -> SplitIndex:
    return SplitIndex(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    )


def _parts_of(split: str, index: dict[str, SplitIndex], folder: Path) -> list[str]:
    parts = [split] if split != "train_all" else [p for p in _PARTS_OF_ALL if p in index]
    if not parts or any(part not in index for part in parts):
        have = ", ".join(s for s in SPLITS if s in index or s == "train_all")
        raise InputError(f"{folder} has no split {split!r}; expected one of: {have}")
    return parts


class ReidSplit:
    """A prepared split as a random-access source, for Grain and for plain loops.

    Can be pickled (workers open the records anew) and read from several threads. Its items are
    dicts: the raw bytes under `image`, and the numbers and name of that image.

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
    """

    def __init__(self, folder: Path, split: str) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        # Not left to the threads that read: importing it together they wait for ever, now and then.
        from tensorflow_datasets.proto import tf_example_pb2  # noqa: F401

        index = read_index(folder)
        parts = _parts_of(split, index, folder)
        self._columns = _concatenated([index[part] for part in parts])
        self._records = ArrayRecordDataSource(
            [path for part in parts for path in _shards(folder, part)]
        )
        if len(self._records) != len(self._columns):
            raise InputError(
                f"{folder} has {len(self._records)} records of split {split} and "
                f"{len(self._columns)} in its index; prepare it again"
            )
        self._folder = folder
        self._split = split
        self.identities = self._columns.identity
        self.labels = self._columns.label_all if split == "train_all" else self._columns.label
        self.cameras = self._columns.camera
        self.file_names: tuple[str, ...] = tuple(self._columns.file_name.tolist())

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: int) -> dict[str, Any]:
        columns = self._columns
        # The rest of the record is in the columns already; only the image is parsed.
        return {
            "image": _image_bytes(self._records[index]),
            "identity": int(columns.identity[index]),
            "label": int(self.labels[index]),
            "camera": int(columns.camera[index]),
            "sequence": int(columns.sequence[index]),
            "frame": int(columns.frame[index]),
            "file_name": self.file_names[index],
        }

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


def _image_bytes(record: bytes) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example.FromString(record)
    return example.features.feature["image"].bytes_list.value[0]


class InMemorySplit:
    """A source of the same kind as `ReidSplit`, from lists.

    Args:
        images: N encoded images (JPEG or PNG).
        identities: N integers; 0 is a distractor, -1 junk.
        cameras: N integers, from 0.
        labels: N integers; by default the rank of the identity among those present.
        file_names: N names; by default the index with seven digits.

    Raises:
        InputError: lengths differ.

    Attributes:
        identities: int64 [N].
        labels: int64 [N].
        cameras: int64 [N].
        file_names: N names.
    """

    def __init__(
        self,
        images: Sequence[bytes],
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
        self._images = list(images)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, Any]:
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
        split: `train`, `train_all`, `query`, `gallery`, `validation_query` or
            `validation_gallery`.
        data_dir: where prepared datasets are; `default_data_dir()` by default.
        config: the config, if `name` does not have it; the dataset's first one by default.

    Returns:
        A source: `len(s)`, `s[i]` (a dict with the raw bytes under `image`, and the numbers of
        that image), and the columns `s.identities`, `s.labels`, `s.cameras`, `s.file_names`.

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
