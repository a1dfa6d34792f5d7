"""Rank lists before and after an attack: for the page, and as one PNG for a slide or a paper."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxreid.records import Examples
from jaxreid.report.runs import Panel, Run
from jaxreid.report.style import AttackStyle, style_of
from jaxreid.report.summary import Summary

__all__ = ["Example", "ExampleSet", "Item", "example_sets", "perturbation", "rank_list_strip"]

# Of images in the page, in pixels; and how many examples the first set has, the others, and sets.
_TALLEST = 192
_FIRST, _OTHERS, _SETS = 4, 2, 6
# Of a strip, in pixels.
_HEIGHT, _GAP, _TEXT, _FRAME = 128, 6, 16, 4
_PAPER, _INK = (255, 255, 255), (29, 33, 38)
_RIGHT, _WRONG = (0, 135, 90), (200, 40, 30)


@dataclass(frozen=True)
class Item:
    """One image of a gallery in a rank list.

    Attributes:
        source: data URI.
        name: file name.
        distance: from the query, in the unit of the distance.
        correct: whether it shows the query's identity.
    """

    source: str
    name: str
    distance: float
    correct: bool


@dataclass(frozen=True)
class Example:
    """One query.

    Attributes:
        name: file name.
        identity: of the person.
        camera: 1-based.
        clean: data URI.
        adversarial: data URI; None where the gallery is attacked.
        change: data URI of the perturbation times `gain`; None where the gallery is attacked.
        gain: whole number.
        before: rank list of the clean images.
        after: rank list under the attack.
    """

    name: str
    identity: int
    camera: int
    clean: str
    adversarial: str | None
    change: str | None
    gain: int
    before: list[Item]
    after: list[Item]


@dataclass(frozen=True)
class ExampleSet:
    """The examples of one condition.

    Attributes:
        run: label of the run.
        attack: how the attack looks.
        budget: such as "5/255".
        panel: threat and distance.
        examples: at least one.
        stored: the arrays they come from.
    """

    run: str
    attack: AttackStyle
    budget: str
    panel: Panel
    examples: list[Example]
    stored: Examples


def perturbation(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, int]:
    """Amplifies a change until its largest part is black or white.

    Args:
        clean: uint8 [H,W,3].
        adversarial: float32 [H,W,3] in [0, 1].

    Returns:
        uint8 [H,W,3], grey where nothing changed, and the factor.
    """
    change = adversarial.astype(np.float64) * 255 - clean
    largest = float(np.abs(change).max(initial=0))
    # Float32 pixels come back with errors near 1e-5 of a grey level.
    gain = int(127 / largest + 1e-3) if largest > 1e-3 else 1
    gain = max(1, gain)
    return np.clip(np.rint(127.5 + gain * change), 0, 255).astype(np.uint8), gain


def example_sets(run: Run, summary: Summary) -> list[ExampleSet]:
    """At most six sets of examples near the budget of comparison, the strongest attack first."""
    sets: list[ExampleSet] = []
    for condition, panel in summary.stored(run.label, run.folder.examples_of):
        stored = Examples.load(run.folder.examples_of(condition))
        if not len(stored.names):
            continue
        count = _OTHERS if sets else _FIRST
        examples = [_example(stored, row, panel) for row in range(min(count, len(stored.names)))]
        style = style_of(condition)
        budget = panel.budget(condition.eps)
        sets.append(ExampleSet(run.label, style, budget, panel, examples, stored))
        if len(sets) == _SETS:
            break
    return sets


def _example(stored: Examples, row: int, panel: Panel) -> Example:
    adversarial, change, gain = None, None, 1
    if panel.side == "query":
        picture, gain = perturbation(stored.clean[row], stored.adversarial[row])
        adversarial = _uri(_eight_bit(stored.adversarial[row]), exact=True)
        change = _uri(picture, exact=True)
    return Example(
        name=str(stored.names[row]),
        identity=int(stored.identities[row]),
        camera=int(stored.cameras[row]) + 1,
        clean=_uri(stored.clean[row], exact=True),
        adversarial=adversarial,
        change=change,
        gain=gain,
        before=_items(stored, row, "before"),
        after=_items(stored, row, "after"),
    )


def _eight_bit(image: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1] as uint8."""
    pixels: np.ndarray = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return pixels


def _items(stored: Examples, row: int, when: str) -> list[Item]:
    names, images, distances, correct = (
        getattr(stored, f"{when}_{what}")[row]
        for what in ("names", "images", "distances", "correct")
    )
    return [
        Item(_uri(image), str(name), float(distance), bool(right))
        for name, image, distance, right in zip(names, images, distances, correct, strict=True)
    ]


def _uri(pixels: np.ndarray, *, exact: bool = False) -> str:
    """An image in a data URI: PNG where single grey levels matter, else a much smaller JPEG."""
    picture = Image.fromarray(pixels)
    if picture.height > _TALLEST:
        width = max(1, round(picture.width * _TALLEST / picture.height))
        picture = picture.resize((width, _TALLEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if exact:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=85)
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def rank_list_strip(shown: ExampleSet) -> bytes:
    """Draws the examples of a set below each other as one PNG file.

    Per query two rows, before and after, each with the query (and in the second one its amplified
    change) on the left and framed gallery images on the right.
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
    attacked = _eight_bit(stored.adversarial[row])
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
