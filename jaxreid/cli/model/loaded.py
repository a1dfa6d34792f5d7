"""What MODEL stands for, whatever it was, and what is done around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jaxreid.models import ModelConfig, Pipeline
    from jaxreid.types import Embed

__all__ = ["LoadedModel", "Surroundings"]


class LoadedModel(NamedTuple):
    """What MODEL stands for.

    Attributes:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].
        facts: for the provenance; "sha256" tells models apart.
        name: short, for titles and folders.
        size: (height, width) the model was made for, or None if nothing says so.
        config: the network; None for a function.
        fixed_size: whether it takes images of `size` and no others.
        ranker: what answers images with rank lists, where that is all there is.
    """

    embed: "Embed"
    facts: dict[str, Any]
    name: str
    size: tuple[int, int] | None
    config: "ModelConfig | None" = None
    fixed_size: bool = False
    ranker: Callable[[Any], Any] | None = None

    @property
    def pipeline(self) -> "Pipeline | None":
        """What surrounds the network at test time, or None if nothing says so."""
        return None if self.config is None else self.config.pipeline


class Surroundings(NamedTuple):
    """What is done around a network; None is as its pipeline has it.

    Attributes:
        flip: whether features are averaged over the image and its mirror image.
        unit_length: whether they are divided by their L2 norm.
    """

    flip: bool | None = None
    unit_length: bool | None = None

    def of_function(self, function: "Embed") -> "Embed":
        """A function of the user's own, of which nothing says more."""
        from jaxreid.evaluation import mirrored, unit_length

        embed = mirrored(function) if self.flip else function
        return unit_length(embed) if self.unit_length else embed
