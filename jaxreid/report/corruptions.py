"""What each kind of corruption leaves, as bars beside the clean images."""

from typing import Final

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import CorruptionRecord
from jaxreid.report.canvas import HUES, INK, Picture, canvas, clipped, legend_below, picture
from jaxreid.report.style import percent

__all__ = ["draw_corruptions"]

_METRIC: Final = "mean_average_precision"
_ROW, _AROUND = 0.24, 1.3  # inches


def draw_corruptions(record: CorruptionRecord, name: str) -> Picture:
    """Draws the mAP that each corruption leaves: its mean as a bar, each severity as a dot.

    Args:
        record: of one model, with one level at least.
        name: fit for a file and for an id.
    """
    kept = {kind: record.of_kind(kind).mean(_METRIC) for kind in record.names}
    kinds = sorted(kept, key=lambda kind: -kept[kind])
    means = [kept[kind] for kind in kinds]
    clean = record.clean[MAIN_PROTOCOL].mean_average_precision
    with canvas(height=_AROUND + _ROW * len(kinds), wide=True) as (figure, (axes,)):
        axes.barh(range(len(kinds)), [100 * mean for mean in means], color=HUES[1], height=0.7)
        for row, kind in enumerate(kinds):
            severities = record.of_kind(kind).severities
            shares = [100 * record.share(kind, one, _METRIC) for one in severities]
            axes.plot(shares, [row] * len(shares), "o", color=INK, markersize=3)
        axes.axvline(100 * clean, color=HUES[2], linestyle="--")
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 100)
        axes.set_xlabel("mAP in %")
        axes.set_title(clipped(record.provenance.title, 48))
        legend_below(
            figure,
            [
                (Patch(color=HUES[1]), "mean"),
                (Line2D([], [], color=INK, marker="o", markersize=3, linestyle=""), "a severity"),
                (Line2D([], [], color=HUES[2], linestyle="--"), "clean images"),
            ],
        )
        told = (f"{kind} {percent(mean)}" for kind, mean in zip(kinds, means, strict=True))
        return picture(
            figure,
            name,
            alt=f"mAP of {record.provenance.title} under corruptions, means over severities: "
            f"{', '.join(told)}; clean {percent(clean)}.",
            caption="Dots: each severity. The further left, the more the corruption takes.",
        )
