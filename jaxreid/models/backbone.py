"""What every backbone is: a shape, and a module that gives one vector, or several, of an image."""

from typing import NamedTuple

from flax import nnx

from jaxreid.errors import InputError
from jaxreid.models.normalization import Statistics
from jaxreid.types import Array

__all__ = ["Backbone", "BackboneConfig", "Part", "refuse_other_sizes"]


class Part(NamedTuple):
    """One of the vectors that a backbone gives, which has a neck and a classifier of its own.

    Attributes:
        size: channels.
        weight: what its features are multiplied by in the network's feature.
    """

    size: int
    weight: float = 1.0


class BackboneConfig:
    """Shape of a backbone: a frozen dataclass of plain values, stored with the weights.

    Most backbones give one vector, take images of any size and know no cameras: the others say so
    by these properties, or by fields of these names.
    """

    image_size: tuple[int, int] | None = None
    """(height, width) in pixels of the only images it takes; None where any size will do."""
    cameras: int = 0
    """Camera embeddings; 0 where the feature does not depend on the camera."""

    @property
    def positions(self) -> tuple[str, ...]:
        """Names on the way to its table of positions; () where it has none."""
        return ()

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) that `positions` belong to, after one position of another kind."""
        raise NotImplementedError

    @property
    def feature_size(self) -> int:
        """Channels of all that it gives."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it gives, in this order; the sizes add up to `feature_size`."""
        return (Part(self.feature_size),)


class Backbone(nnx.Module):
    """A module built from a BackboneConfig: (config, *, axis_name=None, dtype, rngs)."""

    config: BackboneConfig

    def __call__(
        self, images: Array, statistics: Statistics, cameras: Array | None = None
    ) -> Array:
        """Normalised images [B,H,W,3] -> [B,D] float32, the parts side by side, not weighted.

        `cameras` int32 [B], see `jaxreid.models.cameras`; ignored where the feature does not depend
        on them.
        """
        raise NotImplementedError


def refuse_other_sizes(images: Array, config: BackboneConfig, title: str) -> None:
    """Refuses images [B,H,W,3] of another size than the only one that a network takes."""
    if tuple(images.shape[1:3]) != config.image_size:
        raise InputError(
            f"this {title} takes images of {config.image_size} (height, width) pixels, got "
            f"{tuple(images.shape[1:3])}; set resize, or build it with that image_size"
        )
