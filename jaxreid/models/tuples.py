"""Configurations hash: they are static parts of compiled programs."""

import numpy as np

__all__ = ["as_tuple"]


def as_tuple(config: object, name: str) -> None:
    """Makes a tuple of a list or array in a field of a frozen dataclass.

    Args:
        config: the dataclass, in its `__post_init__`.
        name: of the field.
    """
    value = getattr(config, name)
    if isinstance(value, list | np.ndarray):
        object.__setattr__(config, name, tuple(np.asarray(value).tolist()))
