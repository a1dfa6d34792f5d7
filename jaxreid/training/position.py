"""Where a run stands, how it ends, and what the notes of a checkpoint say of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple, Self

import numpy as np

__all__ = ["Outcome", "Position"]

_PACKAGES = ("jaxreid", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        finished: False if it was asked to stop; it goes on from where it is.
        step: batches seen.
        best: mAP of the best weights on the validation people (under attack, if the run chooses
            by that) in [0, 1], or None.
        best_step: when they were found, or None.
        stop_requested: True if it was asked to stop, also where that came after the last step,
            and nothing was left to stop.
    """

    finished: bool
    step: int
    best: float | None
    best_step: int | None
    stop_requested: bool = False


@dataclass
class Position:
    """Where a run stands; the attributes are those of `Outcome`."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> Self:
        """Where a run stood when it wrote a checkpoint; ValueError for one that no run wrote."""
        _check_saved(arrays, notes)
        return cls(int(arrays["step"]), notes["best"], notes["best_step"])

    def outcome(self, *, finished: bool, stop_requested: bool) -> Outcome:
        """How a run ends that ends here, at its end or because it was asked to stop."""
        return Outcome(finished, self.step, self.best, self.best_step, stop_requested)

    def notes(
        self, *, config: Mapping[str, Any], batches: Mapping[str, Any], window: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a checkpoint says beside its arrays, as JSON holds it.

        Args:
            config: of `TrainConfig.as_json`.
            batches: of `BatchIterator.get_state`.
            window: of `WindowMeans.sums`.
        """
        return {
            "config": config,
            "batches": batches,
            "best": self.best,
            "best_step": self.best_step,
            "window": window,
            "versions": {name: metadata.version(name) for name in _PACKAGES},
        }


def _check_saved(arrays: Mapping[str, np.ndarray], notes: object) -> None:
    """Refuses, with a ValueError, what `Position.notes` did not write."""
    wanted: dict[str, Callable[[Any], bool]] = {
        "config": lambda value: isinstance(value, Mapping),
        "batches": lambda value: isinstance(value, Mapping) and _is_count(value.get("next_batch")),
        "best": lambda value: value is None or _is_number(value),
        "best_step": lambda value: value is None or _is_count(value),
    }
    if not isinstance(notes, Mapping) or not wanted.keys() <= notes.keys():
        raise ValueError(f"the notes must hold {', '.join(wanted)}")
    # Earlier versions did not save it.
    wanted["window"] = lambda value: value is None or _is_window(value)
    for name, fits in wanted.items():
        if not fits(notes.get(name)):
            raise ValueError(f"the notes hold {notes[name]!r:.60} as {name}")
    step = arrays.get("step")
    if step is None or step.shape != () or not _is_count(int(step)):
        raise ValueError("no number of steps among the arrays")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_window(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_count(value.get("count"))
        and isinstance(value.get("sums"), Mapping)
        and all(type(number) in (int, float) for number in value["sums"].values())
    )
