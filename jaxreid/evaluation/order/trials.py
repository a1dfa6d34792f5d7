"""The trials of ranking attacks: queries, their lists, and rows of these for a program."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from jaxreid.evaluation.features import Clean
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.order.programs import Chosen, Met, Rows
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst.attacker import Attacker, attacker_of
from jaxreid.records import Condition
from jaxreid.sharding import row_mesh, whole_batch

__all__ = ["Trials", "trials_of"]

_Part = TypeVar("_Part", Chosen, Met)


class Trials(NamedTuple):
    """What all attacks share.

    Attributes:
        clean: features of the test.
        targets: T queries that have a match, one trial each.
        attacker: their lists.
        mesh: of this process.
        size: of a batch.
    """

    clean: Clean
    targets: Targets
    attacker: Attacker
    mesh: Mesh
    size: int

    def rows(self, places: np.ndarray, chosen: Chosen | None = None) -> Rows:
        """Rows of a batch, without images.

        Args:
            places: [b] among the trials; -1, padding, is as the first one.
            chosen: items of all trials; None before they are chosen.

        Returns:
            Rows.
        """
        at = np.maximum(places, 0)
        if chosen is not None:
            chosen = Chosen(*(np.asarray(part)[at] for part in chosen))
        return Rows(
            position=self.targets.indices[at].astype(np.int32),
            query=self.targets.clean[at],
            lists=self.attacker.lists(at),
            chosen=chosen,
        )

    def batches(self, chosen: Chosen | None = None) -> Iterator[Rows]:
        """Rows of all trials, batch by batch; the last one is padded.

        Args:
            chosen: items of all trials; None before they are chosen.

        Yields:
            Rows without images.
        """
        count = len(self.targets.indices)
        for start in range(0, count, self.size):
            places = np.arange(start, start + self.size)
            yield self.rows(np.where(places < count, places, -1), chosen)

    def joined(self, parts: Iterable[_Part]) -> _Part:
        """Joins what a program returned for the batches.

        Args:
            parts: arrays [b,...], in the order of the batches.

        Returns:
            [T,...], on the host and without the padding.
        """
        count = len(self.targets.indices)
        joined: _Part = jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)
        return joined


def trials_of(test: RetrievalTest) -> Trials:
    """The trials of a test, one per ranked query that has a match.

    Args:
        test: the retrieval test.

    Returns:
        Trials.
    """
    condition = Condition(distance="cosine")
    targets = test.targets(condition)
    targets = targets.rows(np.flatnonzero(test.matched[targets.indices]))
    mesh = row_mesh(test.loader.devices)
    return Trials(
        clean=test.clean("cosine"),
        targets=targets,
        attacker=attacker_of(test, condition, targets),
        mesh=mesh,
        size=whole_batch(test.loader.batch_size, len(targets.indices), mesh),
    )
