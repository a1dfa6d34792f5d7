"""What one search is about, row by row: who is looked for, who else is there, and how far they are.

For whoever climbs a ranking from inside a compiled program: the lists are made once on the host by
the rules of the protocol (`search_lists`), and distances to them (`list_distances`) are
differentiable. Surrogates of `jaxreid.ranking.surrogates` and the exact ranks of
`jaxreid.ranking.standings` work on these distances alone.
"""

from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jaxreid.checks import (
    Sizes,
    check_choice,
    check_count,
    check_floating,
    check_integers,
    check_values,
)
from jaxreid.constants import Distance
from jaxreid.errors import InputError
from jaxreid.precision import in_double, power_of_two
from jaxreid.ranking.arguments import check_lists, check_sets, host_integers
from jaxreid.ranking.protocol import Matches, cross_camera_matches, retrievable
from jaxreid.ranking.scores import ALIGN, round_up
from jaxreid.types import Array, ArrayLike, Embedded, FeaturesLike

__all__ = [
    "ListDistances",
    "SearchLists",
    "aligned_size",
    "list_distances",
    "search_lists",
]

# Rows of the gallery whose median is the point that products are taken about: odd, so that it is
# made of features as they are, and what is exact stays so.
_SAMPLE = 31
# Rows of the gallery in one product on a CPU, where it is up to four times as fast in such blocks,
# forwards and backwards, and a multiple of ALIGN.
_BLOCK = 1024


class SearchLists(NamedTuple):
    """The gallery, and for each row the items it looks for and the items that stand in their way.

    Junk, and images of the person from the query's own camera, are in neither list.

    Attributes:
        gallery: [N,D] features, float32 at least, in the unit of the embedding. N is a multiple of
            128, and above 1,024 of that: the last rows repeat earlier ones and are in no list.
        matches: [B,M] int32 positions in the gallery; 0 where the mask is False.
        mask: [B,M] boolean; True comes first, and a row may have none.
        others: [B,N] boolean, the wrong items that take part, distractors included.
    """

    gallery: Float[ArrayLike, "N D"]
    matches: Int[ArrayLike, "B M"]
    mask: Bool[ArrayLike, "B M"]
    others: Bool[ArrayLike, "B N"]


class ListDistances(NamedTuple):
    """Distances of each row to the items of its lists; meaningless where the masks are False.

    Attributes:
        matched: [B,M] distances to the matches.
        mask: [B,M] boolean.
        other: [B,N] distances to all items.
        others: [B,N] boolean, which of them are wrong items that take part.
    """

    matched: Float[Array, "B M"]
    mask: Bool[Array, "B M"]
    other: Float[Array, "B N"]
    others: Bool[Array, "B N"]


def search_lists(
    query: Embedded,
    gallery: Embedded,
    *,
    own_positions: Integer[ArrayLike, " B"] | None = None,
    targets: Integer[ArrayLike, " B"] | None = None,
    width: int | None = None,
) -> SearchLists:
    """Lists of a search by the protocol's rules, which `match_ranks` follows too; on the host.

    Matches are items of the query's identity from another camera; others are items of another
    identity that are not junk. Items of the query's identity from its own camera are in neither
    list. With `own_positions` the gallery is a set that the queries come from (guides): each leaves
    itself out, and cameras do not matter. With `targets` another person is looked for in the same
    search: matches are all images of the target, and the query's own matches are others.

    Args:
        query: identities [B] and cameras [B] integer; features [B,D] are not looked at.
        gallery: features [N,D] floating point and finite, identities [N] and cameras [N] integer.
        own_positions: [B] integer, the place of each query in the gallery.
        targets: [B] integer identities above 0, none of them the query's own.
        width: M, at least the most matches of a row; by default exactly that (and at least 1).
            Batches of one set need one width, or each compiles anew.

    Returns:
        SearchLists: matches, mask and others on the host, the gallery on JAX's device. Features
        that are there already, float32 and as many as `SearchLists` has, are not copied.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, infinity, an empty set, a gallery of junk only,
            a position or a target out of range, or a width that is too small.
    """
    check_sets(query, gallery, "euclidean")
    identities, cameras = (np.asarray(x) for x in query[1:])
    items, item_cameras = (np.asarray(x) for x in gallery[1:])
    size, sizes = len(items), Sizes()
    sizes.check("query.identities", identities, "B")
    nobody = (identities <= 0)[:, None]
    own = (items == identities[:, None]) & ((item_cameras == cameras[:, None]) | nobody)
    if own_positions is not None:
        cameras = host_integers("own_positions", own_positions, "B", sizes, least=0)
        if cameras.max() >= size:
            raise InputError(f"own_positions must be below N={size}, got {cameras.max()}")
        if (items[cameras] != identities).any():
            raise InputError("own_positions must be those of items of the queries' identities")
        # Each item is its own camera: no image meets itself, and every other one of the person.
        item_cameras = np.arange(size)
        own = (item_cameras == cameras[:, None]) | (own & nobody)
    wanted = identities
    if targets is not None:
        wanted = host_integers("targets", targets, "B", sizes, least=1)
        if (wanted == identities).any():
            raise InputError("targets must not be the identities of their own queries")
        cameras, item_cameras = np.full(len(wanted), -1), np.zeros(size, np.int64)
    found = cross_camera_matches(wanted, cameras, items, item_cameras)
    others = retrievable(items) & ~own & (items != wanted[:, None])
    return SearchLists(
        _aligned(gallery.features),
        *_widened(found, width),
        np.pad(others, [(0, 0), (0, aligned_size(size) - size)]),
    )


