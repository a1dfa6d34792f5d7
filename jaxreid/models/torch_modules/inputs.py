"""What a PyTorch module takes: images [B,H,W,3] in [0, 1] in its own unit and order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxreid.checks import as_tuple, check_choice, check_flag, check_number
from jaxreid.errors import InputError
from jaxreid.models.pixels import float_images
from jaxreid.types import Array

__all__ = ["Inputs"]


@dataclass(frozen=True)
class Inputs:
    """Images as a module takes them, ``(scale * x - mean) / std``, channels first or last.

    Attributes:
        mean: of each channel, in the unit of ``scale * x``, or None for zeros.
        std: the same, or None for ones.
        scale: 1 for a module that takes [0, 1], 255 for one that takes grey levels.
        colours: the order of the channels that it takes.
        channels_first: whether it takes [B,3,H,W], not [B,H,W,3].
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scale: float = 1.0
    colours: Literal["rgb", "bgr"] = "rgb"
    channels_first: bool = True

    def __post_init__(self) -> None:
        check_choice("colours", self.colours, ("rgb", "bgr"))
        check_flag("channels_first", self.channels_first)
        check_number("scale", self.scale, lambda x: jnp.isfinite(x) & (x > 0), "be above 0")
        for name in ("mean", "std"):
            if getattr(self, name) is None:
                continue
            as_tuple(self, name)
            numbers = getattr(self, name)
            if not _are_three_numbers(numbers) or (name == "std" and min(numbers) <= 0):
                raise InputError(
                    f"{name} needs three numbers, one per channel in the module's order"
                    f"{', above 0' if name == 'std' else ''}; got {numbers!r}"
                )
        if self.mean is not None and max(self.mean) > self.scale:
            raise InputError(
                f"mean {_numbers(self.mean)} is no mean of pixels in [0, {self.scale:g}]: divide "
                "it and std by 255, or say scale=255 for a module that takes grey levels"
            )

    def prepared(self, images: Array) -> Array:
        """Images [B,H,W,3] in [0, 1] -> what the module takes, float32 at least."""
        x = float_images(images)
        x = x[..., ::-1] if self.colours == "bgr" else x
        x = self._normalized(x, lambda numbers: jnp.array(numbers, x.dtype))
        return jnp.transpose(x, (0, 3, 1, 2)) if self.channels_first else x

    def prepared_by_torch(self, images: Any) -> Any:
        """The same by PyTorch's operations, for the comparison: a tensor for a tensor."""
        import torch

        x = images.flip(-1) if self.colours == "bgr" else images
        x = self._normalized(x, lambda numbers: torch.tensor(numbers, dtype=x.dtype))
        return x.permute(0, 3, 1, 2).contiguous() if self.channels_first else x

    def _normalized(self, x: Any, array: Any) -> Any:
        x = x if self.scale == 1 else x * self.scale
        x = x if self.mean is None else x - array(self.mean)
        return x if self.std is None else x / array(self.std)

    def __str__(self) -> str:
        """In one line, for who must check it."""
        given = "x" if self.scale == 1 else f"{self.scale:g} x"
        if self.mean is None and self.std is None:
            formula = f"{given}, not normalised"
        else:
            means, stds = self.mean or (0.0,) * 3, self.std or (1.0,) * 3
            formula = f"({given} - {_numbers(means)}) / {_numbers(stds)}"
        order = "[B,3,H,W]" if self.channels_first else "[B,H,W,3]"
        return f"{self.colours.upper()} {order}, {formula}, x in [0, 1]"


def _are_three_numbers(numbers: Sequence[object]) -> bool:
    plain = all(isinstance(one, int | float | np.number) for one in numbers)
    return len(numbers) == 3 and plain and all(math.isfinite(one) for one in numbers)  # type: ignore[arg-type]


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
