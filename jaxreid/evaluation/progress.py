"""How much is done, of an ensemble and of a whole sweep: in images of a published attack's cost."""

from collections.abc import Callable, Sequence

from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst.members import MemberSpec, members_of
from jaxreid.records import Condition

__all__ = ["Meter", "amount_of_work", "reporting"]

# Passes of one image that count as one image in the progress: what a published attack takes.
_UNIT = 15


def _units(one: MemberSpec) -> int:
    """What a member counts; those for survivors find few, as a rule."""
    return max(1, round(one.passes / (10 * _UNIT if one.metric == "rank" else _UNIT)))


def amount_of_work(condition: Condition, images: int) -> int:
    """About how many images of a published attack's cost an ensemble takes.

    Args:
        condition: canonical, of an ensemble.
        images: attacked.

    Returns:
        What the progress of `worst_case` counts up to.
    """
    return images * sum(_units(one) for one in members_of(condition))


def reporting(
    progress: Callable[[int], None] | None, specs: tuple[MemberSpec, ...], images: int
) -> Callable[[int, int, int], None]:
    """Reports members that are done, and the images of the one that runs, as work done."""

    def report(number: int, done: int, of: int) -> None:
        if progress is not None:
            before = sum(_units(one) for one in specs[:number])
            share = done * _units(specs[number]) / max(of, 1) if number < len(specs) else 0
            progress(round(images * (before + share)))

    return report


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
