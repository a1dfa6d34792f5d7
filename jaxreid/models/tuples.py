"""Configurations hash: they are static parts of compiled programs."""

from typing import Any

import numpy as np

__all__ = ["as_tuple"]


def as_tuple(config: Any, name: str) -> None:
    """Makes a tuple of a list or array in a field of a frozen dataclass.

    Args:
        config: the dataclass, in its `__post_init__`.
        name: of the field.

    Returns:
        Nothing.
    """
    value = getattr(config, name)
    if isinstance(value, list | np.ndarray):
        object.__setattr__(config, name, tuple(np.asarray(value).tolist()))
