"""mAP or rank-1 against the budget: one line per attack, as in the paper."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jaxreid.report.figures.canvas import (
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    percent_axis,
    picture,
)
from jaxreid.report.grouping import Curve, Group, Spread
from jaxreid.report.strikes import main_protocol, short_name
from jaxreid.report.style import FIGURES, PROTOCOLS, attack_style, percent

__all__ = ["curve_line", "curves", "floor_of", "spreads"]


def spreads(group: Group, curve: Curve, figure: str) -> tuple[list[float], list[Spread]]:
    """Takes the points of a curve, from the clean one on.

    Args:
        group: of the curve.
        curve: of an attack.
        figure: a field of `Score`.

    Returns:
        Budgets and figures, equally many.
    """
    protocol = main_protocol(group)
    if protocol is None:
        return [], []
    clean = group.clean.get(curve.run)
    points = ([clean] if clean else []) + list(curve.points)
    known = [(point.eps, point.spread(protocol, figure)) for point in points]
    return (
        [eps for eps, spread in known if spread],
        [spread for _, spread in known if spread],
    )


def curve_line(curve: Curve) -> Line2D:
    """A line as the curve's attack looks.

    Args:
        curve: of an attack.

    Returns:
        The line, for a legend.
    """
    style = attack_style(curve.attack)
    dashed = style.hollow or bool(curve.variant)
    return Line2D(
        [],
        [],
        color=style.colour,
        marker=style.marker,
        linestyle=(0, (4, 1.6)) if dashed else "solid",
        markerfacecolor=PAPER if dashed else style.colour,
        markeredgecolor=style.colour,
    )


def floor_of(values: Sequence[float]) -> float:
    """Where a logarithmic axis begins.

    Args:
        values: in [0, 1]; zeros are drawn on the floor.

    Returns:
        A power of ten, at least 1e-4.
    """
    floor = 0.1
    while floor > 1.5e-4 and min((v for v in values if v > 0), default=1.0) < floor:
        floor /= 10
    return floor


def curves(group: Group, label: str, figure: str, *, log: bool, name: str) -> Picture:
    """Draws all attacks of one run.

    Args:
        group: of the run.
        label: of the run.
        figure: a field of `Score`.
        log: whether the vertical axis is logarithmic.
        name: of the picture.

    Returns:
        The figure.
    """
    title = FIGURES[figure]
    drawn = group.of(label)
    everything = [s.mean for curve in group.curves for s in spreads(group, curve, figure)[1]]
    floor = floor_of(everything)
    protocol = main_protocol(group) or ""
    with canvas(height=3.5 + 0.19 * ((len(drawn) + 2) // 3)) as (paper, (axes,)):
        for curve in drawn:
            _draw(axes, group, curve, figure, floor if log else 0.0)
        percent_axis(axes, log=log, bottom=floor)
        axes.set_xlabel(_budget_label(group))
        # All runs of a group have the same axes.
        largest = max(curve.points[-1].eps for curve in group.curves)
        axes.set_xlim(0, 1.04 * largest)
        axes.set_title(f"{title}: {clipped(label, 32)}")
        legend_below(paper, [(curve_line(curve), short_name(curve)) for curve in drawn])
        scale = ", logarithmic scale" if log else ""
        return picture(
            paper,
            name,
            alt=f"{title} of {label} against the budget of the attacker{scale}. "
            + "; ".join(_told(group, curve, figure) for curve in drawn)
            + ".",
            caption=f"{title} ({PROTOCOLS.get(protocol, protocol)} protocol){scale}. "
            "Lower is a stronger attack; the leftmost point is without an attack.",
        )


def _budget_label(group: Group) -> str:
    if group.panel.norm == "linf":
        return "budget ε: largest change of a pixel, in 1/255"
    return "budget ε: length of the change (L2)"


def _draw(axes: Axes, group: Group, curve: Curve, figure: str, floor: float) -> None:
    eps, values = spreads(group, curve, figure)
    line = curve_line(curve)
    axes.plot(
        eps,
        [max(v.mean, floor) for v in values],
        color=line.get_color(),
        linestyle=line.get_linestyle(),
        marker=line.get_marker(),
        markerfacecolor=line.get_markerfacecolor(),
        markeredgecolor=line.get_markeredgecolor(),
        clip_on=False,
        zorder=3,
    )
    if any(v.count > 1 for v in values):
        low = [max(v.low, floor) for v in values]
        high = [max(v.high, floor) for v in values]
        axes.fill_between(eps, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    if eps and eps[0] == 0:
        axes.plot([0], [values[0].mean], "o", color=INK, clip_on=False, zorder=4)


def _told(group: Group, curve: Curve, figure: str) -> str:
    eps, values = spreads(group, curve, figure)
    if not values:
        return short_name(curve)
    first, last = values[0], values[-1]
    return (
        f"{short_name(curve)} from {percent(first.mean)} at {group.panel.budget(eps[0])} "
        f"to {percent(last.mean)} at {group.panel.budget(eps[-1])}"
    )
