"""Rank lists as one PNG, for a slide or a paper."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxreid.report.examples import ExampleSet, perturbation

__all__ = ["rank_list_strip"]

_HEIGHT, _GAP, _TEXT, _FRAME = 128, 6, 16, 4
_PAPER, _INK = (255, 255, 255), (29, 33, 38)
_RIGHT, _WRONG = (0, 135, 90), (200, 40, 30)


def rank_list_strip(shown: ExampleSet) -> bytes:
    """Draws the examples of a set below each other.

    Args:
        shown: the set.

    Returns:
        A PNG file: per query two rows, before and after, each with the query (and in the second
        one its amplified change) on the left and framed gallery images on the right.
    """
    stored, count = shown.stored, len(shown.examples)
    tall, wide = stored.clean.shape[1:3]
    cell = max(24, round(_HEIGHT * wide / tall)) + 2 * _FRAME + _GAP
    line = _HEIGHT + 2 * _FRAME + _TEXT + _GAP
    columns = 3 + stored.before_images.shape[1]
    sheet = Image.new("RGB", (columns * cell + _GAP, count * (2 * line + 2 * _GAP) + _GAP), _PAPER)
    for row in range(count):
        top = _GAP + row * (2 * line + 2 * _GAP)
        _query(sheet, shown, row, (_GAP, top), (cell, line))
        for part, when in enumerate(("before", "after")):
            images = getattr(stored, f"{when}_images")[row]
            correct = getattr(stored, f"{when}_correct")[row]
            distances = getattr(stored, f"{when}_distances")[row]
            for rank in range(len(images)):
                left = _GAP + (rank + 3) * cell - cell // 2
                at = (left, top + part * line)
                _item(sheet, images[rank], bool(correct[rank]), float(distances[rank]), at, cell)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _query(
    sheet: Image.Image,
    shown: ExampleSet,
    row: int,
    at: tuple[int, int],
    size: tuple[int, int],
) -> None:
    stored = shown.stored
    (left, top), (cell, line) = at, size
    _paste(sheet, stored.clean[row], (left + _FRAME, top + _FRAME), cell, "query")
    if shown.examples[row].adversarial is None:
        _paste(sheet, stored.clean[row], (left + _FRAME, top + line + _FRAME), cell, "query")
        return
    attacked = np.clip(np.rint(stored.adversarial[row] * 255), 0, 255).astype(np.uint8)
    change, gain = perturbation(stored.clean[row], stored.adversarial[row])
    _paste(sheet, attacked, (left + _FRAME, top + line + _FRAME), cell, "attacked")
    _paste(sheet, change, (left + _FRAME + cell, top + line + _FRAME), cell, f"change x{gain}")


def _paste(
    sheet: Image.Image, pixels: np.ndarray, at: tuple[int, int], cell: int, text: str
) -> None:
    width = cell - 2 * _FRAME - _GAP
    sheet.paste(Image.fromarray(pixels).resize((width, _HEIGHT), Image.Resampling.LANCZOS), at)
    below = (at[0] + width // 2, at[1] + _HEIGHT + _FRAME + _TEXT // 2)
    ImageDraw.Draw(sheet).text(below, text, _INK, ImageFont.load_default(11), anchor="mm")


def _item(
    sheet: Image.Image,
    pixels: np.ndarray,
    correct: bool,
    distance: float,
    at: tuple[int, int],
    cell: int,
) -> None:
    draw, colour = ImageDraw.Draw(sheet), _RIGHT if correct else _WRONG
    right, bottom = at[0] + cell - _GAP - 1, at[1] + _HEIGHT + 2 * _FRAME - 1
    draw.rectangle((*at, right, bottom), colour)
    _paste(sheet, pixels, (at[0] + _FRAME, at[1] + _FRAME), cell, f"{distance:.3g}")
    # Shape as well as colour: a tick or a cross on a disc in the corner.
    x, y = right - 9, at[1] + 9
    draw.ellipse((x - 9, y - 9, x + 9, y + 9), colour)
    if correct:
        draw.line((x - 4, y, x - 1, y + 4, x + 5, y - 4), _PAPER, 2)
    else:
        draw.line((x - 4, y - 4, x + 4, y + 4), _PAPER, 2)
        draw.line((x - 4, y + 4, x + 4, y - 4), _PAPER, 2)