def _widened(found: Matches, width: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Matches as int32, and their mask, with M as asked for."""
    least = found.mask.shape[1]
    width = least if width is None else check_count("width", width, least=least)
    padding = [(0, 0), (0, width - least)]
    return np.pad(found.indices.astype(np.int32), padding), np.pad(found.mask, padding)


def aligned_size(count: int) -> int:
    """How many rows `SearchLists` has of a gallery of so many items: whole blocks."""
    return round_up(count, ALIGN if count <= _BLOCK else _BLOCK)


def _aligned(features: Float[ArrayLike, "N D"]) -> Float[Array, "n D"]:
    """The gallery on the device, float32 at least, in whole blocks."""
    rows = check_floating("gallery.features", features)
    if not jnp.isfinite(rows).all():
        raise InputError("gallery.features must be finite, but hold NaN or infinity")
    count = len(rows)
    size = aligned_size(count)
    # Repeats rather than zeros: the point that products are taken about is drawn from all rows.
    return rows if size == count else rows[np.arange(size) % count]


def _safe_sqrt(x: Array) -> Array:
    """Square root whose gradient at zero is zero instead of infinite or NaN."""
    vanishes = x <= 0
    return jnp.where(vanishes, 0, jnp.sqrt(jnp.where(vanishes, 1, x)))


def inverse_norms(x: Float[Array, "n D"]) -> Float[Array, " n"]:
    """1 / ||x||; 0 for zero rows, and NaN for those that hold NaN or infinity.

    Args:
        x: [n,D] float32 or float64.

    Returns:
        [n], with a gradient that is finite everywhere.
    """
    unit = power_of_two(jnp.max(jnp.abs(x), axis=1))
    norm = unit * _safe_sqrt(jnp.sum(jnp.square(x * (1 / unit)[:, None]), axis=1))
    usable = jnp.where(norm < jnp.inf, norm, jnp.nan)
    return jnp.where(norm == 0, 0, 1 / jnp.where(norm == 0, 1, usable))


def _products(x: Float[Array, "B D"], gallery: Float[Array, "N D"]) -> Float[Array, "B N"]:
    """``x gallery^T`` in full precision."""
    precision = jax.lax.Precision.HIGHEST

    def whole(x: Array, gallery: Array) -> Array:
        return jnp.matmul(x, gallery.T, precision=precision)

    def in_blocks(x: Array, gallery: Array) -> Array:
        blocks = gallery.reshape(-1, min(_BLOCK, len(gallery)), gallery.shape[1])
        found = jax.lax.map(lambda block: jnp.matmul(block, x.T, precision=precision), blocks)
        return found.reshape(len(gallery), len(x)).T

    if len(gallery) > _BLOCK and len(gallery) % _BLOCK:
        return whole(x, gallery)
    return jax.lax.platform_dependent(x, gallery, cpu=in_blocks, default=whole)


def _half_squares(
    features: Float[Array, "B D"], gallery: Float[Array, "N D"], distance: Distance
) -> tuple[Float[Array, "B N"], Array]:
    """Half the squared distances in a unit of their own, and that unit (1 for cosine).

    With the scaled rows f' and g' and a point c among the gallery they are ``||f' - c||^2 / 2 +
    ||g' - c||^2 / 2 - (f' - c) . (g' - c)``. The last product is ``(f' - c) . g'`` but for a number
    of the row's own, so the gallery is read as it is, and neither copied nor moved.
    """
    sample = gallery[np.linspace(0, len(gallery) - 1, _SAMPLE, dtype=np.int64)]
    if distance == "cosine":
        scale, own, unit = inverse_norms(gallery), inverse_norms(features), jnp.ones(())
        sample, moved = sample * inverse_norms(sample)[:, None], features * own[:, None]
    else:
        unit = power_of_two(jnp.max(jnp.abs(sample - jnp.median(sample, axis=0))))
        scale = jnp.full(len(gallery), 1 / unit)
        sample, moved = sample * (1 / unit), features * (1 / unit)
    centre = jax.lax.stop_gradient(jnp.median(sample, axis=0))
    moved = moved - centre
    squares = jnp.sum(jnp.square(gallery * scale[:, None] - centre), axis=1) / 2
    products = _products(moved, gallery) * scale
    constant = jnp.sum(jnp.square(moved), axis=1) / 2 + jnp.sum(moved * centre, axis=1)
    half = jnp.maximum(constant[:, None] + squares - products, 0)
    if distance == "cosine":
        vanish = (own == 0)[:, None] | (scale == 0)
        return jnp.where(vanish, 1, half), unit
    return half, unit


def checked_lists(
    features: FeaturesLike, lists: SearchLists, distance: str
) -> tuple[Float[Array, "B D"], Float[Array, "N D"]]:
    """Checks lists and rows of a search; gives rows and gallery in one dtype.

    Args:
        features: [B,D] floating point.
        lists: of the same rows.
        distance: its name.

    Returns:
        Features [B,D] and gallery [N,D], float32 at least.

    Raises:
        InputError: on wrong shapes or dtypes, or an unknown distance.
    """
    check_choice("distance", distance, get_args(Distance))
    sizes = Sizes()
    sizes.check("features", features, "BD")
    check_lists("lists", lists, sizes, gallery="ND", matches="BM", mask="BM", others="BN")
    size = len(lists.gallery)
    check_values(
        lists.matches, lambda m: (m >= 0) & (m < size), f"lists.matches must lie in [0, {size})"
    )
    rows = check_floating("features", features)
    gallery = check_floating("lists.gallery", lists.gallery)
    dtype = jnp.promote_types(rows.dtype, gallery.dtype)
    return rows.astype(dtype), gallery.astype(dtype)


@in_double
def list_distances(
    features: FeaturesLike, lists: SearchLists, *, distance: Distance = "euclidean"
) -> ListDistances:
    """Distances of rows to the items of their lists, ``||f - g||`` or ``1 - cos(f, g)``.

    One matrix product about a point among the gallery, in full precision whatever the device's
    default; the matches' distances are entries of it, so that equal features are at equal
    distances, match or not. The gradient is finite everywhere, and zero where a distance is.

    Args:
        features: [B,D] floating point, in the unit of the embedding.
        lists: of the same rows.
        distance: "euclidean" or "cosine"; the cosine distance to a zero row is 1.

    Returns:
        ListDistances in the unit of the features, or without unit and in [0, 2] for cosine, float32
        at least. A row that holds NaN is at distance NaN from all. It takes about 8 B N bytes (42
        MB for 64 rows and MSMT17's gallery), and with a gradient and the standing about 20 B N (110
        MB), beside the gallery, which is not copied.

    Raises:
        InputError: on wrong shapes or dtypes, or an unknown distance.
    """
    rows, gallery = checked_lists(features, lists, distance)
    half, unit = _half_squares(rows, gallery, distance)
    other = half if distance == "cosine" else _safe_sqrt(2 * half) * unit
    matched = jnp.take_along_axis(other, check_integers("lists.matches", lists.matches), axis=1)
    return ListDistances(matched, jnp.asarray(lists.mask), other, jnp.asarray(lists.others))
