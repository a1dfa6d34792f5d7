"""Figures of benchmarks, drawn as the report's are."""

from collections.abc import Mapping

from matplotlib.ticker import FuncFormatter, NullFormatter

from jaxreid.report.figures.canvas import HUES, Picture, canvas, legend_below, picture

__all__ = ["throughput"]


def throughput(found: Mapping[int, Mapping[int, float]], title: str) -> Picture:
    """Draws speed against the batch, one line per number of devices.

    Args:
        found: devices -> batch in images -> images times steps per second.
        title: of the figure.

    Returns:
        The figure.
    """
    with canvas() as (figure, [axes]):
        lines = []
        for hue, (devices, speeds) in zip(HUES * len(found), found.items(), strict=False):
            (line,) = axes.plot(list(speeds), list(speeds.values()), "o-", color=hue)
            lines.append((line, f"{devices} device{'s' if devices > 1 else ''}"))
        axes.set_title(title)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda batch, _: f"{batch:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
        axes.set_xlabel("batch (images)")
        axes.set_ylabel("images x steps per second")
        legend_below(figure, lines)
        best = {devices: max(speeds.values()) for devices, speeds in found.items()}
        alt = "; ".join(f"{devices} devices: at best {rate:,.2f}" for devices, rate in best.items())
        return picture(figure, "throughput", alt=f"{title}, images times steps per second. {alt}.")
