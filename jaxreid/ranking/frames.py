"""What features are measured in before products are taken: a shared point, a scale and a dtype.

A product loses what its factors have in common: of the distances between features of spread 1 that
lie 3,000 away from the origin, float32 products leave nothing. Euclidean ranks depend neither on
the point features are measured from nor on their unit, so both are chosen such that nothing is
lost; cosine ranks are the Euclidean ranks of rows of unit length.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = [
    "Frame",
    "RowSizes",
    "embedded_rows",
    "frame_of",
    "framed",
    "padded",
    "padded_rows",
    "precision",
    "row_sizes",
    "squared_norms",
]


# Rows whose norms are taken at a time.
_NORMS = 1024
# Norms between which products neither overflow nor underflow, with room for small differences.
_NORMAL = {
    np.dtype(np.float32): (2.0**-20, 2.0**30),
    np.dtype(np.float64): (2.0**-200, 2.0**400),
}
# Squares of numbers that are further apart than this do not fit in float64 together.
_SPAN = 2.0**500
# Gallery items whose median is the shared point: odd, so that it is made of features as they are.
_SAMPLE = 31


class Frame(NamedTuple):
    """How features are written down for products.

    Attributes:
        distance: "euclidean" or "cosine".
        dtype: of the products, float32 or float64.
        centre: [D] float64, the point that rows are measured from, or None. For cosine both are
            brought to unit length first.
        spread: squared distance of a typical item from its nearest one in a sample.
        scaled: whether rows are divided by powers of two: all by one for Euclidean distances, each
            by its own for cosine.
        exponent: of the shared power.
    """

    distance: Distance
    dtype: np.dtype
    centre: np.ndarray | None = None
    spread: float = 0.0
    scaled: bool = False
    exponent: int = 0

    @property
    def plain(self) -> bool:
        """Whether rows stay as they are."""
        return self.centre is None and not self.scaled


class RowSizes(NamedTuple):
    """How large the rows of a set are.

    Attributes:
        squared: [N] squared norms as they come out, be they 0 or infinite.
        size: [N] float64, finite: the norm, or the largest magnitude where the norm is not normal;
            0 for zero rows only.
        odd: [N] boolean, whether the norm is not normal.
    """

    squared: np.ndarray
    size: np.ndarray
    odd: np.ndarray


def precision(dtype: np.dtype) -> AbstractContextManager[object]:
    """Lets JAX compute in a dtype, whatever `jax_enable_x64` says.

    Args:
        dtype: float32 or float64.

    Returns:
        A context manager.
    """
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def framed(rows: np.ndarray, frame: Frame) -> np.ndarray:
    """Rows as the frame writes them down; each row's bits depend on that row alone.

    Args:
        rows: [n,D] floating point.
        frame: see `Frame`.

    Returns:
        [n,D] in the dtype of the frame.
    """
    if frame.plain:
        return rows.astype(frame.dtype, copy=False)
    # In C order: sums along rows would take another order in another layout.
    rows = rows.astype(frame.dtype, order="C", copy=False)
    cosine = frame.distance == "cosine"
    if frame.scaled:
        # On the host, which keeps subnormals: compiled programs may take them for zero.
        own = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1]
        rows = np.ldexp(rows, -(own if cosine else frame.exponent))
    if frame.centre is None:
        return rows
    if not cosine:
        return rows - frame.centre.astype(frame.dtype)
    return _from_direction(rows.astype(np.float64, copy=False), frame.centre).astype(frame.dtype)


def _from_direction(rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """``x / ||x|| - c / ||c||`` for every row, to full precision however small it is; [n,D].

    With d = x - c it is ``(d - c t) / ||x||`` where ``t = ||x|| / ||c|| - 1``, which comes from
    ``||x||^2 - ||c||^2 = d . (d + 2 c)`` without a difference of large numbers.
    """
    squared, norm = np.square(centre).sum(), np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    zero = norm == 0
    # To the length of c within a factor of two, which changes no direction and rounds nothing.
    power = np.rint(np.log2(np.sqrt(squared) / np.where(zero, 1, norm))).astype(np.int32)
    rows, norm = np.ldexp(rows, power), np.ldexp(norm, power)
    apart = rows - centre
    excess = (apart * (apart + 2 * centre)).sum(axis=1, keepdims=True)
    longer = excess / (squared * (1 + norm / np.sqrt(squared)))
    from_there = (apart - centre * longer) / np.where(zero, 1, norm)
    return np.where(zero, -centre / np.sqrt(squared), from_there)


def padded(rows: ArrayLike, size: int) -> ArrayLike:
    """Rows followed by zeros: a view where it can be.

    Args:
        rows: [n,D] floating point.
        size: how many rows to return, at least n.

    Returns:
        [size,D], NumPy if rows is.
    """
    missing = size - rows.shape[0]
    numpy = np if isinstance(rows, np.ndarray) else jnp
    return numpy.pad(rows, [(0, missing), (0, 0)]) if missing else rows


def padded_rows(x: ArrayLike, index: slice | np.ndarray, size: int, frame: Frame) -> ArrayLike:
    """Rows of x as the frame writes them down, followed by zeros: a view where it can be.

    Args:
        x: [N,D] floating point.
        index: which rows.
        size: how many rows to return, at least as many as index names.
        frame: see `Frame`.

    Returns:
        [size,D] in the dtype of the frame.
    """
    part = x[index]
    if frame.plain and not isinstance(part, np.ndarray):
        return padded(part.astype(frame.dtype), size)  # stays on its device
    return padded(framed(np.asarray(part), frame), size)


@jax.jit
def _squared_norms(block: Array) -> Array:
    return jnp.sum(jnp.square(block), axis=1)


def squared_norms(features: ArrayLike, frame: Frame) -> np.ndarray:
    """Squared norm of every row in the frame, from blocks of one shape: always the same bits.

    Args:
        features: [N,D] floating point.
        frame: see `Frame`.

    Returns:
        [N] in the dtype of the frame.
    """
    count = features.shape[0]
    parts = [
        jax.device_get(_squared_norms(padded_rows(features, slice(i, i + _NORMS), _NORMS, frame)))
        for i in range(0, count, _NORMS)
    ]
    return np.concatenate(parts)[:count]


def row_sizes(features: ArrayLike, dtype: np.dtype, name: str) -> RowSizes:
    """Measures every row, and looks closer at those whose squares leave the range of the dtype.

    Args:
        features: [N,D] floating point.
        dtype: what to compute in.
        name: of the argument, for the message.

    Returns:
        RowSizes.

    Raises:
        InputError: if a feature is NaN or infinite.
    """
    smallest, largest = _NORMAL[dtype]
    squared = squared_norms(features, Frame("euclidean", dtype))
    odd = ~((squared >= smallest**2) & (squared <= largest**2))
    size = np.sqrt(squared, dtype=np.float64, where=~odd, out=np.zeros(len(squared)))
    rows = np.flatnonzero(odd)
    for part in (rows[i : i + _NORMS] for i in range(0, len(rows), _NORMS)):
        size[part] = np.abs(np.asarray(features[part]).astype(dtype, copy=False)).max(axis=1)
    finite = np.isfinite(size)
    if not finite.all():
        raise InputError(
            f"{name}.features must be finite; row {int(np.argmin(finite))} is the first that "
            "holds NaN or infinity"
        )
    return RowSizes(squared, size, odd)


def frame_of(
    gallery: ArrayLike,
    kept: np.ndarray,
    sizes: tuple[RowSizes, RowSizes],
    distance: Distance,
    dtype: np.dtype,
) -> Frame:
    """Chooses the frame of a search: a point that depends on the gallery alone, and exact powers.

    Args:
        gallery: [N,D] floating point.
        kept: [N] boolean, which items take part.
        sizes: of the queries and of the gallery.
        distance: "euclidean" or "cosine".
        dtype: what to compute in.

    Returns:
        Frame; a plain one wherever that loses next to nothing.

    Raises:
        InputError: if Euclidean distances of these features cannot be computed in float64.
    """
    if distance == "cosine":
        scaled = any(bool((part.odd & (part.size > 0)).any()) for part in sizes)
        frame = Frame(distance, dtype, scaled=scaled)
    else:
        exponent = _shared_exponent(sizes, dtype)
        frame = Frame(distance, dtype, scaled=exponent != 0, exponent=exponent)
    items = np.flatnonzero(kept)
    count = min(_SAMPLE, (len(items) - 1) | 1)
    chosen = np.asarray(gallery[items[np.arange(count) * len(items) // count]])
    sample = framed(chosen, frame._replace(dtype=np.dtype(np.float64)))
    points = _unit(sample) if distance == "cosine" else sample
    middle = np.median(points, axis=0)
    frame = frame._replace(spread=_spread(points - middle))
    # Up to twice the spread two bits are lost at most, and nothing need be subtracted.
    around = float(np.median(np.square(points - middle).sum(axis=1)))
    if float(np.square(middle).sum()) <= 4 * around:
        return frame
    if distance == "cosine":
        # A row as it is: others that differ little from it differ by exact numbers.
        middle = sample[np.argmin(np.square(points - middle).sum(axis=1))]
    return frame._replace(centre=middle)


def embedded_rows(rows: np.ndarray, frame: Frame) -> np.ndarray:
    """Rows whose Euclidean distances rank like the distances of the frame.

    Args:
        rows: [n,D] floating point.
        frame: see `Frame`.

    Returns:
        [n,D] in the dtype of the frame; for cosine, differences of rows of unit length.
    """
    if frame.distance == "euclidean" or frame.centre is not None:
        return framed(rows, frame)
    return _unit(framed(rows, frame._replace(dtype=np.dtype(np.float64)))).astype(frame.dtype)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(rows)
    norm = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.where(norm > 0, norm, 1)


def _shared_exponent(sizes: tuple[RowSizes, RowSizes], dtype: np.dtype) -> int:
    """Exponent of the power of two that all rows are divided by; 0 where none need be."""
    smallest, largest = _NORMAL[dtype]
    size = np.concatenate([part.size for part in sizes])
    top = float(size.max())
    if top == 0 or smallest <= top <= largest:
        return 0
    least = float(size[size > 0].min())
    if dtype == np.float64 and top / _SPAN > least:
        raise InputError(
            f"features from {least:.1e} to {top:.1e} are too far apart for Euclidean distances: "
            "float64 cannot hold the squares of both"
        )
    return int(np.frexp(top)[1])


def _spread(sample: np.ndarray) -> float:
    """Median squared distance of rows [n,D] from the nearest other one; infinite for one row."""
    squared = np.square(sample).sum(axis=1)
    apart = squared[:, None] + squared - 2 * sample @ sample.T
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))
