"""A few images, what a perturbation adds to them, and what comes out."""

from collections.abc import Sequence
from typing import Any

from jaxreid.report.canvas import Picture, canvas, picture

__all__ = ["draw_changes"]

_ROWS = ("clean", "change", "changed")


def draw_changes(clean: Sequence[Any], changed: Sequence[Any], *, eps: float, name: str) -> Picture:
    """Draws images above their changes and what they become.

    Args:
        clean: float [H,W,3] each, in [0, 1].
        changed: likewise.
        eps: budget in pixel range: a change of it is drawn as black or white, none as grey.
        name: of the file.
    """
    count = len(clean)
    with canvas(len(_ROWS), count, height=4.6, wide=True) as (figure, axes):
        for column, (before, after) in enumerate(zip(clean, changed, strict=True)):
            grown = (0.5 + (after - before) / (2 * eps)).clip(0, 1)
            for row, pixels in enumerate((before, grown, after)):
                place = axes[row * count + column]
                place.imshow(pixels, interpolation="nearest", vmin=0, vmax=1)
                place.set_xticks([])
                place.set_yticks([])
                place.grid(visible=False)
                if column == 0:
                    place.set_ylabel(_ROWS[row])
        levels = f"{255 * eps:g}/255"
        alt = (
            f"{count} images, what is added to each within {levels}, grown to black and white, and "
            "what they become."
        )
        return picture(figure, name, alt=alt)
