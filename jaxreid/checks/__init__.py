"""Checks of what callers pass in, with a message that says what was expected."""

from jaxreid.checks.arrays import (
    Sizes,
    check_array,
    check_features,
    check_floating,
    check_images,
    check_integers,
    check_values,
    is_known,
    shape_of,
)
from jaxreid.checks.settings import (
    check_choice,
    check_count,
    check_flag,
    check_key,
    check_nonnegative,
    check_number,
    shown,
)

__all__ = [
    "Sizes",
    "check_array",
    "check_choice",
    "check_count",
    "check_features",
    "check_flag",
    "check_floating",
    "check_images",
    "check_integers",
    "check_key",
    "check_nonnegative",
    "check_number",
    "check_values",
    "is_known",
    "shape_of",
    "shown",
]
