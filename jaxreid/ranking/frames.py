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
from jaxtyping import Bool, Float

from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Embedded

__all__: list[str] = []  # for this package only

# Rows whose norms are taken at a time.
_NORMS = 1024
# Norms between which products neither overflow nor underflow, with room for small differences.
_NORMAL = {
    np.dtype(np.float32): (2.0**-20, 2.0**30),
    np.dtype(np.float64): (2.0**-200, 2.0**400),
}
# Squares of numbers that are further apart than this do not fit in float64 together.
_SPAN = 2.0**500
# A squared distance that is smaller than this share of the squared norms it is made of has lost 8
# of float32's 24 bits: it is computed in float64.
_CLOSE = 2.0**-8
# The same where squares are about to leave the range of float32.
_LEAST = 2.0**-80
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
    centre: Float[np.ndarray, " D"] | None = None
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

    squared: Float[np.ndarray, " N"]
    size: Float[np.ndarray, " N"]
    odd: Bool[np.ndarray, " N"]


def precision(dtype: np.dtype) -> AbstractContextManager[object]:
    """Lets JAX compute in float32 or float64, whatever `jax_enable_x64` says."""
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def framed(rows: Float[np.ndarray, "n D"], frame: Frame) -> Float[np.ndarray, "n D"]:
    """Rows as the frame writes them down, in its dtype; a row's bits depend on that row alone."""
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


def _from_direction(
    rows: Float[np.ndarray, "n D"], centre: Float[np.ndarray, " D"]
) -> Float[np.ndarray, "n D"]:
    """``x / ||x|| - c / ||c||`` for every row, to full precision however small it is.

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


def padded(rows: Float[ArrayLike, "n D"], size: int) -> Float[ArrayLike, "size D"]:
    """Rows followed by zeros, NumPy if they are: a view where it can be."""
    missing = size - rows.shape[0]
    numpy = np if isinstance(rows, np.ndarray) else jnp
    return numpy.pad(rows, [(0, missing), (0, 0)]) if missing else rows


def padded_rows(
    x: Float[ArrayLike, "N D"], index: slice | np.ndarray, size: int, frame: Frame
) -> Float[ArrayLike, "size D"]:
    """Rows of x as the frame writes them down, followed by zeros: a view where it can be."""
    part = x[index]
    if frame.plain and not isinstance(part, np.ndarray):
        return padded(part.astype(frame.dtype), size)  # stays on its device
    return padded(framed(np.asarray(part), frame), size)


@jax.jit
def _squared_norms(block: Float[Array, "n D"]) -> Float[Array, " n"]:
    return jnp.sum(jnp.square(block), axis=1)


def squared_norms(features: Float[ArrayLike, "N D"], frame: Frame) -> Float[np.ndarray, " N"]:
    """Squared norms of the rows in a frame, in its dtype."""
    count = features.shape[0]
    parts = [
        jax.device_get(_squared_norms(padded_rows(features, slice(i, i + _NORMS), _NORMS, frame)))
        for i in range(0, count, _NORMS)
    ]
    return np.concatenate(parts)[:count]


def row_sizes(features: Float[ArrayLike, "N D"], dtype: np.dtype, name: str) -> RowSizes:
    """Measures every row, and looks closer at those whose squares leave the range of the dtype.

    NaN and infinity are refused; `name` is the argument's, for the message.
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


def frame_of_search(
    query: Embedded, gallery: Embedded, kept: Bool[np.ndarray, " N"], distance: Distance
) -> tuple[Frame, tuple[RowSizes, RowSizes]]:
    """Chooses the frame of a search, and measures the rows of queries and gallery on the way.

    Distances are computed in float64 if either set is, in float32 otherwise. Features that are NaN
    or infinite, or of which Euclidean distances do not fit in float64, are refused.
    """
    double = any(part.features.dtype.itemsize == 8 for part in (query, gallery))
    dtype = np.dtype(np.float64 if double else np.float32)
    with precision(dtype):
        sizes = (
            row_sizes(query.features, dtype, "query"),
            row_sizes(gallery.features, dtype, "gallery"),
        )
        return _frame_of(gallery.features, kept, sizes, distance, dtype), sizes


def _frame_of(
    gallery: Float[ArrayLike, "N D"],
    kept: Bool[np.ndarray, " N"],
    sizes: tuple[RowSizes, RowSizes],
    distance: Distance,
    dtype: np.dtype,
) -> Frame:
    """A point that depends on the gallery alone, and exact powers: none where little is lost."""
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


def embedded_rows(rows: Float[np.ndarray, "n D"], frame: Frame) -> Float[np.ndarray, "n D"]:
    """Rows whose Euclidean distances rank like the distances of the frame.

    For cosine, they are differences of rows of unit length.
    """
    if frame.distance == "euclidean" or frame.centre is not None:
        return framed(rows, frame)
    return _unit(framed(rows, frame._replace(dtype=np.dtype(np.float64)))).astype(frame.dtype)


def _unit(rows: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
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


def _spread(sample: Float[np.ndarray, "n D"]) -> float:
    """Median squared distance of rows from the nearest other one; infinite for one row."""
    squared = np.square(sample).sum(axis=1)
    apart = squared[:, None] + squared - 2 * sample @ sample.T
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))


def too_close(
    apart: Float[np.ndarray, "..."], squared: Float[np.ndarray, "..."]
) -> Bool[np.ndarray, "..."]:
    """Which squared distances are too small for float32 products to give them accurately.

    `squared` are the squared norms of the rows they belong to, of a shape that broadcasts.
    """
    return apart <= _CLOSE * squared + _LEAST
