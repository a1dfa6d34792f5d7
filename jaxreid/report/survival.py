"""The worst case on the page: who survives it, what made it, and what knowledge buys."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from jaxreid.report.canvas import GRID, PAPER, Picture, canvas, clipped, legend_below, picture
from jaxreid.report.groups import Group
from jaxreid.report.style import percent
from jaxreid.report.worst import (
    Knowing,
    Members,
    Survival,
    WorstRow,
    knowing,
    member_rows,
    survivals,
    worst_rows,
)

__all__ = ["WorstSection", "draw_survivals", "worst_section"]

# After Okabe and Ito: blue is dark and the two oranges are light in a grey print as well.
_SURVIVES, _LOST = "#0072b2", ("#e69f00", "#f3c76b")
# Not the ink of the page, which is light in dark mode: this stands on colours that stay.
_ON_LIGHT = "#111111"
# Share of the width of the axes from which on a number fits into its part.
_ROOM = 0.03


@dataclass(frozen=True)
class WorstSection:
    """The worst cases of a group on the page.

    Attributes:
        pictures: who survives.
        rows: in all ways in which it is counted.
        members: of each run's ensemble.
        knowing: what knowledge buys.
    """

    pictures: list[Picture]
    rows: list[WorstRow]
    members: list[Members]
    knowing: list[Knowing]


def worst_section(group: Group, number: int) -> WorstSection | None:
    """What is known of the worst case in a group; None where nothing is."""
    rows, known, bars = worst_rows(group), knowing(group), survivals(group)
    if not rows and not known:
        return None
    pictures = [draw_survivals(bars, f"survivors-threat{number}")] if bars else []
    return WorstSection(pictures, rows, member_rows(group), known)


def draw_survivals(found: Sequence[Survival], name: str) -> Picture:
    """Draws one bar per run, at least one: who survives, who was lost to whom, who was wrong."""
    with canvas(height=1.15 + 0.6 * len(found), wide=True) as (figure, (axes,)):
        for row, survival in enumerate(found):
            _draw(axes, row, survival)
        axes.set_yticks([])
        axes.set_ylim(len(found) - 0.45, -0.75)
        axes.set_xlim(0, 1)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.set_title("Who is still found first in the worst case")
        entries = [
            (Patch(facecolor=_SURVIVES), "the right person, whatever was tried"),
            (Patch(facecolor=_LOST[0]), "lost to attack number ..."),
            (_wrong_patch(), "somebody else, clean already"),
        ]
        legend_below(figure, list(entries))
        return picture(
            figure,
            name,
            alt="Share of searches that find the right person first. "
            + " ".join(_described(survival) for survival in found),
            caption=f"{found[0].name[:1].upper()}{found[0].name[1:]}, of all searches with a "
            "match. Numbers: searches that lost the right person to the attack of that number in "
            "the table below, the first that succeeded.",
        )


def _draw(axes: Axes, row: int, survival: Survival) -> None:
    title = f"{clipped(survival.run, 40)}: {percent(survival.survivors)} survive"
    axes.text(0, row - 0.34, title, ha="left", va="bottom", fontsize=9)
    axes.barh(row, survival.survivors, color=_SURVIVES, edgecolor=PAPER, height=0.56)
    left = survival.survivors
    for lost in survival.lost:
        # The colour goes with the number, so that one member looks the same in every bar.
        colour = _LOST[lost.number % 2]
        axes.barh(row, lost.share, left=left, color=colour, edgecolor=PAPER, height=0.56)
        if lost.share > _ROOM:
            middle = left + lost.share / 2
            number = str(lost.number)
            axes.text(middle, row, number, color=_ON_LIGHT, ha="center", va="center", fontsize=9)
        left += lost.share
    axes.barh(
        row, survival.wrong, left=left, color=GRID, edgecolor=PAPER, height=0.56, hatch="////"
    )


def _wrong_patch() -> Patch:
    return Patch(facecolor=GRID, edgecolor=PAPER, hatch="////")


def _described(survival: Survival) -> str:
    lost = "".join(f"; {percent(one.share)} lost to {one.name}" for one in survival.lost)
    return (
        f"{survival.run}, {survival.name}: {percent(survival.survivors)} still{lost}; "
        f"{percent(survival.wrong)} wrong on clean images already."
    )
