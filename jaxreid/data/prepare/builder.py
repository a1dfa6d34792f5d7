"""What all builders share: check everything, stream the records, verify them, then rename."""

import dataclasses
import errno
import os
import secrets
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxreid.data.catalogue import DATASETS, ORIENTATIONS, PARTS_OF_TRAIN_ALL, DatasetCard
from jaxreid.data.prepare.archives import Progress
from jaxreid.data.prepare.checks import check_records
from jaxreid.data.prepare.finding import Layout, find_root
from jaxreid.data.prepare.folders import Folders
from jaxreid.data.prepare.information import NUMBERS, dataset_information
from jaxreid.data.prepare.locking import INCOMPLETE, exclusive
from jaxreid.data.prepare.planning import Plan, Requirements, plan_dataset
from jaxreid.data.prepare.report import LeftOut, Options, add_left_out
from jaxreid.data.prepared import refuse_special_files, write_index
from jaxreid.errors import InputError
from jaxreid.files import sync_folder, take_place

__all__ = ["ReidBuilder"]

_RECORDS_PER_SHARD = 16_384
_NOTES = "dataset_info.json"  # TFDS's, read whenever a builder is made
_LINKS = "links to folders in the archive (unpack it, and they are followed)"

_Example = dict[str, Path | str | np.int64]
_Shard = Callable[[], Iterator[tuple[int, _Example]]]


