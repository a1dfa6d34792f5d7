"""Choice of guides by identity, as indices and masks.

Guides are chosen from a guide set, by their positions in it: one selection serves for features
(`features[selection.indices]`) and for images alike. Identities 0 (distractors) and -1 (junk) are
never chosen, and nothing is chosen for them. A random choice is keyed by the target's own key and
the guide's position, so it depends neither on the batch nor on its order.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import (
    Sizes,
    check_choice,
    check_count,
    check_features,
    check_flag,
    check_integers,
    check_values,
)
from jaxreid.constants import Distance
from jaxreid.distances import comparable_squares, pairwise_cosine
from jaxreid.errors import InputError
from jaxreid.precision import group_means, in_double
from jaxreid.random import keys_of_rows
from jaxreid.types import (
    Array,
    ArrayLike,
    Centroids,
    FeaturesLike,
    IdentitiesLike,
    KeysLike,
    Selection,
    SetFeaturesLike,
    SetIdentitiesLike,
)

__all__ = ["Centroids", "Selection", "centroids", "furthest_other", "random_other", "same_identity"]

# Most guides of a target that a caller may ask for; more than any guide set holds.
_MOST = 2**24
# Rows of a distance block: 1,024 rows against Market's 15,913 gallery items are 65 MB.
_BLOCK = 1024


class _Groups(NamedTuple):
    """A guide set sorted by identity: the images of an identity are neighbours."""

    order: Array  # [N], sorted position -> position in the guide set
    identities: Array  # [N], ascending
    first_valid: Array  # [], number of items of identity 0 or less

    @classmethod
    def of(cls, identities: Array) -> "_Groups":
        order = jnp.argsort(identities, stable=True)
        return cls(order, identities[order], jnp.searchsorted(identities[order], 1))

    def bounds(self, identities: Array) -> tuple[Array, Array]:
        """Start and end [B] of each target's own group, empty for identities 0 and below."""
        start = jnp.searchsorted(self.identities, identities, side="left")
        end = jnp.searchsorted(self.identities, identities, side="right")
        return start, jnp.where(identities > 0, end, start)

    def at(self, positions: Array) -> Array:
        """Sorted positions -> int32 positions in the guide set; of those beyond it, the last."""
        return self.order[jnp.minimum(positions, len(self.order) - 1)].astype(jnp.int32)


def _identities(name: str, identities: ArrayLike, letter: str) -> Array:
    Sizes().check(name, identities, letter)
    if np.shape(identities)[0] == 0:
        raise InputError(f"{name} is empty; expected at least one item")
    return check_integers(name, identities)


def _people(
    prefix: str, features: ArrayLike, identities: ArrayLike, sizes: Sizes, letter: str
) -> tuple[Array, Array]:
    sizes.check(f"{prefix}features", features, f"{letter}D")
    sizes.check(f"{prefix}identities", identities, letter)
    checked = check_features(f"{prefix}features", features)
    return checked, _identities(f"{prefix}identities", identities, letter)


def _own_positions(own_indices: ArrayLike, targets: Array, guide_set: Array) -> Array:
    sizes = Sizes()
    sizes.check("identities", targets, "B")
    sizes.check("own_indices", own_indices, "B")
    own, last = check_integers("own_indices", own_indices), guide_set.shape[0] - 1
    message = f"own_indices must lie in 0..{last}, or be -1 for targets outside the guide set"
    check_values(own, lambda i: (i >= -1) & (i <= last), message)
    return own


def _largest_group(identities: ArrayLike) -> int:
    """Images of the largest identity; while they are traced, of all: it becomes a shape."""
    if isinstance(identities, jax.core.Tracer):
        return identities.shape[0]
    values = np.asarray(identities)
    return int(np.unique(values[values > 0], return_counts=True)[1].max(initial=1))


def _rank(mask: Array, guides: Array, key: Array | None) -> Array:
    """Sort keys [B,G]: allowed guides first, in their own or in a random order."""
    if key is None:
        return jnp.where(mask, 0.0, 1.0)
    draw = jax.vmap(jax.vmap(lambda k, i: jax.random.uniform(jax.random.fold_in(k, i)), (None, 0)))
    return jnp.where(mask, draw(keys_of_rows(key, mask.shape[0]), guides), 2.0)


