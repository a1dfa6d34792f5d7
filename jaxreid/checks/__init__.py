"""Checks of arguments: whatever is wrong, an InputError names it and says what was expected."""

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
    as_tuple,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_key,
    check_keys,
    check_levels,
    check_number,
    refuse_fraction,
    shown,
)
from jaxreid.checks.values import check_values, is_finite, is_known, staged, unchecked

__all__ = [
    "Sizes",
    "as_tuple",
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
    "check_keys",
    "check_levels",
    "check_number",
    "check_values",
    "checked_features",
    "is_finite",
    "is_known",
    "refuse_fraction",
    "shape_of",
    "shown",
    "staged",
    "unchecked",
]
