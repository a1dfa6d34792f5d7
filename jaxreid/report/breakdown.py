"""Who is hit: the distribution of average precision, by camera and by person."""

from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.patches import Polygon
from matplotlib.ticker import PercentFormatter

from jaxreid.errors import InputError
from jaxreid.records import PerQuery
from jaxreid.report.canvas import (
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    picture,
)
from jaxreid.report.style import PROTOCOLS, AttackStyle, percent

__all__ = [
    "Pair",
    "PersonRow",
    "draw_average_precisions",
    "draw_cameras",
    "draw_people",
    "hardest_and_safest",
    "means_by",
]


@dataclass(frozen=True, eq=False)
class Pair:
    """The queries of a run that have a match, before and after an attack.

    Attributes:
        run: label of the run.
        attack: how the attack looks.
        name: of the attack and its budget.
        identities: int [Q].
        cameras: int [Q], 0-based.
        before: [Q] average precision in [0, 1].
        after: [Q].
    """

    run: str
    attack: AttackStyle
    name: str
    identities: np.ndarray
    cameras: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(
        cls,
        run: str,
        attack: AttackStyle,
        name: str,
        *,
        clean: PerQuery,
        attacked: PerQuery,
        protocol: str,
    ) -> "Pair | None":
        """Pairs the queries of two results of one run, with the array of a protocol.

        None where the two are not about the same queries, or none has a match; `name` is that of
        the attack and its budget.
        """
        if not np.array_equal(clean.identities, attacked.identities):
            return None
        # A protocol that is newer than the table has no array.
        if protocol not in PROTOCOLS:
            return None
        before, after = getattr(clean, protocol), getattr(attacked, protocol)
        valid = clean.valid.astype(bool) & np.isfinite(before) & np.isfinite(after)
        for values in (before[valid], after[valid]):
            if values.size and not (values.min() >= 0 and values.max() <= 1 + 1e-6):
                raise InputError(
                    f"average precisions of {run} are not in [0, 1]: its arrays are damaged; "
                    "evaluate again"
                )
        if not valid.any():
            return None
        kept = (clean.identities, clean.cameras, before, after)
        return cls(run, attack, name, *(array[valid] for array in kept))


