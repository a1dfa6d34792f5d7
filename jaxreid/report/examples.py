"""Rank lists before and after an attack, as a page shows them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from jaxreid.records import Examples
from jaxreid.report.grouping import Group, Panel
from jaxreid.report.runs import Run
from jaxreid.report.stored import stored_conditions
from jaxreid.report.style import AttackStyle, attack_style

__all__ = ["Example", "ExampleSet", "Item", "example_sets", "perturbation"]

_TALLEST = 192
_FIRST, _OTHERS, _SETS = 4, 2, 6


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
        change: data URI of the amplified perturbation; None where the gallery is attacked.
        gain: how often the change is amplified.
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


def example_sets(run: Run, groups: Sequence[Group]) -> list[ExampleSet]:
    """Finds the examples of a run, near the budget of comparison, the strongest attack first.

    Args:
        run: whose folder may hold examples.
        groups: of all runs, the fullest first.

    Returns:
        At most six sets; none where the run has none.

    Raises:
        InputError: a file of examples is damaged.
    """
    sets: list[ExampleSet] = []
    for condition, panel in stored_conditions(run.label, groups, run.folder.examples_of):
        stored = Examples.load(run.folder.examples_of(condition))
        if not len(stored.names):
            continue
        count = _OTHERS if sets else _FIRST
        examples = [_example(stored, row, panel) for row in range(min(count, len(stored.names)))]
        style = attack_style(condition.attack)
        budget = panel.budget(condition.eps)
        sets.append(ExampleSet(run.label, style, budget, panel, examples, stored))
        if len(sets) == _SETS:
            break
    return sets


def _example(stored: Examples, row: int, panel: Panel) -> Example:
    adversarial, change, gain = None, None, 1
    if panel.side == "query":
        after = np.clip(np.rint(stored.adversarial[row] * 255), 0, 255).astype(np.uint8)
        picture, gain = perturbation(stored.clean[row], stored.adversarial[row])
        adversarial, change = _uri(after, exact=True), _uri(picture, exact=True)
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
