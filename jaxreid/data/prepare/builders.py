"""TFDS builders; importing this module registers them: `tfds.builder("market1501")`."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tensorflow_datasets as tfds

from jaxreid.data.catalogue import DATASETS
from jaxreid.data.prepare import filenames
from jaxreid.data.prepare.builder import ReidBuilder
from jaxreid.data.prepare.filenames import ImageName
from jaxreid.data.prepare.finding import LISTS_LAYOUT, MARKET_LAYOUT, VERI_LAYOUT
from jaxreid.data.prepare.folders import Folders, ImageFile, scan_folders, scan_lists
from jaxreid.data.prepare.report import Options
from jaxreid.data.synthetic import CONFIGS, render_all
from jaxreid.errors import InputError

__all__ = [
    "BUILDERS",
    "Cuhk03Np",
    "DukemtmcReid",
    "Market1501",
    "Msmt17",
    "OccludedDuke",
    "ReidBuilder",
    "ReidFolder",
    "SyntheticReid",
    "Veri776",
]

_LARGEST = 10**9
_MSMT17_TRAINING_PEOPLE = 1_041


class _MarketLayoutBuilder(ReidBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Three folders, and numbers in file names."""

    PATTERN: re.Pattern[str]
    LAYOUT = MARKET_LAYOUT

    def _scan(self, given: Path, scratch: Path) -> Folders:
        root = self._find(self.LAYOUT, given, scratch)
        return scan_folders(root, self.PATTERN, layout=self.LAYOUT)


class Market1501(_MarketLayoutBuilder):
    """Market-1501 (Zheng et al. 2015).

    Source: https://openaccess.thecvf.com/content_iccv_2015/html/Zheng_Scalable_Person_Re-Identification_ICCV_2015_paper.html.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["market1501"].placement
    PATTERN = filenames.MARKET1501


class DukemtmcReid(_MarketLayoutBuilder):
    """DukeMTMC-reID (Ristani et al. 2016, Zheng et al. 2017): withdrawn by its authors.

    The people in DukeMTMC were filmed on a campus without informed consent, and its authors
    withdrew it in June 2019 (https://exposing.ai/duke_mtmc/). jaxreid neither links to it nor
    encourages its use; the builder exists so that published numbers can be checked by those who
    hold the data lawfully.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"{DATASETS['dukemtmc_reid'].notice} Expected: {DATASETS['dukemtmc_reid'].placement}"
    )
    PATTERN = filenames.DUKEMTMC_REID


class OccludedDuke(_MarketLayoutBuilder):
    """Occluded-Duke (Miao et al. 2019): images of DukeMTMC-reID, withdrawn with them.

    Source: https://openaccess.thecvf.com/content_ICCV_2019/html/Miao_Pose-Guided_Feature_Alignment_for_Occluded_Person_Re-Identification_ICCV_2019_paper.html.
    All queries are occluded. Its images are DukeMTMC's: those people were filmed without informed
    consent, and what `DukemtmcReid` says holds here too.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"{DATASETS['occluded_duke'].notice} Expected: {DATASETS['occluded_duke'].placement}"
    )
    PATTERN = filenames.DUKEMTMC_REID


class Veri776(_MarketLayoutBuilder):
    """VeRi-776 (Liu et al. 2016): vehicles instead of people.

    Source: https://github.com/JDAI-CV/VeRidataset. "Identity" is a vehicle; the protocol that its
    authors use, like Market's, leaves out images of the query's vehicle from the query's camera.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["veri776"].placement
    PATTERN = filenames.VERI776
    LAYOUT = VERI_LAYOUT


