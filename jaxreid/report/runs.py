"""What a report is made of: run folders, each under a label of its own, and logs of trainings."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxreid.errors import InputError, reason_of
from jaxreid.records import Result, RunFolder
from jaxreid.report.style import label_of

__all__ = ["Run", "TrainingLog", "find_logs", "open_runs", "read_log"]

_LOG = "metrics.jsonl"


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has results.

    Attributes:
        label: names it in the report; no other run has the same.
        folder: where its arrays are.
        results: all of them, in the order in which they came.
        cut_off: lines of its results that an interruption cut off, and that are not among them.
    """

    label: str
    folder: RunFolder
    results: tuple[Result, ...]
    cut_off: int = 0

    @property
    def note(self) -> str:
        """A sentence on what is left out, or ""."""
        if not self.cut_off:
            return ""
        lines = "1 line was" if self.cut_off == 1 else f"{self.cut_off} lines were"
        return (
            f"{lines} cut off by an interruption in results.jsonl of {self.label}, and skipped: "
            "`jaxreid evaluate` does what is missing anew."
        )


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Opens runs; their titles become labels, with the folder's name where titles are equal.

    Args:
        paths: folders that `jaxreid evaluate` wrote; one that is named twice is opened once.

    Returns:
        At least one run, in the order of `paths`.

    Raises:
        InputError: no path is given, or a folder holds no run, no result or another schema.
    """
    try:
        unique = list({path.resolve(): path for path in paths}.values())
    except (OSError, RuntimeError) as error:
        raise InputError(f"a run folder cannot be read: {error}") from None
    if not unique:
        raise InputError("a report needs at least one run folder")
    opened = [_opened(path) for path in unique]
    labels = _labels([(folder.provenance.title, folder.path) for folder, _ in opened])
    return [
        Run(label, folder, tuple(results), folder.cut_off())
        for label, (folder, results) in zip(labels, opened, strict=True)
    ]


def _opened(path: Path) -> tuple[RunFolder, list[Result]]:
    try:
        folder = RunFolder.open(path)
        results = folder.results()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    if not results:
        raise InputError(
            f"{path} has no results yet; run its `jaxreid evaluate` until the first one"
        )
    return folder, results


def _labels(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Title; or title and folder; or both and a number: the first that tells the runs apart."""
    folders = [label_of(path.resolve().name) for _, path in named]
    titles = [label_of(title) or folder for (title, _), folder in zip(named, folders, strict=True)]
    often = Counter(titles)
    labels: list[str] = []
    for title, folder in zip(titles, folders, strict=True):
        label = title if often[title] == 1 else f"{title} ({folder})"
        number = 2
        while label in labels:
            label = f"{title} ({folder}, {number})"
            number += 1
        labels.append(label)
    return labels


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What a training wrote while it went on: one JSON object per line.

    Attributes:
        label: names it in the report.
        workdir: its folder.
        lines: objects of metrics.jsonl, in order.
        skipped: lines that are no JSON object.
    """

    label: str
    workdir: Path
    lines: tuple[dict[str, object], ...]
    skipped: int = 0

    @property
    def note(self) -> str:
        """A sentence on what is left out, or ""."""
        if not self.skipped:
            return ""
        lines = "1 line" if self.skipped == 1 else f"{self.skipped} lines"
        return f"{lines} of {_LOG} of {self.label}, cut off or damaged, could not be read."

    def series(self, kind: str, name: str) -> tuple[list[float], list[float]]:
        """Takes one metric over epochs, or over steps where lines name no epoch.

        Args:
            kind: "train" or "evaluation".
            name: key of the metric; lines without it, or with a value that is not finite, are
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
        text = (workdir / _LOG).read_bytes().decode("utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise InputError(f"{workdir} holds no training log ({_LOG}: {reason_of(error)})") from None
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
    """Reads the logs that are named, and those of the trainings that runs come from, if any.

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
        setting = run.folder.provenance.settings.get("workdir")
        if isinstance(setting, str) and _has_log(setting):
            logs.setdefault(Path(setting).resolve(), read_log(Path(setting), run.label))
    return list(logs.values())


def _has_log(workdir: str) -> bool:
    try:
        return (Path(workdir) / _LOG).is_file()
    # The text in run.json may be no path at all.
    except (OSError, ValueError):
        return False
