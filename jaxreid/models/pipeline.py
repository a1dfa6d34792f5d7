"""How a network wants its images and compares its features: all that surrounds its weights."""

from dataclasses import dataclass
from typing import get_args

from jaxreid.constants import Distance, Filter
from jaxreid.errors import InputError

__all__ = ["Pipeline"]


@dataclass(frozen=True)
class Pipeline:
    """What a library does around a network at test time, as far as pixels do not show it.

    Args:
        filter: kernel by which images are resized.
        distance: by which features are compared.
        unit_length: whether features are divided by their L2 norm.
        flip: whether features are averaged over the image and its mirror image.
        first_camera: number that the library gives to the first camera of its camera embeddings.
        source: the library and file that say so, for the card.

    Returns:
        The pipeline.

    Raises:
        InputError: a field has another value.
    """

    filter: Filter = "bilinear"
    distance: Distance = "euclidean"
    unit_length: bool = False
    flip: bool = False
    first_camera: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("filter", get_args(Filter)), ("distance", get_args(Distance))):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"pipeline.{name}: expected one of {allowed}, got {getattr(self, name)!r}"
                )
