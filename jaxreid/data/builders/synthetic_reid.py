"""The default dataset, which nobody has to download: it is drawn."""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jaxreid.data.builders.base import ReidBuilder
from jaxreid.data.filenames import ImageName
from jaxreid.data.folders import Folders, ImageFile
from jaxreid.data.synthetic import CONFIGS, render_all

__all__ = ["SyntheticReid"]


class SyntheticReid(ReidBuilder):
    """Drawn pedestrians, the same on every machine.

    Configs: `default` (for a first run), `tiny` (for tests), `market_like` (Market-1501's
    counts, for tests of load and scale). A version of the drawing is a version of the dataset.

    Args:
        workers: processes that draw; by default one per processor.
        **kwargs: those of `ReidBuilder`.
    """

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(
            name=config.name,
            version=f"{config.version}.0.0",
            description=(
                f"{config.train_identities} training and {config.test_identities} test people, "
                f"{config.cameras} cameras, {config.width}x{config.height} pixels"
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
