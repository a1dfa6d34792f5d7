"""`jaxreid inspect --against`: a file's network beside the user's own in PyTorch, part by part."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.lines import wrapped
from jaxreid.cli.parameters import Command, Place, add_options
from jaxreid.errors import InputError, reason_of

if TYPE_CHECKING:
    import numpy as np

    from jaxreid.models import ModelConfig
    from jaxreid.models.comparison import Comparison, Stage

__all__ = ["against_options", "as_json", "compared", "comparison_lines"]

_ROWS = 12  # parts that are shown
_LARGE = 1e6
_IMAGES = 4
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_SIZE = (256, 128)


def against_options(command: Command) -> Command:
    """Adds --against and what it compares on."""
    against = click.option(
        "--against",
        metavar="MODULE:FUNCTION",
        help="Compare with your own PyTorch network: what this function without arguments returns, "
        "with the file's weights.",
    )
    images = click.option(
        "--images",
        multiple=True,
        type=Place(),
        help="Images to compare on, files or folders (of each, the first 4), resized to --size; "
        "drawn by default.",
    )
    return add_options(command, (against, images))


def compared(
    model: Any,
    spec: str,
    *,
    layout: str | None,
    images: Sequence[Path],
) -> "tuple[Comparison, str]":
    """Compares a network with the user's; also what was compared on, in words."""
    from jaxreid.cli.model.torch_module import user_module
    from jaxreid.models.comparison import compare
    from jaxreid.models.torch_modules import Inputs

    found = user_module(spec)
    inputs = Inputs(**found.inputs) if found.inputs else None
    given = inputs or "[B,3,H,W], normalised as this network's"
    pixels, words = _pixels(images, model.config.size or _SIZE, model.config)
    comparison = compare(
        model,
        found.module,
        pixels,
        layout=layout,
        inputs=inputs,
        output=found.options.get("output"),
    )
    words = f"{words}; {type(found.module).__name__} takes {given}"
    if model.cameras:
        words += "; without cameras: jaxreid's adds none of its camera embeddings, nor should yours"
    return comparison, words


def _pixels(
    places: Sequence[Path], size: tuple[int, int], config: "ModelConfig"
) -> "tuple[np.ndarray, str]":
    """Images [B,H,W,3] in [0, 1], and what they are."""
    import numpy as np

    from jaxreid.data.decode import decode_batch
    from jaxreid.models.torch_modules import drawn_images

    shape = "x".join(map(str, size))
    if not places:
        return drawn_images(size), f"2 drawn images of {shape}"
    files = [file for place in places for file in _files(place)]
    kernel = "bilinear" if config.pipeline is None else config.pipeline.filter
    try:
        encoded = [file.read_bytes() for file in files]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {reason_of(error)}") from None
    names = [click.format_filename(file) for file in files]
    pixels = decode_batch(encoded, size, filter=kernel, names=names)
    return pixels.astype(np.float32) / 255, f"{len(files)} images, as {shape} by {kernel}"


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    found = sorted(file for file in place.iterdir() if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise InputError(f"--images {place} holds no image ({', '.join(_SUFFIXES)})")
    return found[:_IMAGES]


def comparison_lines(found: "Comparison", spec: str, words: str) -> list[str]:
    """The table: at most 20 lines or so of 80 columns."""
    lines = ["", *wrapped(f"against {spec}: {words}")]
    if found.tensors:
        more = f" and {len(found.tensors) - 1} more" if len(found.tensors) > 1 else ""
        lines += wrapped(
            f"weights     {len(found.tensors)} of {found.shared} shared tensors have other values: "
            f"{found.tensors[0]}{more}"
        )
    elif found.shared:
        lines.append(f"weights     {found.shared} shared tensors, all of the same values")
    else:
        lines.append("weights     none has the name that it has in the file: not compared")
    if found.stages:
        lines.append(f"{'part':<44} {'output':<20} {'difference':>12}")
        lines += [_row(stage, found.begins) for stage in _shown(found)]
    else:
        lines.append("parts       none of the same name")
    lines.append(f"{'features':<65} {_number(found.features):>12}")
    lines.append(f"{'gradient to the images':<65} {_number(found.gradients):>12}")
    return lines + wrapped(_verdict(found))


def _verdict(found: "Comparison") -> str:
    from jaxreid.models.comparison import EXPECTED, EXPECTED_OF_GRADIENTS

    rounding = (
        f"rounding of {'float32' if found.narrow else 'float64'} explains {found.expected:g} of "
        f"the features and up to {EXPECTED_OF_GRADIENTS:g} of the gradient"
    )
    if found.narrow:
        rounding += f" (not compared in float64, which shows smaller ones: {found.narrow})"
    smooth = found.gradients <= EXPECTED_OF_GRADIENTS
    if found.features <= found.expected and smooth:
        return f"the same network: {rounding}"
    apart = "not the same network"
    if found.features <= EXPECTED and smooth:
        apart = "not quite the same network, though rounding of float32 would hide it"
    if found.begins is None:
        where = "after the last part they share" if found.stages else "in no part that has a name"
        hint = "the head, the choice of the feature, the pixels"
        if found.tensors:
            hint = f"weights differ, {found.tensors[0]} first"
    else:
        where = f"in {found.begins}"
        hint = "what it does differs, not its weights"
        if found.features <= EXPECTED and smooth:
            hint += ": a constant such as a norm's epsilon, or a part in float32"
        if found.tensors:
            hint = f"its own weights are the same; {found.tensors[0]} is not"
        if found.begins_with_weights:
            hint = "its weights differ"
        elif found.begins == found.stages[0].name:
            hint = "the pixels it is given, or its stride, padding or size"
    return f"{apart}: {rounding}; the difference begins {where} ({hint})"


def _shown(found: "Comparison") -> "list[Stage]":
    """Parts that tell most: where the difference begins and its surroundings, and the outermost."""
    stages = list(found.stages)
    if len(stages) <= _ROWS:
        return stages
    kept: set[int] = set()
    names = [stage.name for stage in stages]
    if found.begins is not None:
        first = names.index(found.begins)
        kept |= set(range(max(0, first - 2), min(len(stages), first + 3)))
    # From the outermost inwards, and of one depth as many as fit, evenly.
    for depth in sorted({name.count(".") for name in names}):
        fresh = [i for i, name in enumerate(names) if name.count(".") == depth and i not in kept]
        room = _ROWS - len(kept)
        step = max(1, -(-len(fresh) // room)) if room > 0 else 0
        kept |= set(fresh[::-step][:room]) if step else set()
    return [stages[i] for i in sorted(kept)]


def _row(stage: "Stage", begins: str | None) -> str:
    name = stage.name if len(stage.name) <= 44 else f"...{stage.name[-41:]}"
    shape = ",".join(map(str, stage.shape))
    mark = " <" if stage.name == begins else ""
    return f"{name:<44} {f'[{shape}]':<20} {_number(stage.difference):>12}{mark}"


def _number(value: float | None) -> str:
    if value is None:
        return "other shape"
    return f"{value:.1e}" if value < _LARGE else "no number"


def as_json(found: "Comparison", words: str) -> dict[str, Any]:
    """The same for --json; what is no number is null."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and value < _LARGE else None

    return {
        "on": words,
        "tensors": found.tensors,
        "shared": found.shared,
        "begins": found.begins,
        "precision": "float32" if found.narrow else "float64",
        "narrow": found.narrow or None,
        "expected": found.expected,
        "features": finite(found.features),
        "gradients": finite(found.gradients),
        "stages": [stage._replace(difference=finite(stage.difference)) for stage in found.stages],
    }