def means_by(groups: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups in rising order [K], their means [K] and sizes [K], of values [Q] with groups [Q]."""
    names, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return names, np.bincount(index, weights=values) / counts, counts


def draw_average_precisions(pair: Pair, name: str) -> Picture:
    """Draws how many queries have which average precision."""
    edges = [step / 20 for step in range(21)]
    weights = np.full(len(pair.before), 1 / len(pair.before))
    with canvas(height=2.9, narrow=True) as (figure, (axes,)):
        *_, after = axes.hist(
            pair.after,
            edges,
            weights=weights,
            color=pair.attack.colour,
            alpha=0.75,
            hatch="///",
            edgecolor=PAPER,
            linewidth=0.4,
        )
        *_, before = axes.hist(
            pair.before, edges, weights=weights, histtype="step", color=INK, linewidth=1.8
        )
        axes.set_xlim(0, 1)
        axes.set_xlabel("average precision of a query")
        axes.set_ylabel("share of queries")
        _percent_ticks(axes.xaxis, axes.yaxis)
        axes.set_title("Average precision, query by query")
        legend_below(figure, [(_first(before), "clean images"), (_first(after), pair.name)])
        return picture(
            figure,
            name,
            alt=f"Histogram of average precision of {len(pair.before):,} queries of {pair.run}. "
            f"Clean: half of them above {percent(float(np.median(pair.before)))}. "
            f"{pair.name}: half of them above {percent(float(np.median(pair.after)))}.",
            caption="Outline: clean images. Hatched: under attack. A bar on the far left is "
            "queries whose matches are at the end of the list.",
        )


def _percent_ticks(*axes: Axis) -> None:
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _first(patches: BarContainer | Polygon | list[BarContainer | Polygon]) -> Artist:
    """The one patch of an outline, or the first bar."""
    return patches[0]  # type: ignore[index,return-value]


def draw_cameras(pair: Pair, name: str) -> Picture:
    """Draws mAP per camera of the query, before and after."""
    numbers, before, counts = means_by(pair.cameras, pair.before)
    _, after, _ = means_by(pair.cameras, pair.after)
    rows = np.arange(len(numbers))
    with canvas(height=1.4 + 0.25 * max(6, len(numbers)), narrow=True) as (figure, (axes,)):
        axes.hlines(rows, after, before, color=pair.attack.colour, linewidth=2.2, alpha=0.55)
        (clean,) = axes.plot(
            before, rows, "o", markerfacecolor=PAPER, markeredgecolor=INK, clip_on=False
        )
        (hit,) = axes.plot(
            after,
            rows,
            linestyle="none",
            marker=pair.attack.marker,
            color=pair.attack.colour,
            clip_on=False,
        )
        axes.set_yticks(
            rows, [f"camera {n + 1} ({c:,})" for n, c in zip(numbers, counts, strict=True)]
        )
        axes.set_ylim(len(numbers) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        _percent_ticks(axes.xaxis)
        axes.grid(axis="y", visible=False)
        axes.set_title("mAP by camera of the query")
        legend_below(figure, [(clean, "clean images"), (hit, pair.name)])
        changes = "; ".join(
            f"camera {n + 1} from {percent(b)} to {percent(a)}"
            for n, b, a in zip(numbers, before, after, strict=True)
        )
        return picture(
            figure,
            name,
            alt=f"mAP of {pair.run} by camera, clean and under {pair.name}: {changes}.",
            caption="In brackets: queries of the camera. The longer the line, the more is lost.",
        )


def draw_people(pair: Pair, name: str) -> Picture:
    """Draws mAP per person, before against after."""
    identities, before, _ = means_by(pair.identities, pair.before)
    _, after, _ = means_by(pair.identities, pair.after)
    with canvas(height=2.9, narrow=True) as (figure, (axes,)):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(0.8, 0.9, "no effect", ha="right", va="center", fontsize=9)
        axes.plot(
            before,
            after,
            linestyle="none",
            marker=pair.attack.marker,
            color=pair.attack.colour,
            alpha=0.7 if len(identities) < 200 else 0.4,
            markersize=5 if len(identities) < 200 else 3.5,
            clip_on=False,
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        _percent_ticks(axes.xaxis, axes.yaxis)
        axes.set_xlabel("mAP on clean images")
        axes.set_ylabel(clipped(f"mAP under {pair.name}", 30))
        axes.set_title("Person by person")
        below = int(np.sum(after < before / 2))
        return picture(
            figure,
            name,
            alt=f"Scatter of {len(identities):,} people of {pair.run}: mAP under {pair.name} "
            f"against mAP on clean images. {below:,} of them lose more than half.",
            caption=f"One mark per person: {below:,} of {len(identities):,} lose more than half "
            "of their mAP.",
        )


@dataclass(frozen=True)
class PersonRow:
    """One person under attack: queries that have a match, and their mAP in [0, 1]."""

    identity: int
    queries: int
    before: float
    after: float


def hardest_and_safest(pair: Pair) -> tuple[list[PersonRow], list[PersonRow]]:
    """Five people whom the attack costs most, and five others who keep most."""
    identities, before, counts = means_by(pair.identities, pair.before)
    _, after, _ = means_by(pair.identities, pair.after)
    rows = [
        PersonRow(int(i), int(n), float(b), float(a))
        for i, n, b, a in zip(identities, counts, before, after, strict=True)
    ]
    hardest = [rows[i] for i in np.argsort(after - before, kind="stable")[:5]]
    others = [row for row in rows if row not in hardest]
    return hardest, sorted(others, key=lambda row: -row.after)[:5]
