"""Who guides whom: selection by identity and camera, as indices and masks.

A selection is made of indices into a guide set, so one selection serves for features
(`features[selection.indices]`) and for images alike. Identities 0 (distractors) and -1 (junk) are
never chosen, and nothing is chosen for them. Every random choice is keyed by the target's own key
and the candidate's index: it depends neither on the batch nor on its order. float64 features are
compared and averaged in float64 even where `jax_enable_x64` is off, unless they are traced.
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
    check_key,
    check_values,
    is_known,
)
from jaxreid.constants import Distance
from jaxreid.distances import comparable_squares, pairwise_cosine
from jaxreid.errors import InputError
from jaxreid.precision import in_double
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, ArrayLike

__all__ = [
    "Centroids",
    "Selection",
    "centroids",
    "furthest_other",
    "random_other",
    "same_identity",
]


# Most slots of a row that a caller may ask for; more than any set of guides holds.
_MOST = 2**24
# Rows of a distance block: 1,024 rows against Market's 15,913 gallery items are 65 MB.
_BLOCK = 1024


class Selection(NamedTuple):
    """Chosen guides of each target.

    Attributes:
        indices: [B,G] int32 positions in the guide set; 0 where the mask is False.
        mask: [B,G] boolean; False is padding. A row without any True has no guide.
    """

    indices: Array
    mask: Array


class Centroids(NamedTuple):
    """Mean feature of every identity.

    Attributes:
        features: [K,D] in the unit of the embedding; zero in padding.
        identities: [K] int32, ascending; padding is -1 and comes last.
    """

    features: Array
    identities: Array


class _Groups(NamedTuple):
    """A guide set sorted by identity: the members of an identity are neighbours."""

    order: Array  # [N], sorted position -> position in the guide set
    sorted_identities: Array  # [N]
    first_valid: Array  # [], number of items of identity 0 or less

    @classmethod
    def of(cls, identities: Array) -> "_Groups":
        order = jnp.argsort(identities, stable=True)
        ascending = identities[order]
        return cls(order, ascending, jnp.searchsorted(ascending, 1))

    def bounds(self, identities: Array) -> tuple[Array, Array]:
        """Start and end [B] of each target's own group, empty for identities 0 and below."""
        start = jnp.searchsorted(self.sorted_identities, identities, side="left")
        end = jnp.searchsorted(self.sorted_identities, identities, side="right")
        return start, jnp.where(identities > 0, end, start)


def _identities(name: str, identities: ArrayLike) -> Array:
    Sizes().check(name, identities, "N")
    if np.shape(identities)[0] == 0:
        raise InputError(f"{name} is empty; expected at least one item")
    return check_integers(name, identities)


def _per_item(name: str, values: ArrayLike, identities: Array) -> Array:
    """Cameras or positions, one for every identity: a short array would be read past its end."""
    sizes = Sizes()
    sizes.check("its identities", identities, "N")
    sizes.check(name, values, "N")
    return check_integers(name, values)


def _own_positions(own_indices: ArrayLike, targets: Array, guide_set: Array) -> Array:
    own = _per_item("own_indices", own_indices, targets)
    size = guide_set.shape[0]
    check_values(
        own,
        lambda i: (i >= -1) & (i < size),
        f"own_indices must lie in 0..{size - 1}, or be -1 for targets outside the guide set",
    )
    return own


def _group_width(identities: Array, bound: int | None) -> int:
    """Size of the largest identity, or a bound on it: concrete, because it becomes a shape."""
    if bound is not None:
        bound = check_count("max_candidates", bound, least=1, most=_MOST)
    if isinstance(identities, jax.core.Tracer):
        if bound is None:
            raise InputError(
                "same_identity under jit needs a static number of guides: pass max_candidates "
                "(an upper bound on images per identity)"
            )
        return bound
    values = np.asarray(identities)
    values = values[values > 0]
    largest = int(np.unique(values, return_counts=True)[1].max()) if values.size else 1
    if bound is not None and bound < largest:
        raise InputError(
            f"max_candidates must be at least {largest}, the images of the largest identity, "
            f"got {bound}"
        )
    return largest if bound is None else bound


