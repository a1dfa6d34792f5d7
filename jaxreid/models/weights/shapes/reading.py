"""What every reader of shapes asks of a tensor."""

from collections.abc import Mapping

from jaxreid.errors import InputError

__all__ = ["MissingTensorError", "Shapes", "shape_of", "three_channels"]

Shapes = Mapping[str, tuple[int, ...]]
"""name of a tensor -> its shape, without what stands before the backbone's names."""


class MissingTensorError(InputError):
    """A tensor that every network of a kind has is not there: the network is of another kind."""


def shape_of(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there, of this rank."""
    if name not in shapes:
        first = sorted({known.partition(".")[0] for known in shapes})
        raise MissingTensorError(
            f"missing tensor {name}: no network as known here; the names begin with "
            f"{', '.join(first[:8])}{', ...' if len(first) > 8 else ''}"
        )
    if len(shapes[name]) != rank:
        raise InputError(f"{name}: expected {rank} dimensions, got shape {shapes[name]}")
    return shapes[name]


def three_channels(name: str, shape: tuple[int, ...]) -> None:
    """Refuses a convolution of other images than RGB."""
    if shape[1] != 3:
        raise InputError(f"{name}: expected 3 input channels (RGB), got {shape[1]}")
