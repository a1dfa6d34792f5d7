"""Training over time: its log, and figures of loss, learning rate, validation and attack."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jaxreid.errors import InputError, reason_of
from jaxreid.report.canvas import (
    HUES,
    Picture,
    canvas,
    legend_below,
    log_ticks,
    percent_axis,
    picture,
)
from jaxreid.report.runs import Run
from jaxreid.report.style import RUN_DASHES, Dashes, label_of

__all__ = ["TrainingLog", "draw_training", "find_logs", "read_log", "thinned"]

_LOG = "metrics.jsonl"
_POINTS = 150


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What a training wrote while it went on: one JSON object per line.

    Attributes:
        label: names it in the report.
        lines: objects of metrics.jsonl, in order.
        skipped: lines that are no JSON object.
    """

    label: str
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
        """Times and values of one metric over epochs, or over steps where lines name no epoch.

        Args:
            kind: "train" or "evaluation".
            name: key of the metric; lines where it is missing or not finite are left out.
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
    """Reads metrics.jsonl; InputError where the folder has none.

    Lines that are no JSON object, such as one cut short, are counted.
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
    return TrainingLog(label_of(label), tuple(lines), skipped)


def find_logs(runs: Sequence[Run], named: Iterable[tuple[str | None, Path]]) -> list[TrainingLog]:
    """Reads the logs that are named, and those of the trainings that runs come from.

    Args:
        runs: their settings may hold "workdir"; a training there may have a log or not.
        named: label (None for the folder's name) and folder; wins over a run of the same folder.

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


class _Chart(NamedTuple):
    """A figure of training.

    Attributes:
        name: of the file, behind "training-".
        title: over the axes.
        kind: of the lines to read, "train" or "evaluation".
        keys: metrics; the second one is dashed.
        caption: how to read it.
        share: whether the metrics are shares in [0, 1].
    """

    name: str
    title: str
    kind: str
    keys: tuple[str, ...]
    caption: str
    share: bool = False


_CHARTS = (
    _Chart(
        "loss", "Loss", "train", ("loss",), "Loss of training; neighbouring steps are averaged."
    ),
    _Chart(
        "validation",
        "Validation",
        "evaluation",
        ("mean_average_precision", "rank1"),
        "mAP (solid) and rank-1 (dashed) on people held out of training.",
        share=True,
    ),
    _Chart(
        "accuracy", "Training accuracy", "train", ("accuracy",), "Accuracy of training.", share=True
    ),
    _Chart("learning-rate", "Learning rate", "train", ("learning_rate",), "Learning rate."),
    _Chart(
        "attack",
        "Attack during training",
        "train",
        ("objective_end", "objective_start"),
        "What the attack maximises, at its end (solid) and at its start (dashed): the gap is "
        "what the attack gains.",
    ),
    _Chart(
        "budget",
        "Budget used in training",
        "train",
        ("at_budget",),
        "Share of pixels that the attack changes by the whole budget.",
        share=True,
    ),
    _Chart(
        "throughput",
        "Throughput",
        "train",
        ("images_per_second",),
        "Images per second; neighbouring steps are averaged.",
    ),
)


def thinned(times: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Averages neighbours to at most 150 points: a long training is a line and not a band."""
    size = -(-len(times) // _POINTS) or 1
    starts = np.arange(0, len(times), size)
    counts = np.diff(np.append(starts, len(times)))
    return (
        np.add.reduceat(np.asarray(times, float), starts) / counts,
        np.add.reduceat(np.asarray(values, float), starts) / counts,
    )


def draw_training(logs: Sequence[TrainingLog]) -> list[Picture]:
    """Draws one figure per quantity that any log has; all trainings share the axes."""
    return [
        _draw(logs, chart)
        for chart in _CHARTS
        if any(len(log.series(chart.kind, key)[0]) for log in logs for key in chart.keys)
    ]


def _draw(logs: Sequence[TrainingLog], chart: _Chart) -> Picture:
    entries, ends = [], []
    with canvas(height=2.6 + 0.19 * len(logs), narrow=True) as (figure, (axes,)):
        for index, log in enumerate(logs):
            for dashes, key in zip(RUN_DASHES, chart.keys, strict=False):
                times, values = log.series(chart.kind, key)
                if not times:
                    continue
                line = _draw_line(axes, index, dashes, thinned(times, values))
                if key == chart.keys[0]:
                    entries.append((line, log.label))
                ends.append(f"{log.label}, {key.replace('_', ' ')}: {values[-1]:.4g} at the end")
        if chart.share:
            percent_axis(axes)
        elif chart.name == "learning-rate" and _spans_decades(entries):
            axes.set_yscale("log")
            log_ticks(axes.yaxis, "{:g}".format)
        axes.set_xlabel(" and ".join(dict.fromkeys(log.time for log in logs)))
        axes.set_title(chart.title)
        if entries:
            legend_below(figure, entries, columns=2)
        alt = f"{chart.title} over time. {'; '.join(ends)}."
        return picture(figure, f"training-{chart.name}", alt=alt, caption=chart.caption)


def _draw_line(
    axes: Axes, index: int, dashes: Dashes, points: tuple[np.ndarray, np.ndarray]
) -> Line2D:
    """The line of one training; a few marks tell it from others in grey prints, too."""
    count = len(points[0])
    apart = max(1, count // 8)
    (line,) = axes.plot(
        *points,
        color=HUES[index % len(HUES)],
        linestyle=dashes,
        marker="osD^vP"[index % 6],
        markersize=4.5,
        markevery=(index * apart // 2 % max(1, count), apart),
    )
    return line


def _spans_decades(entries: Sequence[tuple[Line2D, str]]) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line, _ in entries])
    return bool(values.min() > 0 and values.max() > 20 * values.min())
