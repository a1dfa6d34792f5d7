"""Weights in and out: what people already have in PyTorch, with the same features."""

from jaxreid.models.weights.accounting import Ignored
from jaxreid.models.weights.checkpoints import (
    Conversion,
    convert,
    from_state_dict,
    load,
    save,
    to_state_dict,
)
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.inspection import Inspection, inspect
from jaxreid.models.weights.layouts import LAYOUTS, Layout, default_layout
from jaxreid.models.weights.returning import Unlike

__all__ = [
    "LAYOUTS",
    "Choices",
    "Conversion",
    "Ignored",
    "Inspection",
    "Layout",
    "Unlike",
    "convert",
    "default_layout",
    "from_state_dict",
    "inspect",
    "load",
    "save",
    "to_state_dict",
]
