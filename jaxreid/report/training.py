"""Logs of training: one JSON object per line, of which a report takes what it knows."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxreid.errors import InputError
from jaxreid.report.runs import Run
from jaxreid.report.text import label_of

__all__ = ["TrainingLog", "find_logs", "read_log"]

_FILE = "metrics.jsonl"


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What a training said while it went on.

    Attributes:
        label: names it in the report.
        workdir: its folder.
        lines: objects of metrics.jsonl, in order.
        skipped: lines that are no JSON object.
    """

    label: str
    workdir: Path
    lines: tuple[dict[str, Any], ...]
    skipped: int = 0

    @property
    def note(self) -> str:
        """A sentence on what is left out, or ""."""
        if not self.skipped:
            return ""
        lines = "1 line" if self.skipped == 1 else f"{self.skipped} lines"
        return f"{lines} of {_FILE} of {self.label}, cut off or damaged, could not be read."

    def series(self, kind: str, name: str) -> tuple[list[float], list[float]]:
        """Takes one figure over epochs, or over steps where lines name no epoch.

        Args:
            kind: "train" or "evaluation".
            name: key of the figure; lines without it, or with a value that is not finite, are
                left out.

        Returns:
            Times and values, equally many.
        """
        lines = [line for line in self.lines if line.get("kind") == kind]
        points = [(_number(line.get(self.time)), _number(line.get(name))) for line in lines]
        known = [(time, value) for time, value in points if time is not None and value is not None]
        return [time for time, _ in known], [value for _, value in known]

    @property
    def time(self) -> str:
        """What the horizontal axis counts: "epoch" or "step"."""
        return "epoch" if any("epoch" in line for line in self.lines) else "step"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_log(workdir: Path, label: str) -> TrainingLog:
    """Reads metrics.jsonl; lines that are no JSON object, as one cut short, are counted.

    Args:
        workdir: folder of the training.
        label: names it.

    Returns:
        The log.

    Raises:
        InputError: the folder has no such file.
    """
    try:
        text = (workdir / _FILE).read_bytes().decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{workdir} holds no training log ({_FILE}: {reason})") from None
    lines, skipped = [], 0
    for line in filter(str.strip, text.split("\n")):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict):
            lines.append(fields)
        else:
            skipped += 1
    return TrainingLog(label_of(label), workdir, tuple(lines), skipped)


def find_logs(runs: Sequence[Run], named: Iterable[tuple[str | None, Path]]) -> list[TrainingLog]:
    """Reads the logs that are named, and those that runs say they come from, where they are there.

    Args:
        runs: their settings may hold "workdir".
        named: label (or None for the folder's name) and folder.

    Returns:
        One log per folder; an explicit label wins over a run's.

    Raises:
        InputError: a named folder has no log.
    """
    logs: dict[Path, TrainingLog] = {}
    for label, workdir in named:
        log = read_log(workdir, label or workdir.absolute().name)
        logs[workdir.resolve()] = log
    for run in runs:
        said = run.folder.provenance.settings.get("workdir")
        if isinstance(said, str) and _has_log(said):
            logs.setdefault(Path(said).resolve(), read_log(Path(said), run.label))
    return list(logs.values())


def _has_log(workdir: str) -> bool:
    try:
        return (Path(workdir) / _FILE).is_file()
    # What a file says of a path may be no path at all.
    except (OSError, ValueError):
        return False
