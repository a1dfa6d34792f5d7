"""Runs side by side on the same axes, attack by attack: defended against undefended."""

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jaxreid.report.figures.canvas import (
    INK,
    PAPER,
    Picture,
    canvas,
    legend_below,
    percent_axis,
    picture,
)
from jaxreid.report.figures.curves import floor_of, spreads
from jaxreid.report.grouping import Curve, Group
from jaxreid.report.strikes import short_name
from jaxreid.report.style import FIGURES, RUN_DASHES, attack_style, percent

__all__ = ["side_by_side"]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def side_by_side(group: Group, figure: str, *, log: bool, name: str) -> Picture | None:
    """Draws one pair of axes per attack that several runs have, one line per run.

    Args:
        group: of several runs.
        figure: a field of `Score`.
        log: whether the vertical axis is logarithmic.
        name: of the picture.

    Returns:
        The figure; None where no attack is shared.
    """
    by_attack: dict[tuple[str, str], list[Curve]] = {}
    for curve in group.curves:
        by_attack.setdefault((curve.attack, curve.variant), []).append(curve)
    shared = [drawn for drawn in by_attack.values() if len(drawn) > 1]
    if not shared:
        return None
    rows = (len(shared) + 1) // 2
    columns = min(2, len(shared))
    floor = floor_of([s.mean for c in group.curves for s in spreads(group, c, figure)[1]])
    labels = [label for label in group.labels if group.of(label)]
    height = 2.05 * rows + 0.7 + 0.19 * len(labels)
    with canvas(rows, columns, height=height, share_axes=True) as (paper, grid):
        for axes, drawn in zip(grid, shared, strict=False):
            for curve in drawn:
                eps, values = spreads(group, curve, figure)
                line = _line(labels.index(curve.run), attack_style(curve.attack).colour)
                line.set_data(eps, [max(v.mean, floor if log else 0) for v in values])
                line.set_clip_on(False)
                axes.add_line(line)
            axes.autoscale_view()
            percent_axis(axes, log=log, bottom=floor)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=group.panel.norm == "linf"))
            axes.set_title(short_name(drawn[0]))
        for axes in grid[len(shared) :]:
            axes.set_axis_off()
        unit = "ε in 1/255" if group.panel.norm == "linf" else "ε (L2)"
        for index, axes in enumerate(grid[: len(shared)]):
            if index + columns >= len(shared):
                axes.set_xlabel(f"budget {unit}")
                axes.tick_params(labelbottom=True)
            if index % columns == 0:
                axes.set_ylabel(FIGURES[figure])
        entries = [(_line(index, INK), label) for index, label in enumerate(labels)]
        legend_below(paper, entries, columns=2)
        scale = ", logarithmic scale" if log else ""
        return picture(
            paper,
            name,
            alt=f"{FIGURES[figure]} of {len(labels)} runs against the budget, one pair of axes per "
            f"attack{scale}. " + " ".join(_told(group, drawn, figure) for drawn in shared),
            caption=f"The same attack against each run{scale}: the higher line resists better.",
        )


def _line(index: int, colour: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        linestyle=RUN_DASHES[index % len(RUN_DASHES)],
        marker=_MARKERS[index % len(_MARKERS)],
        markerfacecolor=colour if index % 2 == 0 else PAPER,
        markeredgecolor=colour,
        markersize=4.5,
    )


def _told(group: Group, drawn: list[Curve], figure: str) -> str:
    ends = []
    for curve in drawn:
        eps, values = spreads(group, curve, figure)
        if values:
            ends.append(
                f"{curve.run} ends at {percent(values[-1].mean)} ({group.panel.budget(eps[-1])})"
            )
    return f"{short_name(drawn[0])}: {', '.join(ends)}."
