"""A guide set and its identities, checked, and sorted by identity."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreid.checks import Sizes, check_features, check_integers
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike

__all__ = ["MOST_GUIDES", "Groups", "identities_of", "people_of"]

MOST_GUIDES = 2**24
"""Of a target that a caller may ask for; more than any guide set holds."""


class Groups(NamedTuple):
    """A guide set sorted by identity: the images of an identity are neighbours."""

    order: Array  # [N], sorted position -> position in the guide set
    identities: Array  # [N], ascending
    first_valid: Array  # [], number of items of identity 0 or less

    @classmethod
    def of(cls, identities: Array) -> "Groups":
        """Sorts identities [N]."""
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


def identities_of(name: str, identities: ArrayLike, letter: str) -> Array:
    """Identities, one axis of the given letter, at least one and integer; refused otherwise."""
    Sizes().check(name, identities, letter)
    if np.shape(identities)[0] == 0:
        raise InputError(f"{name} is empty; expected at least one item")
    return check_integers(name, identities)


def people_of(
    prefix: str, features: ArrayLike, identities: ArrayLike, sizes: Sizes, letter: str
) -> tuple[Array, Array]:
    """Features [N,D] and identities [N] of a set whose arguments start with a prefix, checked."""
    sizes.check(f"{prefix}features", features, f"{letter}D")
    sizes.check(f"{prefix}identities", identities, letter)
    checked = check_features(f"{prefix}features", features)
    return checked, identities_of(f"{prefix}identities", identities, letter)
