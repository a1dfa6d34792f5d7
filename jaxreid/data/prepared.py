"""The folder of a prepared dataset: found by its name, its record files, and its splits' columns.

The columns lie beside the records and are read without touching an image.
"""

import contextlib
import difflib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jaxreid.data.catalogue import DATASETS
from jaxreid.errors import InputError, reason_of
from jaxreid.files import REPLACED, replacing, standing

__all__ = [
    "INDEX_FILE",
    "SplitIndex",
    "default_data_dir",
    "expected_names",
    "near_names",
    "prepared_folder",
    "read_index",
    "read_upright",
    "record_files",
    "refuse_special_files",
    "write_index",
]

INDEX_FILE = "reid_index.npz"

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_NAME = re.compile(r"[\w][\w.\-]{0,199}(?:/[\w][\w.\-]{0,199})?")
_NEAR = 0.6  # of difflib's ratio
_LONGEST = 100  # of a wrong name, as shown


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
    chosen = in_name or config or (DATASETS[base].default_config if base in DATASETS else "")
    full = f"{base}/{chosen}" if chosen else base
    # Slashes and what else no dataset is called would name folders elsewhere.
    found = _newest(root / full) if _NAME.fullmatch(full) else None
    if found is None:
        raise InputError(_not_prepared(name, full, root))
    refuse_special_files(found)
    return found


def refuse_special_files(folder: Path) -> None:
    """InputError if a dataset has a pipe, socket or device in it: reading it might never end."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path} is a pipe, socket or device; prepare the dataset again with --force"
            )


def _newest(folder: Path) -> Path | None:
    """The newest version below a dataset's folder."""
    try:
        versions = sorted(
            (tuple(map(int, match.groups())), path)
            for path in (folder.iterdir() if folder.is_dir() else ())
            if (match := _VERSION.fullmatch(path.name.removeprefix(REPLACED)))
            and standing(folder / match[0]) == path
            and (path / INDEX_FILE).is_file()
        )
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({reason_of(error)})") from None
    return versions[-1][1] if versions else None


def near_names(name: str, root: Path) -> list[str]:
    """At most three datasets that a user may have meant, the nearest first.

    Known ones, and the user's own below `root`, which have `reid_folder/` before their names.
    """
    own = root / "reid_folder"
    try:
        folders = sorted(own.iterdir()) if own.is_dir() else []
        names = [f"reid_folder/{path.name}" for path in folders if _newest(path) is not None]
    except (OSError, InputError):
        names = []
    for base, card in DATASETS.items():
        if base != "reid_folder":
            names += [f"{base}/{config}" for config in card.configs] or [base]
    wanted = name.lower()
    # A name is near if its own part is: "market" to market1501, "shop" to reid_folder/shop.
    parts = {n: (n, n.rpartition("/")[2], n.partition("/")[0]) for n in names}
    scores = {
        n: max(
            difflib.SequenceMatcher(None, wanted, part.lower()).ratio()
            + (len(wanted) > 2 and part.lower().startswith(wanted))
            for part in parts[n]
        )
        for n in names
    }
    near = sorted((n for n in names if scores[n] >= _NEAR), key=lambda n: -scores[n])
    return near[:3]


def expected_names(name: str, root: Path) -> str:
    """The known datasets and those that may have been meant, for a message about a wrong name."""
    near = near_names(name[:_LONGEST], root)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"expected one of: {', '.join(DATASETS)}{hint}"


def _not_prepared(name: str, full: str, root: Path) -> str:
    base, _, config = full.partition("/")
    card = DATASETS.get(base)
    configs = card.configs if card and base != "reid_folder" else ()
    if card is None or (config and base != "reid_folder" and config not in configs):
        known = expected_names(name, root)
        return f"{name[:_LONGEST]!r} is not prepared in {root}, nor known; {known}"
    words = ["jaxreid", "data", "prepare", full, "--data-dir", str(root)]
    words += ["--manual-dir", "FOLDER_OR_ARCHIVE"] if card.placement else []
    command = shlex.join(words)
    near = [n for n in near_names(full, root) if n.startswith("reid_folder/")]
    hint = f"; did you mean {near[0]}?" if base == "reid_folder" and near else ""
    return f"{full} is not prepared in {root}; run: {command}{hint}"


def record_files(folder: Path, part: str) -> list[str]:
    """Paths of the record files of a stored split (so not `train_all`), in order; all are there."""
    shard = re.compile(rf".*-{part}\.array_record-\d{{5}}-of-(\d{{5}})")
    found = sorted(path for path in folder.iterdir() if shard.fullmatch(path.name))
    wanted = int(found[0].name.rpartition("-of-")[2]) if found else 1
    if len(found) != wanted:
        raise InputError(
            f"{folder} has {len(found)} of {wanted} record files of split {part}; prepare it again "
            "with --force"
        )
    return [os.fspath(path) for path in found]


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
