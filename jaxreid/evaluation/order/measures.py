"""What ranking attacks climb, and the numbers that say what they achieved, row by row.

Equal distances count for the attacker: an item is raised past all that are as far, and lowered
behind them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxreid.distances import euclidean
from jaxreid.ranking import (
    ListDistances,
    candidates_lowered,
    candidates_raised,
    furthest_margin,
    guarded,
)
from jaxreid.types import Array, PerImage

__all__ = ["MEASURES", "OBJECTIVES", "Measure", "Seen"]

# Among so many first items the one that was first counts as retained.
_RETAINED = 4


class Seen(NamedTuple):
    """What an objective or a measure may look at; features have unit length.

    Attributes:
        features: [B,D] of the attacked images of the moment, queries or candidates.
        clean: [B,D] of the same images before the attack.
        aim: [B,D] clean features of the candidates.
        distances: of the queries to the gallery.
        listed: [B,N] boolean, the items of each query's list.
        candidate: [B] position of the candidate in the gallery.
        chosen: [B] distance of the query to it.
        guards: [B,G] positions of items that are to stay first.
    """

    features: Float[Array, "B D"]
    clean: Float[Array, "B D"]
    aim: Float[Array, "B D"]
    distances: ListDistances
    listed: Bool[Array, "B N"]
    candidate: Int[Array, " B"]
    chosen: PerImage
    guards: Int[Array, "B G"]

    @property
    def items(self) -> Float[Array, "B N"]:
        """Distances to all items."""
        return self.distances.other

    @property
    def rivals(self) -> Bool[Array, "B N"]:
        """All items of the list but the candidate."""
        return self.listed & (jnp.arange(self.listed.shape[1]) != self.candidate[:, None])

    @property
    def unguarded(self) -> Bool[Array, "B N"]:
        """The rivals that are no guards."""
        rows = jnp.arange(len(self.guards))[:, None]
        return self.rivals.at[rows, self.guards].set(False)

    @property
    def guarded(self) -> Float[Array, "B G"]:
        """Distances to the items that are to stay first."""
        return jnp.take_along_axis(self.items, self.guards, axis=1)

    def share(self, mask: Bool[Array, "B N"]) -> PerImage:
        """The share of the list that is marked."""
        return jnp.sum(mask & self.listed, axis=1) / jnp.sum(self.listed, axis=1)


Objective = Callable[[Seen], PerImage]


def _raised(seen: Seen) -> PerImage:
    return candidates_raised(seen.chosen[:, None], seen.items, seen.rivals)


def _lowered(seen: Seen) -> PerImage:
    return candidates_lowered(seen.chosen[:, None], seen.items, seen.rivals)


def _guarded(seen: Seen) -> PerImage:
    return candidates_raised(seen.guarded, seen.items, seen.unguarded)


OBJECTIVES: dict[str, Objective] = {
    "raised": _raised,
    "lowered": _lowered,
    "raised, guarded": lambda seen: guarded(_raised(seen), _guarded(seen)),
    "lowered, guarded": lambda seen: guarded(_lowered(seen), _guarded(seen)),
    "towards": lambda seen: jnp.sum(seen.features * seen.aim, axis=1),
    "shift": lambda seen: euclidean(seen.features, seen.clean),
    "furthest margin": lambda seen: furthest_margin(seen.distances),
    "nearer": lambda seen: -seen.chosen,
}
"""Name -> what is maximised, [B]."""


class Measure(NamedTuple):
    """A number that says what an attack achieved.

    Attributes:
        name: in a record.
        of: what is seen -> [B].
        sign: +1 where the attacker wants it large, -1 where small, and 0 where how far the attack
            came is a matter of its objective alone.
    """

    name: str
    of: Objective
    sign: int


def _nearer(seen: Seen) -> PerImage:
    return seen.share(seen.rivals & (seen.items < seen.chosen[:, None]))


def _no_further(seen: Seen) -> Bool[Array, "B N"]:
    return seen.rivals & (seen.items <= seen.chosen[:, None])


def _guards_rank(seen: Seen) -> PerImage:
    nearer = seen.items[:, None, :] < seen.guarded[:, :, None]
    counts = jnp.sum(nearer & seen.listed[:, None, :], axis=2)
    return jnp.mean(counts, axis=1) / jnp.sum(seen.listed, axis=1)


def _found_first(seen: Seen) -> PerImage:
    distances = seen.distances
    match = jnp.min(jnp.where(distances.mask, distances.matched, jnp.inf), axis=1)
    other = jnp.min(jnp.where(distances.others, distances.other, jnp.inf), axis=1)
    return (match < other).astype(jnp.float32)


def _is_retained(seen: Seen) -> PerImage:
    return (jnp.sum(_no_further(seen), axis=1) < _RETAINED).astype(jnp.float32)


MEASURES = {
    "raised": Measure("rank", _nearer, -1),
    "lowered": Measure("rank", lambda seen: seen.share(_no_further(seen)), 1),
    "raised, guarded": Measure("rank", _nearer, 0),
    "lowered, guarded": Measure("rank", lambda seen: seen.share(_no_further(seen)), 0),
    "guards": Measure("guards", _guards_rank, 0),
    "cosine": Measure("cosine", OBJECTIVES["towards"], 1),
    "shift": Measure("shift", OBJECTIVES["shift"], 1),
    "first": Measure("rank1", _found_first, -1),
    "retained": Measure("retained", _is_retained, -1),
}
"""Name -> measure; ranks are shares of the list that is nearer."""