class Cuhk03Np(_MarketLayoutBuilder):
    """CUHK03 (Li et al. 2014) under the new protocol of Zhong et al. 2017.

    Source: https://github.com/zhunzhong07/person-re-ranking. Configs: `detected` boxes (the
    default) and hand-`labeled` ones.

    Args:
        **kwargs: those of `ReidBuilder`; `config` is `detected` or `labeled`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["cuhk03_np"].placement
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="detected", description="boxes from a detector"),
        tfds.core.BuilderConfig(name="labeled", description="boxes drawn by hand"),
    ]
    PATTERN = filenames.CUHK03_NP

    def _scan(self, given: Path, scratch: Path) -> Folders:
        layout = MARKET_LAYOUT._replace(name=self.config_name)
        return scan_folders(self._find(layout, given, scratch), self.PATTERN)


class ReidFolder(ReidBuilder):
    """Any folder in Market's layout: a user's own images.

    Its configs are names that users choose, one for each of their datasets:
    `tfds.builder("reid_folder/shop", pattern=...)`.

    Args:
        pattern: a regular expression for `compile_pattern`; Market's naming by default.
        first_camera: the number of the first camera in names.
        first_identity: the number of the first person in names; above 0, identity 0 is a
            distractor, and -1 is junk always.
        config: a name of the user's choice.
        **kwargs: those of `ReidBuilder`.

    Raises:
        InputError: the pattern does not compile or lacks a group; absurd first numbers.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["reid_folder"].placement
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="default", description="the one without a name")
    ]

    def __init__(
        self,
        *,
        pattern: str | None = None,
        first_camera: int = 1,
        first_identity: int = 1,
        config: str | tfds.core.BuilderConfig | None = None,
        **kwargs: Any,
    ) -> None:
        self._pattern = filenames.compile_pattern(pattern) if pattern else filenames.REID_FOLDER
        self._first_camera, self._first_identity = first_camera, first_identity
        if first_identity < 0 or max(abs(first_camera), first_identity) > _LARGEST:
            raise InputError(
                f"cameras and people are counted from {first_camera} and {first_identity}; "
                f"expected at most {_LARGEST:,}, and people from 0 on"
            )
        if isinstance(config, str) and config not in self.builder_configs:
            config = tfds.core.BuilderConfig(name=config, description="a user's own images")
        super().__init__(config=config, **kwargs)

    def options(self) -> Options:
        """Options that shape the content.

        Returns:
            option -> value, as kept in the report.
        """
        options = {
            **super().options(),
            "pattern": self._pattern.pattern,
            "first_camera": self._first_camera,
        }
        if self._first_identity != 1:
            options["first_identity"] = self._first_identity
        return options

    def _scan(self, given: Path, scratch: Path) -> Folders:
        return scan_folders(
            self._find(MARKET_LAYOUT, given, scratch),
            self._pattern,
            first_camera=self._first_camera,
            first_identity=self._first_identity,
            recursive=True,
        )


def _renumber(side: str, identity: int) -> int:
    return identity + 1 + (_MSMT17_TRAINING_PEOPLE if side == "test" else 0)


class Msmt17(ReidBuilder):
    """MSMT17 (Wei et al. 2018), V1 and V2 (faces blurred): whichever the folder holds.

    Source: https://arxiv.org/abs/1711.08565. Its lists number people from 0, in training and
    test anew, while 0 means distractor everywhere else; so identity here is the list's number
    plus 1 in training (1 to 1041), and plus 1042 in query and gallery (1042 to 4101). Training is
    `list_train` and `list_val` together, as is usual.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["msmt17"].placement

    def _scan(self, given: Path, scratch: Path) -> Folders:
        root = self._find(LISTS_LAYOUT, given, scratch)
        return scan_lists(root, filenames.MSMT17, renumber=_renumber)


class SyntheticReid(ReidBuilder):
    """Drawn pedestrians, the same on every machine.

    Configs: `default` (for a first run), `tiny` (for tests), `people_400` to `people_2400` (the
    same test people, more to learn from), `market_like` (Market-1501's counts, for tests of load
    and scale). A version of the drawing is a version of the dataset.

    Args:
        workers: processes that draw; by default one per usable processor.
        **kwargs: those of `ReidBuilder`.
    """

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(
            name=config.name,
            version=f"{config.version}.0.0",
            description=(
                f"{config.train_identities + config.more_people} training and "
                f"{config.test_identities} test people, {config.cameras} cameras, "
                f"{config.width}x{config.height} pixels"
            ),
        )
        for config in CONFIGS.values()
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "default"

    def __init__(self, *, workers: int | None = None, **kwargs: Any) -> None:
        self._workers = workers
        super().__init__(**kwargs)

    def _scan(self, given: Path, scratch: Path) -> Folders:
        splits: dict[str, list[ImageFile]] = {"train": [], "query": [], "gallery": []}
        for split in splits:
            (scratch / split).mkdir()
        drawn = render_all(
            CONFIGS[self.config_name],
            workers=self._workers,
            progress=lambda done, total: self.progress("drawing", done, total),
        )
        # As files first, like every other dataset: TFDS keeps all examples of a shard in memory.
        for item, jpeg in drawn:
            path = scratch / item.split / item.file_name
            path.write_bytes(jpeg)
            name = ImageName(item.identity, item.camera, item.sequence, item.frame)
            splits[item.split].append(ImageFile(path, item.file_name, name))
        train, query, gallery = (sorted(files) for files in splits.values())
        return Folders(train, query, gallery, root=scratch)


_ALL = (
    *(Market1501, DukemtmcReid, Msmt17, Cuhk03Np, OccludedDuke, Veri776),
    *(ReidFolder, SyntheticReid),
)

BUILDERS: Mapping[str, type[ReidBuilder]] = MappingProxyType({cls.name: cls for cls in _ALL})
"""Name -> builder."""
