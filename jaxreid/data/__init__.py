"""Re-identification datasets: builders, prepared splits, sampling and the input pipeline.

Light to import: TFDS, Grain and array_record are imported by the submodules that need them.
`jaxreid.data.prepare.prepare_dataset` makes a dataset, `jaxreid.data.source.open_split` opens it.
"""

from jaxreid.data.catalogue import DATASETS, SPLITS, Counts, DatasetCard

__all__ = ["DATASETS", "SPLITS", "Counts", "DatasetCard"]
