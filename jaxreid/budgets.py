"""Budgets as text: written so that the very number comes back, read as what they say."""

import math

from jaxreid.constants import LEVELS, Norm
from jaxreid.errors import InputError

__all__ = ["budget_text", "exact", "named_budget", "read_budget", "read_levels"]


def exact(value: float) -> str:
    """Writes a number so that it reads back as the same one, as short as it can be.

    Such as "5", "0.5", "1e-07" or "1.0000001"; -0.0 is written as 0, which it equals.
    """
    number = float(value) + 0.0
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def budget_text(value: float, norm: Norm) -> str:
    """Writes a budget for a table whose heading has the unit.

    `value` is in 1/255 of the pixel range for linf, a length in pixel range for l2. Below one grey
    level it is written with its unit, such as "0.5/255": that is rarely meant.
    """
    text = exact(value)
    return f"{text}/{LEVELS}" if norm == "linf" and 0 < value < 1 else text


def named_budget(value: float, norm: Norm) -> str:
    """Writes a budget for a sentence, with its unit: "5/255", "2 (L2)"."""
    return f"{exact(value)}/{LEVELS}" if norm == "linf" else f"{exact(value)} (L2)"


def read_budget(value: float | str, norm: Norm = "linf", *, name: str = "eps") -> float:
    """Reads a budget or a step size, and refuses what is likely meant in another unit.

    For linf a number is in 1/255 of the pixel range, and a fraction says itself what it is: "5",
    5.0 and "5/255" are the same. A plain number between 0 and 1 is refused: whoever writes 0.0196
    most likely means 5/255, and an attack of 0.0196/255 would show a perfectly robust network. A
    budget that is meant to be less than one grey level is written "0.5/255". For l2 all of them
    are lengths in pixel range, and "1/2" is 0.5.

    Returns the number in 1/255 of the pixel range for linf, a length in pixel range for l2.
    """
    above, slash, below = str(value).partition("/")
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(above)
        divisor = float(below) if slash else 1.0
    except ValueError:
        raise InputError(
            f"{name} must be a number or a fraction such as 5/255, got {value!r}"
        ) from None
    if not (math.isfinite(number) and number >= 0 and math.isfinite(divisor) and divisor > 0):
        raise InputError(f"{name} must be a finite number, at least 0, got {value}")
    if norm != "linf":
        return number / divisor
    if slash:
        # Not 255 * (5 / 255), which may round to something beside 5.
        return number if divisor == LEVELS else LEVELS * number / divisor
    if 0 < number < 1:
        text = exact(number)
        raise InputError(
            f"{name} is in 1/255 of the pixel range, and {text} would be less than one grey level: "
            f"for the fraction {text} of the pixel range write {_levels(number)}/255, for this "
            f"little {text}/255"
        )
    return number


def read_levels(value: float | str, *, name: str) -> float:
    """Reads a budget or step size for linf that is above 0 and at most all levels, in 1/255."""
    number = read_budget(value, name=name)
    if not 0 < number <= LEVELS:
        raise InputError(f"{name} must be above 0 and at most {LEVELS}, in 1/{LEVELS}; got {value}")
    return number


def _levels(fraction: float) -> str:
    """Grey levels of a fraction: 5 for 0.0196 and 0.02, which somebody rounded."""
    levels = LEVELS * fraction
    near = round(levels)
    return str(near) if abs(levels - near) < 0.11 * (near > 0) else f"{levels:.4g}"
