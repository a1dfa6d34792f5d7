"""The figures of a run as JSON lines and for TensorBoard."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tensorboardX import SummaryWriter

from jaxreid.files import replacing

__all__ = ["Logbook", "Windowed"]

Kind = Literal["train", "evaluation"]


class Logbook:
    """Writes metrics.jsonl and TensorBoard's events; a context that closes them.

    A line is {"kind": "train" or "evaluation", "step": ..., "epoch": ..., figure: number, ...}.

    Args:
        folder: where they are.
        step: the run goes on after this step: later lines, of a run that was interrupted after its
            last checkpoint, are taken back.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        self._keep_until(step)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._events.close()

    def write(self, kind: Kind, *, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Adds a line.

        Args:
            kind: of the line.
            step: batches seen.
            epoch: passes over the data, with fractions.
            figures: name -> number.
        """
        # JSON has no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4), **known}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)

    def _keep_until(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = [line for line in self._path.read_text(encoding="utf-8").splitlines() if line]
        kept = [line for line in kept if _step_of(line) <= step]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # cut off by an interruption


class Windowed:
    """Means of figures since they were last asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, figures: Mapping[str, Any]) -> None:
        """Takes the figures of one step.

        Args:
            figures: name -> number; the same names every time.
        """
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1

    def take(self) -> dict[str, float]:
        """Gives the means and starts anew.

        Returns:
            name -> mean; empty if no step was taken in.
        """
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means
