"""How well a network in training retrieves the validation people."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxreid.data.pipeline import decode_all
from jaxreid.data.source import available_splits, open_split
from jaxreid.data.source_protocol import ReidSource
from jaxreid.evaluation import extract
from jaxreid.models import ReID, embedding
from jaxreid.ranking import match_ranks, summarize

__all__ = ["Validation", "validation_of"]


class Validation(NamedTuple):
    """The validation people of a dataset, and how to rank them.

    Attributes:
        query: the split.
        gallery: the split.
        caches: decoded images of both, or None.
        settings: config.evaluation.
        size: (height, width) in pixels.
        workers: processes that decode.
    """

    query: ReidSource
    gallery: ReidSource
    caches: tuple[np.ndarray | None, np.ndarray | None]
    settings: ConfigDict
    size: tuple[int, int]
    workers: int

    def __call__(
        self, model: ReID, *, devices: Sequence[jax.Device] | None = None
    ) -> dict[str, float]:
        """Ranks them by the Market-1501 protocol; every process gets the figures.

        Args:
            model: the network.
            devices: of this process; all by default.

        Returns:
            `mean_average_precision`, `rank1` and `mean_inverse_negative_penalty` in [0, 1].
        """
        embed = embedding(model, flip=self.settings.flip)
        query, gallery = (
            extract(
                embed,
                source,
                size=self.size,
                batch_size=self.settings.batch_size,
                workers=self.workers,
                cache=cache,
                devices=devices,
            )
            for source, cache in zip((self.query, self.gallery), self.caches, strict=True)
        )
        ranks = match_ranks(query, gallery, distance=self.settings.distance, devices=devices)
        metrics = summarize(ranks)
        return {
            "mean_average_precision": metrics.mean_average_precision,
            "rank1": metrics.rank(1),
            "mean_inverse_negative_penalty": metrics.mean_inverse_negative_penalty,
        }


def validation_of(config: ConfigDict) -> Validation | None:
    """Opens the validation splits.

    Args:
        config: with the fields of configs/default.py.

    Returns:
        None if the run evaluates nothing, trains on these people, or the dataset has none.
    """
    data = config.dataset
    where = data.data_dir or None
    if not config.evaluation.every_epochs or data.split == "train_all":
        return None
    if "validation_query" not in available_splits(data.name, data_dir=where):
        return None
    query, gallery = (
        open_split(data.name, f"validation_{part}", data_dir=where) for part in ("query", "gallery")
    )
    size = tuple(data.size)

    def decoded(split: ReidSource) -> np.ndarray | None:
        if not data.cache:
            return None
        return decode_all(split, size=size, filter="bilinear", workers=data.workers)

    caches = decoded(query), decoded(gallery)
    return Validation(query, gallery, caches, config.evaluation, size, data.workers)
