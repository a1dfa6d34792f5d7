"""Re-identification datasets: prepared once (`prepare_dataset`), then read as often as needed.

`prepare` checks a folder or archive and packs it, `synthetic` draws pedestrians, `corruptions`
spoil images, and the modules beside them open what is packed (`source`) and make batches
(`loader`). The names below are imported when they are first used: TensorFlow Datasets, Grain and
array_record take their time.
"""

import importlib
from typing import TYPE_CHECKING

from jaxreid.data.catalogue import DATASETS, SPLITS, Counts, DatasetCard

if TYPE_CHECKING:
    from jaxreid.data.batches import Batch
    from jaxreid.data.joined import JoinedSplits, open_splits
    from jaxreid.data.loader import (
        BatchIterator,
        decode_all,
        evaluation_batches,
        train_batches,
    )
    from jaxreid.data.prepare.dataset import prepare_dataset
    from jaxreid.data.prepare.export import draw_contact_sheet, export_dataset
    from jaxreid.data.prepared import default_data_dir, prepared_folder
    from jaxreid.data.samplers import IdentityBatches, Sampler, ShuffledBatches
    from jaxreid.data.source import (
        InMemorySplit,
        ReidSource,
        ReidSplit,
        available_splits,
        open_split,
    )

__all__ = [
    "DATASETS",
    "SPLITS",
    "Batch",
    "BatchIterator",
    "Counts",
    "DatasetCard",
    "IdentityBatches",
    "InMemorySplit",
    "JoinedSplits",
    "ReidSource",
    "ReidSplit",
    "Sampler",
    "ShuffledBatches",
    "available_splits",
    "decode_all",
    "default_data_dir",
    "draw_contact_sheet",
    "evaluation_batches",
    "export_dataset",
    "open_split",
    "open_splits",
    "prepare_dataset",
    "prepared_folder",
    "train_batches",
]

_MODULES = {
    "prepare.dataset": ("prepare_dataset",),
    "prepare.export": ("draw_contact_sheet", "export_dataset"),
    "batches": ("Batch",),
    "joined": ("JoinedSplits", "open_splits"),
    "prepared": ("default_data_dir", "prepared_folder"),
    "loader": ("BatchIterator", "decode_all", "evaluation_batches", "train_batches"),
    "samplers": ("IdentityBatches", "Sampler", "ShuffledBatches"),
    "source": ("InMemorySplit", "ReidSource", "ReidSplit", "available_splits", "open_split"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
