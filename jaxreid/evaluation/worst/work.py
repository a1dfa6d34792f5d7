"""How much an ensemble has to do, in images of a published attack's cost."""

from collections.abc import Callable

from jaxreid.evaluation.worst.rounds import Round, rounds_of
from jaxreid.records import Condition

__all__ = ["amount_of_work", "reporting"]

# Passes of one image that count as one image in the progress: what a published attack takes.
_UNIT = 15


def _units(one: Round) -> int:
    """What a round counts; those for survivors find few, as a rule."""
    return max(1, round(one.passes / (10 * _UNIT if one.goal == "rank" else _UNIT)))


def amount_of_work(condition: Condition, images: int) -> int:
    """About how many images of a published attack's cost an ensemble takes.

    Args:
        condition: canonical, of an ensemble.
        images: attacked.

    Returns:
        What the progress of `worst_case` counts up to.
    """
    return images * sum(_units(one) for one in rounds_of(condition))


def reporting(
    progress: Callable[[int], None] | None, rounds: tuple[Round, ...], images: int
) -> Callable[[int, int, int], None]:
    """Reports rounds that are done, and the images of the one that runs, as work done."""

    def report(number: int, done: int, of: int) -> None:
        if progress is not None:
            before = sum(_units(one) for one in rounds[:number])
            share = done * _units(rounds[number]) / max(of, 1) if number < len(rounds) else 0
            progress(round(images * (before + share)))

    return report