class ReidBuilder(tfds.core.ShardBasedBuilder):
    """Base of the re-identification datasets.

    TFDS's `GeneratorBasedBuilder` shuffles through memory, and above 1 GB through TensorFlow's
    file system, which jaxreid does without; `ShardBasedBuilder` streams records in order.
    See https://www.tensorflow.org/datasets/add_dataset.

    Args:
        subset: accept fewer images than the full dataset has.
        skip_corrupt: leave out images that do not decode.
        orientation: "upright" turns images as their Exif orientation says whenever they are
            decoded; "as-stored" does not. Their bytes stay the same.
        progress: called with what is being done, items done, items in all.
        anew: replace what is prepared, which may be damaged, once its successor is complete.
        file_format: of the records; others than array_record need TensorFlow.
        **kwargs: `data_dir`, `config`, `version` of TFDS.

    Raises:
        InputError: an unknown orientation; TFDS's notes on what is prepared are damaged, and
            `anew` is off.
    """

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded, so there are no checksums; looking for them makes TFDS 4.9.10 import
    # importlib_resources, which it does not depend on.
    url_infos = None

    def __init__(
        self,
        *,
        subset: bool = False,
        skip_corrupt: bool = False,
        orientation: str = ORIENTATIONS[0],
        progress: Progress | None = None,
        anew: bool = False,
        file_format: str = "array_record",
        **kwargs: Any,
    ) -> None:
        if orientation not in ORIENTATIONS:
            raise InputError(
                f"orientation must be one of {', '.join(ORIENTATIONS)}, got {orientation!r}"
            )
        self._upright = orientation == ORIENTATIONS[0]
        self._anew = anew
        try:
            super().__init__(file_format=file_format, **kwargs)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes TFDS raise
            notes = getattr(self, "_target", Path()) / _NOTES
            if not notes.exists():
                raise
            raise InputError(
                f"{notes} is damaged ({type(error).__name__}: {error}); prepare the dataset again "
                "with --force"
            ) from None
        self.progress = progress or (lambda task, done, total: None)
        self._subset = subset
        self._skip_corrupt = skip_corrupt
        self._given = Path()
        self._scratch = Path()
        self._links: list[str] = []
        self._plan: Plan | None = None

    @property
    def card(self) -> DatasetCard:
        """Its entry in `DATASETS`."""
        return DATASETS[self.name]

    @property
    def config_name(self) -> str:
        """The config's name; "" if the dataset has no configs."""
        return self.builder_config.name if self.builder_config else ""

    @property
    def target(self) -> Path:
        """Where the prepared dataset is, or will be."""
        return self._target

    def _build_data_dir(self, given_data_dir: str | None) -> tuple[str, str]:
        root, folder = super()._build_data_dir(given_data_dir)
        self._target = Path(folder)
        if not self._anew:
            refuse_special_files(self._target)
        # TFDS would read what is to be replaced, and delete it: it is given another folder.
        return root, str(self._beside()) if self._anew else folder

    def _beside(self) -> Path:
        return self._target.parent / f"{INCOMPLETE}{secrets.token_hex(4)}_{self._target.name}"

    def options(self) -> Options:
        """Options that shape the content.

        Returns:
            option -> value, as kept in the report.
        """
        options: Options = {"subset": self._subset, "skip_corrupt": self._skip_corrupt}
        return options if self._upright else {**options, "orientation": ORIENTATIONS[1]}

    @abstractmethod
    def _scan(self, given: Path, scratch: Path) -> Folders:
        """Lists the dataset's images; what has to be unpacked or drawn for that goes to scratch."""

    def _find(self, layout: Layout, given: Path, scratch: Path) -> Path:
        return find_root(
            given,
            layout,
            expected=self.card.placement,
            scratch=scratch,
            progress=self.progress,
            left_out=self._links,
        )

    def download_and_prepare(
        self,
        *,
        download_dir: str | os.PathLike[str] | None = None,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepares the dataset: TFDS's method, under a lock, in a folder beside the final one.

        Args:
            download_dir: its subfolder `manual` is where the dataset is looked for by default.
            download_config: its `manual_dir` names the folder or archive of the dataset.
            **kwargs: passed to TFDS.

        Raises:
            InputError: the dataset is missing, incomplete or damaged; nothing is left behind.
        """
        manual_dir = download_config.manual_dir if download_config else None
        downloads = Path(download_dir or Path(self.data_dir_root) / "downloads")
        self._given = Path(manual_dir or downloads / "manual").expanduser()
        arguments = {"download_dir": download_dir, "download_config": download_config, **kwargs}
        overwrite = self._anew or bool(
            download_config and download_config.download_mode.overwrite_dataset
        )
        if self._target.exists() and not overwrite:
            # TFDS logs that it is there; a lock would fail on a read-only file system.
            super().download_and_prepare(**arguments)
            return
        parent = self._target.parent
        with (
            exclusive(parent),
            tempfile.TemporaryDirectory(
                dir=parent, prefix=INCOMPLETE, ignore_cleanup_errors=True
            ) as scratch,
        ):
            self._scratch = Path(scratch)
            if overwrite or not self._target.exists():
                self._prepare_beside(arguments)
        self._data_dir = str(self._target)
        self.info.read_from_directory(self._data_dir)

    def _prepare_beside(self, arguments: dict[str, object]) -> None:
        """Prepares under another name; the last step of all is to take the place of the old."""
        staged = self._beside()
        try:
            with tfds.core.utils.temporary_assignment(self, "_data_dir", str(staged)):
                super().download_and_prepare(**arguments)
            sync_folder(staged)
            take_place(staged, self._target)
        except OSError as error:
            # TFDS's own words on a full disk, which name no folder.
            if error.errno is None and str(error).startswith("Not enough disk space"):
                full = os.strerror(errno.ENOSPC)
                raise OSError(errno.ENOSPC, full, str(self._target.parent)) from None
            raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def as_data_source(self, split: Any = None, **kwargs: Any) -> Any:
        """Opens splits for random access: TFDS's method, which here also knows `train_all`.

        Args:
            split: a split's name, or what else TFDS accepts.
            **kwargs: passed to TFDS.

        Returns:
            TFDS's data source.
        """
        if split == "train_all":
            split = "+".join(part for part in PARTS_OF_TRAIN_ALL if part in self.info.splits)
        return super().as_data_source(split, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_information(self, self.card)

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[_Shard]]:
        self._links = []
        folders = self._scan(self._given, self._scratch)
        if self._links:
            links = {_LINKS: LeftOut(len(self._links), self._links[0])}
            add_left_out(folders.left_out, links)
        required = Requirements(
            name=f"{self.name}/{self.config_name}" if self.config_name else self.name,
            card=self.card,
            counts=self.card.counts.get(self.config_name),
            subset=self._subset,
            skip_corrupt=self._skip_corrupt,
            upright=self._upright,
            options=self.options(),
        )
        self._plan = plan_dataset(folders, required, progress=self.progress)
        return {
            split: [
                partial(self._examples, split, start)
                for start in range(0, len(images), _RECORDS_PER_SHARD)
            ]
            for split, images in self._plan.images.items()
        }

    def _examples(self, split: str, start: int) -> Iterator[tuple[int, _Example]]:
        assert self._plan is not None
        images, index = self._plan.images[split], self._plan.columns[split]
        total = len(images)
        for i in range(start, min(start + _RECORDS_PER_SHARD, total)):
            file = images[i].file
            numbers = {name: getattr(index, name)[i] for name in NUMBERS}
            # A path, not an array: TFDS copies the file's bytes unchanged, and keeps every
            # example of a shard in memory.
            yield i, {"image": file.path, **numbers, "file_name": file.file_name}
            self.progress(f"writing {split}", i + 1, total)

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        super()._download_and_prepare(dl_manager, download_config)
        assert self._plan is not None
        folder = Path(self.data_dir)
        write_index(folder, self._plan.columns, upright=self._upright)
        source = str(self._given.absolute()) if self.card.placement else ""
        dataclasses.replace(self._plan.report, source=source).write(folder)
        check_records(folder, self._plan.columns, progress=self.progress)

    def _log_download_bytes(self) -> None:
        """TFDS would announce a download here, and its end below; nothing is downloaded."""

    def _log_download_done(self) -> None: ...
