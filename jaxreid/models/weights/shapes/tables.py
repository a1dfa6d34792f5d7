"""What the tables of a transformer show: its images and strides by the positions, its cameras."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from jaxreid.errors import InputError
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes, shape_of

__all__ = ["Geometry", "camera_fields", "geometry", "patches_of"]

Geometry = tuple[tuple[int, int], int]
"""((height, width) of the images, stride of the patches), in pixels."""

# (height, width) that re-ID transformers are trained at.
_SIZES = ((256, 128), (384, 128), (384, 192), (256, 256), (224, 224), (320, 320), (384, 384))


def patches_of(side: int) -> Callable[[tuple[int, int], int], int]:
    """A function from an image's size and a stride to the number of patches of this side."""
    return lambda size, stride: math.prod(max(0, (length - side) // stride + 1) for length in size)


def geometry(
    name: str,
    positions: int,
    strides: Sequence[int],
    count: Callable[[tuple[int, int], int], int],
    choices: Choices,
) -> Geometry:
    """The image size and stride that a table of positions belongs to.

    Those of published configurations come first: a size of the user's that has as many positions
    at another stride, or on its side, is one to resample them to. It is taken for the table's own
    where the positions belong to nothing published, or to nothing at the user's stride.

    Args:
        name: of the table.
        positions: its rows beside the class token's.
        strides: that networks of this kind have.
        count: (image size, stride) -> positions.
        choices: the user's.
    """
    wanted, stride = choices.get("image_size"), choices.get("stride")
    size = None if wanted is None else (wanted[0], wanted[1])
    tried = (*strides, stride) if stride and stride not in strides else strides
    published = _fitting(_SIZES, tried, count, positions)
    own = [] if size is None else _fitting([size], tried, count, positions)
    known, new = ([one for one in some if stride in (None, one[1])] for some in (published, own))
    chosen = [one for one in known if one[0] == size] or known or new
    said = f"{name} has {positions} positions beside the class token"
    belongs = " or ".join(f"{h}x{w} at stride {one}" for (h, w), one in published or own)
    if belongs and not chosen:
        raise InputError(f"{said}, which belong to {belongs}, not to a stride of {stride}")
    if not chosen:
        given = f", nor to {size[0]}x{size[1]}" if size else ""
        raise InputError(
            f"{said}, which belong to no published image size and stride{given}: say --image-size "
            "and --stride of the configuration that it was trained with"
        )
    if len(chosen) > 1:
        raise InputError(
            f"{said}, which may belong to {belongs}: say which by --image-size and --stride"
        )
    return chosen[0]


def _fitting(
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    count: Callable[[tuple[int, int], int], int],
    positions: int,
) -> list[Geometry]:
    """Those with so many positions."""
    return [
        (size, stride) for stride in strides for size in sizes if count(size, stride) == positions
    ]


def camera_fields(
    shapes: Shapes, name: str, rank: int, choices: Choices, way_out: str
) -> dict[str, Any]:
    """Cameras and what multiplies their embeddings, none without a table of that name.

    `way_out` says how the factor, which no tensor shows, is chosen.
    """
    factor = choices.get("sie_factor")
    if name not in shapes:
        if factor is not None:
            raise InputError(f"sie_factor: the file has no camera embeddings ({name})")
        return {}
    cameras = shape_of(shapes, name, rank)[0]
    if factor is None:
        raise InputError(
            f"{name} holds {cameras} camera embeddings, and no tensor says what multiplies them: "
            f"{way_out}; --cameras, too, if they are of fewer cameras with several views each"
        )
    return {"cameras": cameras, "sie_factor": factor}
