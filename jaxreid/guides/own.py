"""Guides of the image's own identity, and the mean of every identity."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import (
    Sizes,
    check_choice,
    check_count,
    check_flag,
    check_integers,
    check_values,
)
from jaxreid.errors import InputError
from jaxreid.guides.sets import MOST_GUIDES, Groups, identities_of, people_of
from jaxreid.precision import group_means, in_double
from jaxreid.random import keys_of_rows
from jaxreid.types import (
    Array,
    ArrayLike,
    Centroids,
    IdentitiesLike,
    KeysLike,
    Selection,
    SetFeaturesLike,
    SetIdentitiesLike,
)

__all__ = ["centroids", "same_identity"]


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
    targets = identities_of("identities", identities, "B")
    if guide_identities is None:
        guide_set, own = targets, jnp.arange(targets.shape[0])
    else:
        guide_set = identities_of("guide_identities", guide_identities, "N")
        own = jnp.full(targets.shape, -1)
        if own_indices is None and pad == "self":
            raise InputError('pad="self" needs own_indices: where each target is in the guide set')
    if own_indices is not None:
        own = _own_positions(own_indices, targets, guide_set)
    include_self = check_flag("include_self", include_self)
    check_choice("pad", pad, ("mask", "self"))
    width = _largest_group(identities if guide_identities is None else guide_identities)
    count = width if count is None else check_count("count", count, least=1, most=MOST_GUIDES)

    groups = Groups.of(guide_set)
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
    features, labels = people_of("", features, identities, Sizes(), "N")
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
