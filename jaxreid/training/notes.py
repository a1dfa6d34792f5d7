"""What a checkpoint says beside its arrays, and whether it says it as it was written."""

import math
from collections.abc import Mapping
from typing import Any

from jaxreid.training.checkpoints import Saved

__all__ = ["check_saved"]


def check_saved(saved: Saved) -> None:
    """Refuses a checkpoint whose notes are not those of a run.

    Args:
        saved: as it was read.

    Raises:
        ValueError: something is missing, or of another type.
    """
    notes = saved.notes
    wanted = {
        "config": lambda value: isinstance(value, Mapping),
        "batches": lambda value: isinstance(value, Mapping) and _counts(value.get("next_batch")),
        "best": lambda value: value is None or _is_number(value),
        "best_step": lambda value: value is None or _counts(value),
    }
    if not isinstance(notes, Mapping) or not wanted.keys() <= notes.keys():
        raise ValueError(f"the notes must hold {', '.join(wanted)}")
    # Earlier versions did not save it.
    wanted["window"] = lambda value: value is None or _is_window(value)
    for name, fits in wanted.items():
        if not fits(notes.get(name)):
            raise ValueError(f"the notes hold {notes[name]!r:.60} as {name}")
    step = saved.arrays.get("step")
    if step is None or step.shape != () or not _counts(int(step)):
        raise ValueError("no number of steps among the arrays")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _counts(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_window(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _counts(value.get("count"))
        and isinstance(value.get("sums"), Mapping)
        and all(type(number) in (int, float) for number in value["sums"].values())
    )
