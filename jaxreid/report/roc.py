"""Verification drawn: pairs of one person that pass against pairs of two people that do."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jaxreid.constants import Goal
from jaxreid.records import VerificationCurve
from jaxreid.report.canvas import (
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    log_ticks,
    percent_axis,
    picture,
)
from jaxreid.report.recognition import Checked
from jaxreid.report.runs import Run
from jaxreid.report.style import percent

__all__ = ["draw_roc", "rocs_of", "share_at", "shown_curves"]

# Pairs of two people that pass: the axis begins where few sets have pairs enough, or before.
_LEAST, _MOST_LEFT = 1e-5, 1e-3
_READ = 0.001


def shown_curves(rows: Sequence[Checked]) -> list[Checked]:
    """Of the pairs of a run those that a figure has room for.

    Clean images, the two attacks that come first of those that evade, and the first one that aims
    at somebody.
    """
    room: dict[Goal | None, int] = {None: 1, "evade": 2, "impersonate": 1}
    return [
        row for goal, count in room.items() for row in [r for r in rows if r.goal == goal][:count]
    ]


def rocs_of(run: Run, rows: Sequence[Checked], name: str) -> list[Picture]:
    """A figure of the pairs of a run, or none where the run has no curves of them."""
    files = [(row, run.folder.verification_of(row.condition)) for row in shown_curves(rows)]
    curves = [(row, VerificationCurve.load(file)) for row, file in files if file.is_file()]
    return [draw_roc(run.label, curves, name)] if curves else []


def draw_roc(label: str, shown: Sequence[tuple[Checked, VerificationCurve]], name: str) -> Picture:
    """Draws at least one curve of a run; the axis of false accepts is logarithmic."""
    least = min(1 / max(1, row.figures.different) for row, _ in shown)
    left = min(_MOST_LEFT, max(_LEAST, 10.0 ** math.floor(math.log10(least))))
    with canvas(height=3.5 + 0.19 * len(shown)) as (figure, (axes,)):
        entries: list[tuple[Artist, str]] = [
            (_draw(axes, row, curve, left), _named(row)) for row, curve in shown
        ]
        axes.set_xscale("log")
        axes.set_xlim(left, 1)
        axes.minorticks_off()
        log_ticks(axes.xaxis, lambda share: f"{100 * share:g} %")
        percent_axis(axes)
        axes.set_xlabel("pairs of two people that pass (FAR)")
        axes.set_ylabel("pairs of one person that pass (TAR)")
        axes.set_title(f"Verification: {clipped(label, 30)}")
        legend_below(figure, entries, columns=2)
        read = "; ".join(f"{_named(row)}: {percent(share_at(c, _READ))}" for row, c in shown)
        return picture(
            figure,
            name,
            alt=f"Receiver operating characteristic of {label}. Pairs of one person that pass "
            f"where {percent(_READ)} of the pairs of two people do: {read}.",
            caption="The higher the line, the better one person is told from two. Dashed: the two "
            "people are an attacker and the person aimed at.",
        )


def _named(row: Checked) -> str:
    return f"{row.name}, {row.budget}" if row.budget else row.name


def _draw(axes: Axes, row: Checked, curve: VerificationCurve, left: float) -> Line2D:
    style = row.style
    false, true = _in_order(curve)
    (line,) = axes.plot(
        np.maximum(false, left),
        true,
        color=INK if row.goal is None else style.colour,
        linestyle={"evade": "solid", "impersonate": (0, (5, 2)), None: (0, (1, 1.2))}[row.goal],
        linewidth=3.0 if style.bold else 1.8,
        marker=style.marker,
        markevery=0.2,
        markerfacecolor=PAPER if style.hollow else style.colour,
        markeredgecolor=style.colour,
        clip_on=False,
        zorder=5 if style.bold else 3,
    )
    return line


def _in_order(curve: VerificationCurve) -> tuple[np.ndarray, np.ndarray]:
    """Both rates as float64, along the curve."""
    return curve.false_accept.astype(np.float64), curve.true_accept.astype(np.float64)


def share_at(curve: VerificationCurve, rate: float) -> float:
    """Share of pairs of one person that pass where at most `rate` of those of two people do.

    Args:
        curve: corners of a ROC.
        rate: in [0, 1].
    """
    false, true = _in_order(curve)
    below = true[false <= rate]
    return float(below.max()) if len(below) else 0.0