def same_identity(
    identities: IdentitiesLike,
    guide_identities: SetIdentitiesLike | None = None,
    *,
    count: int | None = None,
    key: KeysLike | None = None,
    own_indices: IdentitiesLike | None = None,
    include_self: bool = False,
    pad: Literal["mask", "self"] = "mask",
) -> Selection:
    """Guides that show the same identity as each target: all of them, or some drawn at random.

    Args:
        identities: [B] integer identities of the targets.
        guide_identities: [N] integer identities of the guide set; by default the targets
            themselves are the guide set, and no target guides itself.
        count: how many guides to choose, G; all of them by default.
        key: a random key or [B] keys to draw `count` guides without replacement; without it the
            first ones in the order of the guide set are taken.
        own_indices: [B] integer positions of the targets in the guide set; -1 for those outside it.
        include_self: whether a target may be among its own guides.
        pad: "mask" masks missing guides; "self" puts the target itself in their places. With
            include_self it gives the guides of the code of Bouniot et al., CVPRW 2020.

    Returns:
        Selection with indices [B,G] and mask [B,G]; G is count, or the number of images of the
        largest identity in the guide set. Under jit that number is not known, and G is N.

    Raises:
        InputError: on wrong shapes or dtypes, an empty set, or a wrong count, pad or positions.
    """
    targets = _identities("identities", identities, "B")
    if guide_identities is None:
        guide_set, own = targets, jnp.arange(targets.shape[0])
    else:
        guide_set = _identities("guide_identities", guide_identities, "N")
        own = jnp.full(targets.shape, -1)
        if own_indices is None and pad == "self":
            raise InputError('pad="self" needs own_indices: where each target is in the guide set')
    if own_indices is not None:
        own = _own_positions(own_indices, targets, guide_set)
    include_self = check_flag("include_self", include_self)
    check_choice("pad", pad, ("mask", "self"))
    width = _largest_group(identities if guide_identities is None else guide_identities)
    count = width if count is None else check_count("count", count, least=1, most=_MOST)

    groups = _Groups.of(guide_set)
    start, end = groups.bounds(targets)
    slots = start[:, None] + jnp.arange(width)
    guides, mask = groups.at(slots), slots < end[:, None]
    if not include_self:
        mask &= guides != own[:, None]
    first = jnp.argsort(_rank(mask, guides, key), axis=1, stable=True)[:, :count]
    missing = ((0, 0), (0, max(count - width, 0)))
    mask, guides = (
        jnp.pad(jnp.take_along_axis(part, first, axis=1), missing) for part in (mask, guides)
    )
    if pad == "self":
        fill = ~mask & ((targets > 0) & (own >= 0))[:, None]
        guides, mask = jnp.where(fill, own[:, None], guides), mask | fill
    return Selection(guides * mask, mask)


@in_double
def centroids(features: SetFeaturesLike, identities: SetIdentitiesLike) -> Centroids:
    """Mean feature of every identity above 0, ``c_k = mean of f_i with identity k``.

    Args:
        features: [N,D] floating point, in the unit of the embedding.
        identities: [N] integer; 0 and -1 are left out.

    Returns:
        Centroids with features [K,D] in float32 at least (not normalised again), and identities
        [K]. Under jit the number of identities is not known, and K is N.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, or no identity above 0.
    """
    features, labels = _people("", features, identities, Sizes(), "N")
    names = _above_zero(identities)
    member = jnp.where(labels > 0, jnp.searchsorted(names, labels), names.shape[0])
    means, counts = group_means(features, member, names.shape[0])
    return Centroids(means, jnp.where(counts > 0, names, -1).astype(jnp.int32))


