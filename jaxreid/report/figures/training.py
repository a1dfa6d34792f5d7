"""Training over time: loss, learning rate, validation, strength of the attack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from jaxreid.report.figures.canvas import HUES, Picture, canvas, legend_below, percent_axis, picture
from jaxreid.report.runs import TrainingLog
from jaxreid.report.style import RUN_DASHES, Dashes

__all__ = ["draw_training", "thinned"]

_POINTS = 150


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
    """Averages neighbours, so that a long training is a line and not a band.

    Args:
        times: any number.
        values: as many.

    Returns:
        At most 150 of each.
    """
    size = -(-len(times) // _POINTS) or 1
    starts = np.arange(0, len(times), size)
    counts = np.diff(np.append(starts, len(times)))
    return (
        np.add.reduceat(np.asarray(times, float), starts) / counts,
        np.add.reduceat(np.asarray(values, float), starts) / counts,
    )


def draw_training(logs: Sequence[TrainingLog]) -> list[Picture]:
    """Draws what the logs know; all trainings share the axes.

    Args:
        logs: of trainings.

    Returns:
        One figure per quantity that any log has.
    """
    return [
        _draw(logs, chart)
        for chart in _CHARTS
        if any(len(log.series(chart.kind, key)[0]) for log in logs for key in chart.keys)
    ]


def _draw(logs: Sequence[TrainingLog], chart: _Chart) -> Picture:
    entries, ends = [], []
    with canvas(height=2.6 + 0.19 * len(logs), narrow=True) as (paper, (axes,)):
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
            axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(" and ".join(dict.fromkeys(log.time for log in logs)))
        axes.set_title(chart.title)
        if entries:
            legend_below(paper, entries, columns=2)
        alt = f"{chart.title} over time. {'; '.join(ends)}."
        return picture(paper, f"training-{chart.name}", alt=alt, caption=chart.caption)


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
