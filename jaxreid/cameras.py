"""The camera that took an image, as an input of an embedding beside the image.

To attacks and rankings an embedding is a function of images. One whose network adds something to
its tokens by the camera is that as well, once it has been told the cameras of the very images that
it gets: `seen_by` tells it. Cameras are numbers from 0, as in datasets.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Embed

__all__ = [
    "MEAN_CAMERA",
    "NO_CAMERA",
    "TakesCameras",
    "refuse_unknown_cameras",
    "seen_by",
    "wanted_cameras",
]

MEAN_CAMERA = -1
"""In place of a camera: the mean over all cameras' embeddings. What padding has, too."""
NO_CAMERA = -2
"""In place of a camera: nothing is added."""


@runtime_checkable
class TakesCameras(Protocol):
    """An embedding that must be told cameras, as `jaxreid.models.Embedding` of some networks.

    Attributes:
        wanted_cameras: how many it tells apart, 0 to that - 1; 0 where it need not be told, be it
            that it was or that its features do not depend on cameras.
    """

    @property
    def wanted_cameras(self) -> int: ...  # noqa: D102

    def seen_by(self, cameras: ArrayLike) -> Embed:
        """The embedding of images that these cameras took, int32 [B] or [] for all of them."""

    def __call__(self, images: Array) -> Array: ...  # noqa: D102


def wanted_cameras(embed: Embed) -> int:
    """How many cameras an embedding must be told apart; 0 for one that need not be told."""
    return int(embed.wanted_cameras) if isinstance(embed, TakesCameras) else 0


def seen_by(embed: Embed, cameras: ArrayLike | None) -> Embed:
    """Tells an embedding which cameras took the images that it will get.

    What need not be told stays as it is: other functions, and an embedding for which somebody chose
    the cameras already. So whoever has images of a dataset may always call this.

    Args:
        embed: images [B,H,W,3] -> features [B,D].
        cameras: int32 [B], those of these very images; MEAN_CAMERA in padding. [] for one camera of
            all images; None where they are not known.

    Returns:
        images [B,H,W,3] -> features [B,D].
    """
    if cameras is None or not isinstance(embed, TakesCameras) or not embed.wanted_cameras:
        return embed
    return embed.seen_by(cameras)


_CHOOSE = (
    "choose one for all images, --camera mean, none or a number that there is (in Python "
    "embedding.seen_by('mean'))"
)


def refuse_unknown_cameras(
    count: int, cameras: ArrayLike, whose: str, *, instead: str = _CHOOSE
) -> None:
    """Refuses images of cameras that a network does not tell apart.

    Args:
        count: cameras that it tells apart; 0 for one that takes no cameras.
        cameras: integers [N].
        whose: images, for the message.
        instead: what to do, for the message.

    Raises:
        InputError: one of them is not from 0 to count - 1.
    """
    numbers = np.unique(np.asarray(cameras))
    if not count or not len(numbers) or 0 <= numbers[0] <= numbers[-1] < count:
        return
    raise InputError(
        f"{whose} has images of {len(numbers)} cameras, {numbers[0]} to {numbers[-1]}, and the "
        f"network has embeddings of {count}, 0 to {count - 1}: {instead}"
    )