def _sample(mask: Array, candidates: Array, key: Array | None, batch: int) -> Array:
    """Sort keys [B,G]: allowed candidates first, in their own or in a random order."""
    if key is None:
        return jnp.where(mask, 0.0, 1.0)
    keys = keys_of_rows(key, batch)
    draw = jax.vmap(jax.vmap(lambda k, i: jax.random.uniform(jax.random.fold_in(k, i)), (None, 0)))
    return jnp.where(mask, draw(keys, candidates), 2.0)


def same_identity(
    identities: ArrayLike,
    guide_identities: ArrayLike | None = None,
    *,
    count: int | None = None,
    key: Array | None = None,
    own_indices: ArrayLike | None = None,
    include_self: bool = False,
    cameras: ArrayLike | None = None,
    guide_cameras: ArrayLike | None = None,
    pad: Literal["mask", "self"] = "mask",
    max_candidates: int | None = None,
) -> Selection:
    """Guides that show the same identity as each target: all of them, or some drawn at random.

    Args:
        identities: [B] integer identities of the targets.
        guide_identities: [N] integer identities of the guide set; by default the targets
            themselves are the guide set, and nobody guides itself.
        count: how many guides to choose, G; all of them by default.
        key: a random key or [B] keys to draw `count` guides without replacement; without it the
            first ones in the order of the guide set are taken.
        own_indices: [B] integer positions of the targets in the guide set, where they are in it;
            -1 for those that are not.
        include_self: whether a target may be its own guide.
        cameras: [B] integer cameras of the targets; with guide_cameras, only guides from another
            camera than the target's are allowed, as in the retrieval protocol.
        guide_cameras: [N] integer cameras of the guide set (default: cameras, if the targets are
            the guide set).
        pad: "mask" leaves missing guides masked; "self" fills them with the target itself, unmasked
            (the padding of Bouniot et al., CVPRW 2020), which needs own positions.
        max_candidates: upper bound on the images of one identity; needed under jit only, where
            images beyond it are never chosen.

    Returns:
        Selection with indices [B,G] and mask [B,G]; G is count, or the largest number of
        candidates of any identity.

    Raises:
        InputError: on wrong shapes or dtypes, an empty set, count or max_candidates out of range,
            positions outside the guide set, or contradictions.
    """
    targets = _identities("identities", identities)
    batch = targets.shape[0]
    if guide_identities is None:
        guide_set, own = targets, jnp.arange(batch)
        guide_cameras = cameras if guide_cameras is None else guide_cameras
    else:
        guide_set = _identities("guide_identities", guide_identities)
        own = jnp.full(batch, -1)
    if own_indices is not None:
        own = _own_positions(own_indices, targets, guide_set)
    elif guide_identities is not None and pad == "self":
        raise InputError('pad="self" needs own_indices: where each target is in the guide set')
    include_self = check_flag("include_self", include_self)
    check_choice("pad", pad, ("mask", "self"))
    if count is not None:
        count = check_count("count", count, least=1, most=_MOST)
    if key is not None:
        check_key("key", key)
    width = _group_width(guide_set, max_candidates)

    groups = _Groups.of(guide_set)
    start, end = groups.bounds(targets)
    slots = start[:, None] + jnp.arange(width)
    mask = slots < end[:, None]
    candidates = groups.order[jnp.minimum(slots, guide_set.shape[0] - 1)].astype(jnp.int32)
    if not include_self:
        mask &= candidates != own[:, None]
    if cameras is not None and guide_cameras is not None:
        from_camera = _per_item("guide_cameras", guide_cameras, guide_set)[candidates]
        mask &= from_camera != _per_item("cameras", cameras, targets)[:, None]
    elif cameras is not None or guide_cameras is not None:
        raise InputError("the same-camera rule needs both cameras and guide_cameras")

    first = jnp.argsort(_sample(mask, candidates, key, batch), axis=1, stable=True)
    chosen = first[:, : width if count is None else count]
    mask = jnp.take_along_axis(mask, chosen, axis=1)
    indices = jnp.take_along_axis(candidates, chosen, axis=1)
    if count is not None and count > width:
        missing = ((0, 0), (0, count - width))
        indices, mask = jnp.pad(indices, missing), jnp.pad(mask, missing)
    if pad == "self":
        fill = (~mask) & (targets > 0)[:, None] & (own >= 0)[:, None]
        return Selection(jnp.where(fill, own[:, None], indices * mask), mask | fill)
    return Selection(indices * mask, mask)


