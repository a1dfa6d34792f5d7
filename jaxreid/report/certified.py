"""What is certain of a smoothed model against the radius, and what attacks reached."""

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import Certificate, Score
from jaxreid.report.canvas import (
    HUES,
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    percent_axis,
    picture,
)
from jaxreid.report.style import METRICS, percent

__all__ = ["draw_certificate"]

_SHOWN = {"mean_average_precision": HUES[1], "rank1": HUES[2]}


def draw_certificate(certificate: Certificate, name: str) -> Picture:
    """Draws mAP and rank-1 that are certain, and those that attacks left, against the radius.

    Args:
        certificate: of one model.
        name: fit for a file and for an id.
    """
    levels = certificate.levels
    attacked = [(0.0, certificate.clean), *((one.radius, one.attacked) for one in levels)]
    reached = [(radius, scores) for radius, scores in attacked if scores is not None]
    with canvas(height=3.9, wide=True) as (figure, (axes,)):
        entries: list[tuple[Artist, str]] = []
        for metric, colour in _SHOWN.items():
            title = METRICS[metric]
            certain = [(level.radius, level.certified) for level in levels]
            line = _draw(axes, certain, metric, colour, dashed=False)
            entries.append((line, f"{title}, certain"))
            if len(reached) > 1:
                line = _draw(axes, reached, metric, colour, dashed=True)
                entries.append((line, f"{title}, under attack"))
            axes.plot(0, getattr(certificate.clean[MAIN_PROTOCOL], metric), "o", color=INK)
        percent_axis(axes)
        axes.set_xlim(left=0)
        axes.set_xlabel("length of the change of the query (L2, pixel range)")
        axes.set_title(clipped(certificate.title, 48))
        legend_below(figure, entries, columns=2)
        return picture(
            figure,
            name,
            alt=f"Certain mAP and rank-1 of {certificate.title} against the length of the change: "
            + "; ".join(_told(certificate, metric) for metric in _SHOWN),
            caption="No change of the query of at most that length gets below the solid line, with "
            f"probability {certificate.confidence:g}; what attacks found is dashed. Dots: without "
            "a change, and not certified.",
        )


def _draw(
    axes: Axes,
    points: Sequence[tuple[float, dict[str, Score]]],
    metric: str,
    colour: str,
    *,
    dashed: bool,
) -> Artist:
    radii = [radius for radius, _ in points]
    shares = [getattr(scores[MAIN_PROTOCOL], metric) for _, scores in points]
    (line,) = axes.plot(
        radii,
        shares,
        "s" if dashed else "o",
        color=colour,
        linestyle=(0, (4, 1.6)) if dashed else "solid",
        markerfacecolor=PAPER if dashed else colour,
    )
    return line


def _told(certificate: Certificate, metric: str) -> str:
    first, last = certificate.levels[0], certificate.levels[-1]
    ends = [
        f"{percent(getattr(level.certified[MAIN_PROTOCOL], metric))} at {level.radius:g}"
        for level in (first, last)
    ]
    return f"{METRICS[metric]} from {' to '.join(ends)}"