def _above_zero(identities: ArrayLike) -> Array:
    """The identities of real people, ascending; while they are traced, padded to [N]."""
    if isinstance(identities, jax.core.Tracer):
        last = jnp.iinfo(jnp.int32).max  # what distractors and junk become, and padding is
        real = jnp.where(identities > 0, identities.astype(jnp.int32), last)
        return jnp.unique(real, size=identities.shape[0], fill_value=last)
    names = np.unique(np.asarray(identities))
    if not (names := names[names > 0]).size:
        raise InputError("identities holds no identity above 0, so there is no centroid")
    return jnp.asarray(names, jnp.int32)


_DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "euclidean": comparable_squares,
    "cosine": pairwise_cosine,
}


@in_double
def furthest_other(
    features: FeaturesLike,
    identities: IdentitiesLike,
    guide_features: SetFeaturesLike,
    guide_identities: SetIdentitiesLike,
    *,
    count: int = 1,
    distance: Distance = "euclidean",
) -> Selection:
    """The guides of another identity that are furthest from each target.

    ``argmax_n d(f, g_n) over n with another identity``, then the next furthest, `count` in all.
    Over `centroids` it is the furthest other identity of FNA.

    Args:
        features: [B,D] floating point features of the targets.
        identities: [B] integer identities of the targets.
        guide_features: [N,D] floating point, same unit.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        count: L, guides of each target; static.
        distance: "euclidean" or "cosine".

    Returns:
        Selection with indices [B,L] and mask [B,L], the furthest first.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, a wrong distance or count.
    """
    sizes = Sizes()
    targets, target_ids = _people("", features, identities, sizes, "B")
    guides, guide_ids = _people("guide_", guide_features, guide_identities, sizes, "N")
    check_choice("distance", distance, _DISTANCES)
    count = check_count("count", count, least=1, most=guides.shape[0], of="the guides")
    # What is never chosen, padding too, must not set the point and the scale of the distances.
    guides = jnp.where((guide_ids > 0)[:, None], guides, guides[jnp.argmax(guide_ids > 0)])

    def furthest(rows: slice) -> tuple[Array, Array]:
        own = target_ids[rows, None]
        allowed = (guide_ids > 0) & (guide_ids != own) & (own > 0)
        score = jnp.where(allowed, _DISTANCES[distance](targets[rows], guides), -jnp.inf)
        if count == 1:  # much quicker than sorting
            index = jnp.argmax(score, axis=1)[:, None]
            return index.astype(jnp.int32), jnp.any(allowed, axis=1, keepdims=True)
        best, index = jax.lax.top_k(score, count)
        return index.astype(jnp.int32), best > -jnp.inf

    # Blocks bound the memory; a scan over them would be compiled anew by every call outside jit.
    blocks = [furthest(slice(i, i + _BLOCK)) for i in range(0, targets.shape[0], _BLOCK)]
    index, found = (jnp.concatenate(part) for part in zip(*blocks, strict=True))
    return Selection(jnp.where(found, index, 0), found)


def random_other(
    identities: IdentitiesLike, guide_identities: SetIdentitiesLike, key: KeysLike
) -> Selection:
    """A guide of another identity, drawn uniformly from the guide set for each target.

    Over `centroids.identities` it is a random other identity (the random-pull ablation of FNA).

    Args:
        identities: [B] integer identities of the targets.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        key: a random key or [B] keys.

    Returns:
        Selection with indices [B,1] and mask [B,1].

    Raises:
        InputError: on wrong shapes or dtypes, an empty set, or another number of keys.
    """
    targets = _identities("identities", identities, "B")
    guide_set = _identities("guide_identities", guide_identities, "N")
    groups = _Groups.of(guide_set)
    start, end = groups.bounds(targets)
    others = guide_set.shape[0] - groups.first_valid - (end - start)
    keys = keys_of_rows(key, targets.shape[0])
    draw = jax.vmap(lambda k, n: jax.random.randint(k, (), 0, jnp.maximum(n, 1)))(keys, others)
    # The r-th allowed item of the sorted set: skip the own group if it lies before.
    position = groups.first_valid + draw
    position = jnp.where(position >= start, position + (end - start), position)
    found = ((others > 0) & (targets > 0))[:, None]
    return Selection(groups.at(position)[:, None] * found, found)