@in_double
def centroids(
    features: ArrayLike, identities: ArrayLike, *, max_identities: int | None = None
) -> Centroids:
    """Mean feature of every identity above 0, ``c_k = mean of f_i with identity k``.

    Args:
        features: [N,D] floating point, in the unit of the embedding.
        identities: [N] integer; 0 and -1 are left out.
        max_identities: upper bound on the number of identities, K; needed under jit only, where
            identities beyond it have no centroid.

    Returns:
        Centroids with features [K,D], float32 at least, float64 if the features are and not traced
        (not normalised again), and identities [K].

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, or no identity above 0.
    """
    sizes = Sizes()
    sizes.check("features", features, "ND")
    sizes.check("identities", identities, "N")
    features = check_features("features", features)
    identities = _identities("identities", identities)
    if max_identities is None:
        if isinstance(identities, jax.core.Tracer):
            raise InputError("centroids under jit needs max_identities, the number of identities")
        known = _above_zero(identities)
        if known.size == 0:
            raise InputError("identities holds no identity above 0, so there is no centroid")
        names = jnp.asarray(known, jnp.int32)
    else:
        least = _above_zero(identities).size if is_known(identities) else 1
        check_count("max_identities", max_identities, least=max(1, least), most=_MOST)
        # Distractors and junk become the fill value, which sorts last.
        last = jnp.iinfo(jnp.int32).max
        names = jnp.unique(
            jnp.where(identities > 0, identities, last), size=max_identities, fill_value=last
        )
    member = jnp.searchsorted(names, identities)
    member = jnp.where(identities > 0, member, names.shape[0])
    means, counts = _means(features, member, names.shape[0])
    return Centroids(means, jnp.where(counts > 0, names, -1).astype(jnp.int32))


def _above_zero(identities: Array) -> np.ndarray:
    """The identities of real people, ascending."""
    names = np.unique(np.asarray(identities))
    return names[names > 0]


def _means(features: Array, member: Array, groups: int) -> tuple[Array, Array]:
    """Mean features and sizes of groups 0 to groups - 1; what is of another group is left out."""
    counts = jnp.bincount(member, length=groups + 1)[:-1]
    taken = jnp.where((member < groups)[:, None], features, 0)
    # A power of two rounds nothing; without it sums leave the dtype where means do not.
    most = 2.0 ** len(member).bit_length()
    large = jnp.max(jnp.abs(taken), initial=0) > jnp.finfo(features.dtype).max / most
    power = jnp.where(large, jnp.asarray(most, features.dtype), 1)
    totals = jax.ops.segment_sum(taken / power, member, num_segments=groups + 1)[:-1]
    return totals / jnp.maximum(counts, 1)[:, None].astype(features.dtype) * power, counts


