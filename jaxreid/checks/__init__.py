"""Checks of what callers pass in, with a message that says what was expected."""

from jaxreid.checks.arrays import (
    Sizes,
    check_array,
    check_features,
    check_floating,
    check_images,
    check_integers,
    checked_features,
    shape_of,
)
from jaxreid.checks.settings import (
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_key,
    check_number,
    shown,
)
from jaxreid.checks.values import check_values, is_known, staged, unchecked

__all__ = [
    "Sizes",
    "check_array",
    "check_callable",
    "check_choice",
    "check_count",
    "check_features",
    "check_flag",
    "check_floating",
    "check_images",
    "check_integers",
    "check_key",
    "check_number",
    "check_values",
    "checked_features",
    "is_known",
    "shape_of",
    "shown",
    "staged",
    "unchecked",
]
