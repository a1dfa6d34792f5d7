"""How much of a league is done: passes of one image through the network, over all that is left."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from jaxreid.benchmark.league.examination import Exam
from jaxreid.constants import STEPS
from jaxreid.data.source import open_split
from jaxreid.training.config import TrainConfig
from jaxreid.training.trainer import Progress

__all__ = ["Meter", "Watch", "passes_of_exam", "passes_per_image"]

Watch = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""

# Of a query and a budget in the worst case, docs/benchmarks.md: for the time that is left only.
_QUICK, _WHOLE = 31, 280
_UNIT = 1000


def passes_per_image(config: TrainConfig) -> float:
    """Forward and backward passes of a training image, roughly: updates and attack steps."""
    goat, defense = config.goat, config.defense
    # The slope of a penalty, and the derivative of that.
    learned = 1 + defense.needs_clean + 3 * (defense.lipschitz_weight > 0)
    learned *= 2 if defense.weight_perturbation else 1
    # Half of the images cost three times as much: their gradient is differentiated.
    learned *= 2 if defense.meta_step else 1
    climbed = goat.steps + (goat.step_schedule == "adaptive")
    # A universal perturbation is moved by what the update computes anyway.
    attacked = goat.enabled and not goat.is_universal
    return goat.updates_per_batch * (learned + (climbed if attacked else 0))


def passes_of_exam(exam: Exam, config: TrainConfig) -> float:
    """The same of an examination, over all its queries and budgets."""
    data = config.dataset
    queries = len(open_split(data.name, "query", data_dir=data.data_dir or None))
    worst = _QUICK if exam.quick else _WHOLE
    return min(queries, exam.limit or queries) * len(exam.budgets) * (STEPS + worst)


class Meter:
    """Tells of every kind of work, and of "league": all of it, in thousands of passes."""

    def __init__(self, left: Mapping[Path, float], watch: Watch) -> None:
        self._left, self._watch = dict(left), watch
        self._done, self._total = 0.0, sum(left.values())

    def training(self, folder: Path) -> Callable[[Progress], None]:
        """What `jaxreid.training.trainer.train` shall call."""

        def seen(at: Progress) -> None:
            self._watch(at.stage, at.done, at.total)
            if at.stage == "training":
                self._show(folder, at.done / max(at.total, 1))

        return seen

    def examination(self, folder: Path) -> Watch:
        """What a retrieval test shall call."""

        def seen(what: str, done: int, total: int) -> None:
            self._watch(what, done, total)
            if what == "attacks":
                self._show(folder, done / max(total, 1))

        return seen

    def finish(self, folder: Path) -> None:
        """All that was left in a folder is done, or will not be."""
        self._done += self._left.pop(folder, 0.0)
        self._show(folder, 0.0)

    def _show(self, folder: Path, share: float) -> None:
        done = self._done + share * self._left.get(folder, 0.0)
        if self._total:
            total = math.ceil(self._total / _UNIT)
            self._watch("league", int(done / _UNIT) if self._left else total, total)
