"""mAP or rank-1 against the budget: attacks on one run, as in the paper, and runs side by side."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jaxreid.report.canvas import (
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    percent_axis,
    picture,
)
from jaxreid.report.groups import Group
from jaxreid.report.runs import Curve
from jaxreid.report.style import METRICS, RUN_DASHES, percent, protocol_title

__all__ = ["draw_attacks", "draw_runs"]

_BOLD = 3.2
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw_attacks(group: Group, label: str, metric: str, *, log: bool, name: str) -> Picture:
    """Draws a metric (a field of `Score`) of one run under all its attacks."""
    title, drawn, floor = METRICS[metric], group.of(label), _floor(group, metric)
    with canvas(height=3.5 + 0.19 * ((len(drawn) + 2) // 3)) as (figure, (axes,)):
        for curve in drawn:
            _draw(axes, group, curve, metric, floor if log else 0.0)
        percent_axis(axes, log=log, bottom=floor)
        lowest = _draw_lowest(axes, group, drawn, metric)
        axes.set_xlabel(_budget_label(group))
        # All runs of a group have the same axes.
        axes.set_xlim(0, 1.04 * max(curve.points[-1].eps for curve in group.curves))
        axes.set_title(f"{title}: {clipped(label, 32)}")
        entries: list[tuple[Artist, str]] = [(_attack_line(c), c.name) for c in drawn]
        legend_below(figure, entries + lowest)
        scale = ", logarithmic scale" if log else ""
        return picture(
            figure,
            name,
            alt=f"{title} of {label} against the budget of the attacker{scale}. "
            + "; ".join(_describe(group, curve, metric) for curve in drawn)
            + ".",
            caption=f"{title} ({protocol_title(group.protocol)} protocol){scale}. "
            "Lower is a stronger attack; the leftmost point is without an attack.",
        )


def _draw_lowest(
    axes: Axes, group: Group, drawn: Sequence[Curve], metric: str
) -> list[tuple[Artist, str]]:
    """A line where every match comes last, and its entry in the legend; none where not known."""
    results = [one for curve in drawn for point in curve.points for one in point.results]
    floors = [one.worst.floor.get(group.protocol) for one in results if one.worst]
    if metric != "mean_average_precision" or not floors or floors[0] is None:
        return []
    if floors[0] < axes.get_ylim()[0]:
        return []
    line = axes.axhline(floors[0], color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=2)
    return [(line, "floor: matches last")]


def _floor(group: Group, metric: str) -> float:
    """Where a logarithmic axis begins: a power of ten, at least 1e-4; zeros are drawn there."""
    values = [one.mean for curve in group.curves for one in group.series(curve, metric)[1]]
    least = min((value for value in values if value > 0), default=1.0)
    floor = 0.1
    while floor > 1.5e-4 and least < floor:
        floor /= 10
    return floor


def _attack_line(curve: Curve) -> Line2D:
    """A line as the curve's attack looks."""
    style = curve.style
    dashed = style.hollow or bool(curve.variant)
    return Line2D(
        [],
        [],
        color=style.colour,
        marker=style.marker,
        linestyle=(0, (4, 1.6)) if dashed else "solid",
        markerfacecolor=PAPER if dashed else style.colour,
        markeredgecolor=style.colour,
        linewidth=_BOLD if style.bold else None,
        markersize=9 if style.bold else None,
        # What is left in the worst case is seen before all else.
        zorder=5 if style.bold else 3,
    )


def _budget_label(group: Group) -> str:
    if group.panel.norm == "linf":
        return "budget ε: largest change of a pixel, in 1/255"
    return "budget ε: length of the change (L2)"


