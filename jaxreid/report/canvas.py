"""The style of all figures (size, colours, grid), and their files: SVG for the page, and PNG."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from jaxreid.files import replacing

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

__all__ = [
    "GRID",
    "HUES",
    "INK",
    "PAPER",
    "Picture",
    "canvas",
    "clipped",
    "legend_below",
    "log_ticks",
    "percent_axis",
    "picture",
]

INK, GRID, PAPER = "#1d2126", "#d8dce2", "#ffffff"
"""Colours that the page replaces by its own, which depend on light or dark mode."""

HUES = (INK, "#44aa99", "#cc6677", "#999933", "#aa4499", "#88ccee", "#117733")
"""Colours of runs and of people: after Paul Tol, safe for the colour blind, and no attack's."""

_WIDE, _WIDTH, _NARROW = 5.8, 4.9, 3.9
_SETTINGS: "dict[RcKeyType, object]" = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    # Labels are names that a user chose: a dollar sign in them is a dollar sign.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Text stays text: it can be searched, and the page gives it its own font.
    "svg.fonttype": "none",
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, ready to be written.

    Attributes:
        name: file name without an ending, and prefix of all ids in the SVG.
        alt: what it shows, for those who do not see it.
        caption: how to read it.
        svg: a whole SVG file.
        png: a whole PNG file.
    """

    name: str
    alt: str
    caption: str
    svg: str
    png: bytes

    @property
    def inline(self) -> str:
        """The SVG element to put into a page, in the page's colours; safe as HTML."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = svg.replace("url(#", f"url(#{self.name}-").replace('href="#', f'href="#{self.name}-')
        svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
        svg = svg.replace(PAPER, "var(--surface)")
        # The figure around it carries the description; width and height come from the viewBox.
        return re.sub(
            r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r'<svg aria-hidden="true" \1', svg
        )

    def save(self, folder: Path) -> None:
        """Writes NAME.svg and NAME.png into a folder that exists, each whole or not at all."""
        for suffix, content in ((".svg", self.svg.encode()), (".png", self.png)):
            with replacing(folder / f"{self.name}{suffix}") as temporary:
                temporary.write_bytes(content)


@contextlib.contextmanager
def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    height: float = 3.4,
    share_axes: bool = False,
    narrow: bool = False,
    wide: bool = False,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """An empty figure and its axes, row by row; what is drawn in the block has the report's style.

    Args:
        rows: of axes.
        columns: of axes.
        height: in inches.
        share_axes: whether all axes have one scale.
        narrow: whether three such figures stand side by side in the page, not two.
        wide: whether it stands alone in its row.
    """
    with matplotlib.rc_context(_SETTINGS):
        width = _WIDE if wide else _NARROW if narrow else _WIDTH
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=share_axes, sharey=share_axes)
        yield figure, list(grid.flat)


def picture(figure: Figure, name: str, *, alt: str, caption: str = "") -> Picture:
    """Renders a figure to SVG and PNG; called inside its canvas.

    Args:
        figure: from `canvas`.
        name: fit for a file and for an id.
        alt: what it shows, in a sentence or two.
        caption: how to read it.
    """
    svg, png = io.StringIO(), io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that matplotlib's font lacks are boxes in the PNG, and right in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # A salt of its own makes the file the same each time.
        with matplotlib.rc_context({"svg.hashsalt": name}):
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(svg, format="svg", metadata=nothing)
        # The second drawing keeps the places that the first one found.
        figure.set_layout_engine("none")
        figure.savefig(png, format="png", dpi=180, metadata={"Title": name})
    return Picture(name, alt, caption, svg.getvalue(), png.getvalue())


def percent_axis(axes: Axes, *, log: bool = False, bottom: float = 0.0) -> None:
    """Makes the vertical axis one of shares in [0, 1]; a logarithmic one begins at `bottom`."""
    if log:
        axes.set_yscale("log")
        axes.set_ylim(bottom, 1.15)
        axes.set_yticks([tick for tick in (1e-4, 1e-3, 1e-2, 0.1, 1.0) if tick >= bottom])
        axes.minorticks_off()
    else:
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def log_ticks(axis: Axis, written: Callable[[float], str]) -> None:
    """Writes the ticks of a logarithmic axis: matplotlib's own are formulas, shown as they are."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axis.set_minor_formatter(NullFormatter())


def legend_below(
    figure: Figure, entries: Sequence[tuple[Artist, str]], *, columns: int = 3
) -> None:
    """Puts a legend below all axes, in fewer columns where names are long."""
    names = [name for _, name in entries]
    room = 12 * figure.get_figwidth()
    fitting = next(n for n in range(columns, 0, -1) if n == 1 or _letters(names, n) <= room)
    legend = figure.legend(
        [line for line, _ in entries],
        # A name that begins with an underscore would be left out; one that is too long, cut.
        [clipped(name, int(room) - 8) for _, name in entries],
        loc="outside lower left",
        ncols=min(fitting, len(entries)),
        handlelength=2.6,
        columnspacing=1.4,
    )
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set_text(clipped(name, int(room) - 8))


def _letters(names: Sequence[str], columns: int) -> int:
    """Width of a legend, in letters: of each column the longest name, and its mark."""
    parts = np.array_split([len(name) for name in names], columns)
    return sum(int(part.max()) + 6 for part in parts if len(part))


def clipped(name: str, length: int) -> str:
    """A name, or its beginning and an ellipsis where it has more than `length` letters."""
    return name if len(name) <= length else name[: length - 1] + "…"
