"""How a network wants its images and compares its features: all that surrounds its weights."""

from dataclasses import dataclass
from typing import get_args

from jaxreid.constants import USUAL_FILTER, Distance, Filter
from jaxreid.errors import InputError

__all__ = ["TOLD", "Pipeline"]

TOLD = " as told to jaxreid"
"""What the source of a pipeline ends with after names of what a user said."""


@dataclass(frozen=True)
class Pipeline:
    """What a library does around a network at test time, as far as the network does not do it.

    What it does to pixels inside (size, crop, colour order, mean, deviation) and which feature it
    gives are fields of `ModelConfig`.

    Args:
        filter: kernel by which images are resized.
        distance: by which features are compared.
        unit_length: whether features are divided by their L2 norm.
        flip: whether features are averaged over the image and its mirror image, before that.
        first_camera: row of its camera embeddings that belongs to the first camera: 0, or 1 where
            a library counts cameras from 1; row = camera from 0 + first_camera.
        views: rows that each camera has there, one for each of its views, which nobody tells:
            an image gets the mean of its camera's rows, camera * views to camera * views + views -
            1 from the first camera's on.
        source: the library that says so and what a user changed, for the card.

    Returns:
        The pipeline.

    Raises:
        InputError: a field has another value.
    """

    filter: Filter = USUAL_FILTER
    distance: Distance = "euclidean"
    unit_length: bool = False
    flip: bool = False
    first_camera: int = 0
    views: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("filter", get_args(Filter)), ("distance", get_args(Distance))):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"pipeline.{name}: expected one of {', '.join(allowed)}, got "
                    f"{getattr(self, name)!r}"
                )
        for name in ("unit_length", "flip"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(
                    f"pipeline.{name}: expected true or false, got {getattr(self, name)!r}"
                )
        if type(self.first_camera) is not int or self.first_camera not in (0, 1):
            raise InputError(f"pipeline.first_camera: expected 0 or 1, got {self.first_camera!r}")
        if type(self.views) is not int or self.views < 1:
            raise InputError(f"pipeline.views: expected an integer from 1, got {self.views!r}")
        if not isinstance(self.source, str):
            raise InputError(f"pipeline.source: expected a text, got {self.source!r}")

    @property
    def told(self) -> tuple[str, ...]:
        """What a user said, and no library.

        Returns:
            Names of fields, of the network's or of these, as `source` lists them.
        """
        if not self.source.endswith(TOLD):
            return ()
        return tuple(self.source.removesuffix(TOLD).rpartition("; ")[2].split(", "))

    @property
    def library(self) -> str:
        """Who says the rest.

        Returns:
            `source` without what a user said; empty where nobody says anything.
        """
        if not self.source.endswith(TOLD):
            return self.source
        return self.source.removesuffix(TOLD).rpartition("; ")[0]
