"""The picture of `jaxreid benchmark attack --plot`: speed over batches, by number of devices."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.report.canvas import Picture

__all__ = ["check_plot", "draw_throughput"]


def check_plot(path: Path) -> None:
    """Before an hour is spent on what cannot be drawn."""
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"--plot: expected a name that ends in .svg or .png, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"--plot: there is no folder {path.parent}")


def draw_throughput(
    found: dict[int, dict[int, float]], options: dict[str, Any], path: Path
) -> None:
    """Draws what was tried, number of devices -> batch -> speed, into a file."""
    from jaxreid.files import replacing

    height, width = options["size"]
    drawn = _throughput(found, f"{options['attack']}, {options['architecture']}, {height}x{width}")
    with replacing(path) as temporary:
        if path.suffix == ".svg":
            temporary.write_text(drawn.svg, encoding="utf-8")
        else:
            temporary.write_bytes(drawn.png)


def _throughput(found: Mapping[int, Mapping[int, float]], title: str) -> "Picture":
    """Draws speed (images times steps per second) against the batch, a line per device count."""
    from jaxreid.report.canvas import HUES, canvas, legend_below, log_ticks, picture

    with canvas() as (figure, [axes]):
        lines = []
        for hue, (devices, speeds) in zip(HUES * len(found), found.items(), strict=False):
            (line,) = axes.plot(list(speeds), list(speeds.values()), "o-", color=hue)
            lines.append((line, f"{devices} device{'s' if devices > 1 else ''}"))
        axes.set_title(title)
        axes.set_xscale("log", base=2)
        log_ticks(axes.xaxis, "{:g}".format)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("batch (images)")
        axes.set_ylabel("images x steps per second")
        legend_below(figure, lines)
        best = {devices: max(speeds.values()) for devices, speeds in found.items()}
        alt = "; ".join(f"{devices} devices: at best {rate:,.2f}" for devices, rate in best.items())
        return picture(figure, "throughput", alt=f"{title}, images times steps per second. {alt}.")
