"""Training over time: loss, learning rate, validation, strength of the attack."""

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from jaxreid.report.figures.canvas import HUES, Picture, canvas, legend_below, percent_axis, picture
from jaxreid.report.style import RUN_DASHES
from jaxreid.report.training import TrainingLog

__all__ = ["progress", "thinned"]

_POINTS = 150

# File name, title, kind of line, keys (the second one is dashed), whether it is a share,
# what it says.
_CHARTS = (
    (
        "loss",
        "Loss",
        "train",
        ("loss",),
        False,
        "Loss of training; neighbouring steps are averaged.",
    ),
    (
        "validation",
        "Validation",
        "evaluation",
        ("mean_average_precision", "rank1"),
        True,
        "mAP (solid) and rank-1 (dashed) on people held out of training.",
    ),
    ("accuracy", "Training accuracy", "train", ("accuracy",), True, "Accuracy of training."),
    ("learning-rate", "Learning rate", "train", ("learning_rate",), False, "Learning rate."),
    (
        "attack",
        "Attack during training",
        "train",
        ("objective_end", "objective_start"),
        False,
        "What the attack maximises, at its end (solid) and at its start (dashed): the gap is "
        "what the attack gains.",
    ),
    (
        "budget",
        "Budget used in training",
        "train",
        ("at_budget",),
        True,
        "Share of pixels that the attack changes by the whole budget.",
    ),
    (
        "throughput",
        "Throughput",
        "train",
        ("images_per_second",),
        False,
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


def progress(logs: Sequence[TrainingLog]) -> list[Picture]:
    """Draws what the logs know; all trainings share the axes.

    Args:
        logs: of trainings.

    Returns:
        One figure per quantity that any log has.
    """
    drawn = []
    for name, title, kind, keys, share, caption in _CHARTS:
        known = [key for key in keys if any(len(log.series(kind, key)[0]) for log in logs)]
        if known:
            drawn.append(_chart(logs, f"training-{name}", title, kind, keys, share, caption))
    return drawn


def _spans_decades(entries: Sequence[tuple[Line2D, str]]) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line, _ in entries])
    return bool(values.min() > 0 and values.max() > 20 * values.min())


def _chart(
    logs: Sequence[TrainingLog],
    name: str,
    title: str,
    kind: str,
    keys: Sequence[str],
    share: bool,
    caption: str,
) -> Picture:
    entries, ends = [], []
    with canvas(height=2.6 + 0.19 * len(logs), narrow=True) as (paper, (axes,)):
        for index, log in enumerate(logs):
            colour = HUES[index % len(HUES)]
            for dashes, key in zip(RUN_DASHES, keys, strict=False):
                times, values = log.series(kind, key)
                if not times:
                    continue
                shown = thinned(times, values)
                # A few marks per line, elsewhere on each: runs differ in grey, too.
                apart = max(1, len(shown[0]) // 8)
                line: Line2D
                (line,) = axes.plot(
                    *shown,
                    color=colour,
                    linestyle=dashes,
                    marker="osD^vP"[index % 6],
                    markersize=4.5,
                    markevery=(index * apart // 2 % max(1, len(shown[0])), apart),
                )
                if key == keys[0]:
                    entries.append((line, log.label))
                ends.append(f"{log.label}, {key.replace('_', ' ')}: {values[-1]:.4g} at the end")
        if share:
            percent_axis(axes)
        elif name == "training-learning-rate" and _spans_decades(entries):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(" and ".join(dict.fromkeys(log.time for log in logs)))
        axes.set_title(title)
        if entries:
            legend_below(paper, entries, columns=2)
        return picture(paper, name, alt=f"{title} over time. {'; '.join(ends)}.", caption=caption)