def _draw(axes: Axes, group: Group, curve: Curve, metric: str, floor: float) -> None:
    eps, values = group.series(curve, metric)
    line = _attack_line(curve)
    axes.plot(
        eps,
        [max(v.mean, floor) for v in values],
        color=line.get_color(),
        linestyle=line.get_linestyle(),
        marker=line.get_marker(),
        markerfacecolor=line.get_markerfacecolor(),
        markeredgecolor=line.get_markeredgecolor(),
        linewidth=line.get_linewidth(),
        markersize=line.get_markersize(),
        zorder=line.get_zorder(),
        # No attack won at a budget of nothing.
        markevery=slice(int(bool(eps) and eps[0] == 0 and line.get_zorder() > 3), None),
        clip_on=False,
    )
    if any(v.count > 1 for v in values):
        low = [max(v.low, floor) for v in values]
        high = [max(v.high, floor) for v in values]
        axes.fill_between(eps, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    if eps and eps[0] == 0:
        axes.plot([0], [max(values[0].mean, floor)], "o", color=INK, clip_on=False, zorder=6)


def _describe(group: Group, curve: Curve, metric: str) -> str:
    eps, values = group.series(curve, metric)
    if not values:
        return curve.name
    first, last = values[0], values[-1]
    return (
        f"{curve.name} from {percent(first.mean)} at {group.panel.budget(eps[0])} "
        f"to {percent(last.mean)} at {group.panel.budget(eps[-1])}"
    )


def draw_runs(group: Group, metric: str, *, log: bool, name: str) -> Picture | None:
    """Draws each attack that several runs have, one line per run; None where they share none."""
    shared = _shared_attacks(group)
    if not shared:
        return None
    labels = [label for label in group.labels if group.of(label)]
    rows, columns = (len(shared) + 1) // 2, min(2, len(shared))
    floor = _floor(group, metric)
    height = 2.05 * rows + 0.7 + 0.19 * len(labels)
    with canvas(rows, columns, height=height, share_axes=True) as (figure, grid):
        for axes, attack in zip(grid, shared, strict=False):
            lines = [_run_line(labels.index(curve.run), curve) for curve in attack]
            for line, curve in zip(lines, attack, strict=True):
                eps, values = group.series(curve, metric)
                line.set_data(eps, [max(value.mean, floor if log else 0) for value in values])
                line.set_clip_on(False)
                axes.add_line(line)
            axes.autoscale_view()
            percent_axis(axes, log=log, bottom=floor)
            axes.set_title(attack[0].name)
        _label_grid(grid, len(shared), columns, METRICS[metric], norm=group.panel.norm)
        entries = [(_run_line(index), label) for index, label in enumerate(labels)]
        legend_below(figure, entries, columns=2)
        scale = ", logarithmic scale" if log else ""
        return picture(
            figure,
            name,
            alt=f"{METRICS[metric]} of {len(labels)} runs against the budget, one pair of axes per "
            f"attack{scale}. " + " ".join(_ends(group, attack, metric) for attack in shared),
            caption=f"The same attack against each run{scale}: the higher line resists better.",
        )


def _shared_attacks(group: Group) -> list[list[Curve]]:
    """The curves of each attack that several runs have."""
    by_attack: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in group.curves:
        by_attack.setdefault(curve.kind, []).append(curve)
    return [found for found in by_attack.values() if len(found) > 1]


def _label_grid(grid: Sequence[Axes], used: int, columns: int, metric: str, *, norm: str) -> None:
    """Labels at the left and at the bottom; axes that are left over vanish."""
    for index, axes in enumerate(grid[:used]):
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=norm == "linf"))
        if index + columns >= used:
            axes.set_xlabel(f"budget {'ε in 1/255' if norm == 'linf' else 'ε (L2)'}")
            axes.tick_params(labelbottom=True)
        if index % columns == 0:
            axes.set_ylabel(metric)
    for axes in grid[used:]:
        axes.set_axis_off()


def _run_line(index: int, curve: Curve | None = None) -> Line2D:
    """A line as the run of this number looks: of one of its attacks, or of any in a legend."""
    colour = curve.style.colour if curve else INK
    return Line2D(
        [],
        [],
        color=colour,
        linestyle=RUN_DASHES[index % len(RUN_DASHES)],
        marker=_MARKERS[index % len(_MARKERS)],
        markerfacecolor=colour if index % 2 == 0 else PAPER,
        markeredgecolor=colour,
        markersize=4.5,
        linewidth=_BOLD if curve and curve.style.bold else None,
    )


def _ends(group: Group, attack: Sequence[Curve], metric: str) -> str:
    """Where the line of each run ends, in words."""
    ends = []
    for curve in attack:
        eps, values = group.series(curve, metric)
        if values:
            budget = group.panel.budget(eps[-1])
            ends.append(f"{curve.run} ends at {percent(values[-1].mean)} ({budget})")
    return f"{attack[0].name}: {', '.join(ends)}."
