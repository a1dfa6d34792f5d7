"""Operations of the convolutions and matrix products in the text of a program."""

import math
import re
from collections.abc import Iterator

from jaxreid.benchmark.targets.program_text import Instruction, Run, called_by, shapes

__all__ = ["product_flops"]

_WINDOW = re.compile(r"window=\{([^}]*)\}")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


def product_flops(run: Run) -> int:
    """Operations of the products of a computation, each time that it runs.

    Two for each pair of numbers that are multiplied; none, as XLA counts, for what a window has
    outside the image or in the holes of a spread one.

    Args:
        run: of `runs`.
    """
    return sum(2 * _pairs(one, results) for one, results in _products(run.instructions, run))


def _products(
    instructions: list[Instruction], run: Run
) -> Iterator[tuple[Instruction, dict[str, str]]]:
    """Products, in fusions too, each beside the shapes of what its computation has."""
    results = {one.name: one.result for one in instructions}
    for one in instructions:
        if one.kind in ("convolution", "dot"):
            yield one, results
        inside = called_by(one, run.others)
        if inside is not None:
            yield from _products(inside, run)


def _pairs(one: Instruction, results: dict[str, str]) -> int:
    """How many pairs of numbers a product multiplies."""
    result = shapes(one.result)[0]
    left, right = (shapes(results[name])[0] for name in one.operands[:2])
    labels = _LABELS.search(one.rest)
    if labels is None:
        contracted = _CONTRACTED.search(one.rest)
        axes = contracted[1].split(",") if contracted and contracted[1] else []
        return math.prod(result) * math.prod(left[int(axis)] for axis in axes)
    image, kernel, out = labels.groups()
    pairs = result[out.index("b")] * result[out.index("f")] * right[kernel.index("i")]
    for place, window in enumerate(_windows(one, image)):
        axis = str(place)
        sizes = (left[image.index(axis)], right[kernel.index(axis)], result[out.index(axis)])
        pairs *= _inside(*sizes, **window)
    return pairs


def _windows(one: Instruction, image: str) -> list[dict[str, int]]:
    """Stride, padding before the image, and how far image and window spread, for each axis."""
    axes = sum(label.isdigit() for label in image)
    said = _WINDOW.search(one.rest)
    fields = dict(field.split("=") for field in said[1].split()) if said else {}

    def of_axes(name: str, otherwise: str) -> list[int]:
        values = fields[name].split("x") if name in fields else [otherwise] * axes
        return [int(value.split("_")[0]) for value in values]

    return [
        {"stride": stride, "before": before, "spread": spread, "apart": apart}
        for stride, before, spread, apart in zip(
            of_axes("stride", "1"),
            of_axes("pad", "0"),
            of_axes("lhs_dilate", "1"),
            of_axes("rhs_dilate", "1"),
            strict=True,
        )
    ]


def _inside(
    size: int, taps: int, count: int, *, stride: int, before: int, spread: int, apart: int
) -> int:
    """Pairs of a place of the result and a tap of the window that meet a number of the image."""
    end = (size - 1) * spread + 1
    return sum(
        0 <= at < end and at % spread == 0
        for place in range(count)
        for tap in range(taps)
        for at in [place * stride - before + tap * apart]
    )