@in_double
def furthest_other(
    features: ArrayLike,
    identities: ArrayLike,
    guide_features: ArrayLike,
    guide_identities: ArrayLike,
    *,
    count: int = 1,
    distance: Distance = "euclidean",
) -> Selection:
    """The guides of another identity that are furthest from each target.

    ``argmax_n d(f, g_n) over n with another identity``, then the next furthest, `count` in all.
    Over `centroids` it is the furthest other identity of FNA; over single features, the furthest
    single negative.

    Args:
        features: [B,D] floating point features of the targets.
        identities: [B] integer identities of the targets.
        guide_features: [N,D] floating point, same unit.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        count: L, guides of each target; static.
        distance: "euclidean" or "cosine".

    Returns:
        Selection with indices [B,L] and mask [B,L], the furthest first; of equally far guides the
        first is taken.

    Raises:
        InputError: on wrong shapes or dtypes, NaN, an empty set, an unknown distance, or a count
            that is not 1 to N.
    """
    sizes = Sizes()
    sizes.check("features", features, "BD")
    sizes.check("identities", identities, "B")
    sizes.check("guide_features", guide_features, "ND")
    sizes.check("guide_identities", guide_identities, "N")
    metrics: dict[str, Callable[[Array, Array], Array]] = {
        "euclidean": comparable_squares,
        "cosine": pairwise_cosine,
    }
    check_choice("distance", distance, metrics)
    targets = check_features("features", features)
    guides = check_features("guide_features", guide_features)
    target_ids = _identities("identities", identities)
    guide_ids = _identities("guide_identities", guide_identities)
    count = check_count("count", count, least=1, most=guides.shape[0], of="the guides")
    # What is never chosen, padding too, must not set the point and the scale of the distances.
    known = guide_ids > 0
    guides = jnp.where(known[:, None], guides, guides[jnp.argmax(known)])

    def furthest(rows: slice) -> tuple[Array, Array]:
        own = target_ids[rows, None]
        allowed = (guide_ids > 0) & (guide_ids != own) & (own > 0)
        score = jnp.where(allowed, metrics[distance](targets[rows], guides), -jnp.inf)
        if count == 1:  # much quicker than sorting
            return jnp.argmax(score, axis=1).astype(jnp.int32)[:, None], jnp.any(
                allowed, axis=1, keepdims=True
            )
        best, index = jax.lax.top_k(score, count)
        return index.astype(jnp.int32), best > -jnp.inf

    # Blocks bound the memory; a scan over them would be compiled anew by every call outside jit.
    blocks = [furthest(slice(i, i + _BLOCK)) for i in range(0, targets.shape[0], _BLOCK)]
    index, found = (jnp.concatenate(part) for part in zip(*blocks, strict=True))
    return Selection(jnp.where(found, index, 0), found)


def random_other(identities: ArrayLike, guide_identities: ArrayLike, key: Array) -> Selection:
    """A guide of another identity, drawn uniformly from the guide set for each target.

    Over the identities of `centroids` this draws a random other identity (the random-pull ablation
    of FNA); over a set of images, a random negative image.

    Args:
        identities: [B] integer identities of the targets.
        guide_identities: [N] integer; 0 and -1 are never chosen.
        key: a random key or [B] keys.

    Returns:
        Selection with indices [B,1] and mask [B,1].

    Raises:
        InputError: on wrong shapes or dtypes, an empty set, or another number of keys.
    """
    targets = _identities("identities", identities)
    guide_set = _identities("guide_identities", guide_identities)
    groups = _Groups.of(guide_set)
    start, end = groups.bounds(targets)
    others = guide_set.shape[0] - groups.first_valid - (end - start)
    keys = keys_of_rows(key, targets.shape[0])
    draw = jax.vmap(lambda k, n: jax.random.randint(k, (), 0, jnp.maximum(n, 1)))(keys, others)
    # The r-th allowed item of the sorted set: skip the own group if it lies before.
    position = groups.first_valid + draw
    position = jnp.where(position >= start, position + (end - start), position)
    found = (others > 0) & (targets > 0)
    index = groups.order[jnp.minimum(position, guide_set.shape[0] - 1)].astype(jnp.int32)
    return Selection(jnp.where(found, index, 0)[:, None], found[:, None])
