"""The figures of a run as JSON lines and for TensorBoard."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from jaxreid.errors import InputError
from jaxreid.files import append, replacing
from jaxreid.training.events import Events

__all__ = ["Logbook", "Windowed"]

Kind = Literal["train", "evaluation"]


class Logbook:
    """Writes metrics.jsonl and TensorBoard's events; what was written outlives the process.

    A line is {"kind": "train" or "evaluation", "step": ..., "epoch": ..., figure: number, ...}.

    Args:
        folder: where they are.
        step: the run goes on after this step: later lines, of a run that was interrupted after its
            last checkpoint, are taken back.
        warn: called with a line of text if there are damaged lines; these are put aside in
            metrics-damaged.jsonl.

    Raises:
        InputError: metrics.jsonl cannot be read.
        OSError: something could not be written.
    """

    def __init__(
        self, folder: Path, *, step: int, warn: Callable[[str], None] | None = None
    ) -> None:
        self._path = folder / "metrics.jsonl"
        damaged = self._keep_until(step)
        if damaged and warn is not None:
            warn(
                f"warning: {damaged} damaged lines of {self._path} were put aside in "
                f"{self._damaged.name}"
            )
        self._events = Events(folder / "tensorboard", purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.sync()

    def sync(self) -> None:
        """Sees to it that the lines so far outlive the machine, too.

        Raises:
            OSError: they could not be written.
        """
        with self._path.open("ab") as file:
            os.fsync(file.fileno())

    def write(self, kind: Kind, *, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Adds a line.

        Args:
            kind: of the line.
            step: batches seen.
            epoch: passes over the data, with fractions.
            figures: name -> number.

        Raises:
            OSError: it could not be written; the lines before are whole.
        """
        # JSON has no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4), **known}
        append(self._path, json.dumps(line).encode() + b"\n")
        self._events.add(step, {f"{kind}/{name}": value for name, value in figures.items()})

    @property
    def _damaged(self) -> Path:
        return self._path.with_name("metrics-damaged.jsonl")

    def _keep_until(self, step: int) -> int:
        """Keeps the lines up to a step as they are; returns how many were damaged."""
        try:
            *lines, cut_off = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            append(self._path, b"")
            return 0
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error.strerror}") from None
        # Without a line break it is of an interruption, unless only the line break is missing.
        lines += [cut_off] if _step_of(cut_off) is not None else []
        kept, damaged = [], []
        for line in filter(bytes.strip, lines):
            found = _step_of(line)
            if found is None:
                damaged.append(line)
            elif found <= step:
                kept.append(line)
        if damaged:
            append(self._damaged, b"".join(line + b"\n" for line in damaged))
        with replacing(self._path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        return len(damaged)


def _step_of(line: bytes) -> int | None:
    """The step that a line tells of, or None for what is no line of a log."""
    try:
        content = json.loads(line)
        step = content["step"] if content["kind"] in ("train", "evaluation") else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None


class Windowed:
    """Means of figures since they were last asked for.

    Args:
        so_far: the sums of an interrupted run, from `sums`; none by default.
    """

    def __init__(self, so_far: Mapping[str, Any] | None = None) -> None:
        self._sums: dict[str, float] = dict(so_far["sums"]) if so_far else {}
        self._count: int = so_far["count"] if so_far else 0

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

    def sums(self) -> dict[str, Any]:
        """What a run needs to go on in the middle of a window.

        Returns:
            What JSON can hold, to the last bit.
        """
        return {"sums": dict(self._sums), "count": self._count}
