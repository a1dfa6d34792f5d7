"""How much of a sweep is done, in images attacked."""

from collections.abc import Sequence

from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst import amount_of_work
from jaxreid.records import Condition

__all__ = ["Meter"]


class Meter:
    """Progress over a whole sweep, in images attacked; an ensemble's count as often as they may."""

    def __init__(self, test: RetrievalTest, todo: Sequence[Condition]) -> None:
        self._progress, self._before = test.progress, 0
        self._images = {c: _images(test, c) for c in todo}
        self._total = sum(self._images.values())

    def within(self, done: int) -> None:
        """Images of the current condition that are done."""
        if self._progress is not None and self._total:
            self._progress("attacks", self._before + done, self._total)

    def finish(self, condition: Condition) -> None:
        """The current condition is done."""
        self._before += self._images[condition]
        self.within(0)


def _images(test: RetrievalTest, condition: Condition) -> int:
    if condition.eps == 0:
        return 0
    images = len(test.attackable(condition.side))
    if condition.is_ensemble:
        return amount_of_work(condition, images)
    return images * condition.restarts
