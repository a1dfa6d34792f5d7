"""How well a network in training retrieves the validation people, attacked or not."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.data.source import ReidSource, available_splits, open_split
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    conditions,
    robustness,
    with_match,
)
from jaxreid.models import Pipeline, ReID, embedding
from jaxreid.records import Condition
from jaxreid.training.config import EvaluationConfig, TrainConfig

__all__ = ["Validation", "validation_of"]

_MAP = "mean_average_precision"


class Validation(NamedTuple):
    """The validation people of a dataset, and how to rank them.

    Attributes:
        query: the split.
        gallery: the split.
        settings: config.evaluation.
        size: (height, width) in pixels.
        workers: processes that decode.
    """

    query: ReidSource
    gallery: ReidSource
    settings: EvaluationConfig
    size: tuple[int, int]
    workers: int

    @property
    def criterion(self) -> str:
        """The metric by which weights are chosen: the higher, the better."""
        return f"attacked_{_MAP}" if self.settings.attack else _MAP

    def describe(self, metrics: Mapping[str, float]) -> str:
        """The metrics of a call as part of a line."""
        text = f"validation mAP {100 * metrics[_MAP]:.1f} %, rank-1 {100 * metrics['rank1']:.1f} %"
        if self.settings.attack:
            text += f", mAP under {self.settings.attack} {100 * metrics[self.criterion]:.1f} %"
        return text

    def __call__(
        self, model: ReID, *, devices: Sequence[jax.Device] | None = None
    ) -> dict[str, float]:
        """Ranks them by the Market-1501 protocol; every process gets the metrics.

        Returns:
            `mean_average_precision`, `rank1` and `mean_inverse_negative_penalty` in [0, 1], and
            with an attack `attacked_mean_average_precision`.
        """
        settings = self.settings
        wanted = [Condition(distance=settings.distance)]
        if settings.attack:
            # With its unit: a budget below one grey level was asked for by name.
            budget = f"{settings.attack_eps!r}/255"
            wanted = conditions([settings.attack], [budget], distance=settings.distance)
        pipeline = model.config.pipeline or Pipeline()
        loader = LoaderSettings(
            self.size,
            batch_size=settings.batch_size,
            filter=pipeline.filter,
            workers=self.workers,
            devices=devices,
        )
        embed = embedding(model, normalize=pipeline.unit_length, flip=settings.flip).frozen()
        test = RetrievalTest(embed, self.query, self.gallery, loader=loader)
        results = robustness(test, wanted, examples=0)
        clean, *attacked = (result.scores[MAIN_PROTOCOL] for result in results)
        metrics = {
            _MAP: clean.mean_average_precision,
            "rank1": clean.rank1,
            "mean_inverse_negative_penalty": clean.mean_inverse_negative_penalty,
        }
        if attacked:
            metrics[f"attacked_{_MAP}"] = attacked[0].mean_average_precision
        return metrics


def validation_of(
    config: TrainConfig, say: Callable[[str], None] = lambda line: None
) -> Validation | None:
    """Opens the validation splits; None where there is nothing to choose weights by.

    A run that asks for evaluations and has none gets a warning: it trains on these people, or the
    dataset has none, or none with a match (the mean over no query would choose the weights).
    """
    data = config.dataset
    where = data.data_dir or None
    if not config.evaluation.every_epochs:
        return None
    reason = f"{data.name} has no validation people"
    if data.split == "train_all":
        reason = "dataset.split = train_all trains on all people"
    elif "validation_query" in available_splits(data.name, data_dir=where):
        query, gallery = (
            open_split(data.name, f"validation_{part}", data_dir=where)
            for part in ("query", "gallery")
        )
        if with_match(query, gallery).any():
            return Validation(query, gallery, config.evaluation, data.size, data.workers)
        reason = "no validation query has a match that another camera took"
    say(f"warning: {reason}: there is nothing to validate on, the last weights are the result")
    return None
