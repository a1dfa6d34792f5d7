"""What a library takes a network for that has its names: tensors do not show all of it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.config import ModelConfig
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.models.weights.configs import infer

__all__ = ["Unlike", "unlike"]


class Unlike(NamedTuple):
    """Something of a network that differs from the library's own of the same tensors.

    Attributes:
        field: of the shape: "last_stride", "pool", ...
        here: its value in this network.
        there: its value in the library's networks.
    """

    field: str
    here: object
    there: object


def unlike(
    tensors: Mapping[str, np.ndarray], config: ModelConfig, layout: str
) -> tuple[Unlike, ...]:
    """What a library's code has to be told before it loads a network.

    Args:
        tensors: as they are written, by the names of layout.
        config: the network.
        layout: a key of LAYOUTS.

    Returns:
        The fields, by name; none where the library's names leave open what the network is.
    """
    try:
        found = infer(tensors, layout, {}).backbone
    except InputError:
        return ()
    own = config.backbone
    if type(found) is not type(own):
        return ()
    return tuple(
        Unlike(name, getattr(own, name), getattr(found, name))
        for name in sorted(KINDS[kind_of(own)].open_fields)
        if getattr(own, name) != getattr(found, name)
    )
