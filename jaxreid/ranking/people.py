"""Wrong people to be taken for: which ones, and the distances to them alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, Integer

from jaxreid.checks import Sizes, check_integers
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import Array, ArrayLike

__all__ = ["person_at", "toward"]


def person_at(
    distances: ListDistances, identities: Integer[ArrayLike, " N"], place: Int[ArrayLike, ""] | int
) -> Bool[Array, "B N"]:
    """Images of one wrong person of each row, chosen by how near the clean image is to people.

    At place 0 is the person who has the nearest image, at place 1 the one with the nearest image of
    all others, and so on; at place -1 the one who has the furthest image. Run through the first
    nine these are the targets of Croce and Hein, ICML 2020, https://arxiv.org/abs/2003.01690.

    Args:
        distances: of the clean features.
        identities: [N] integer, of the lists' gallery; distractors and junk, 0 and -1, are nobody.
        place: from -1; where there are fewer people, the last one is taken.

    Returns:
        [B,N] boolean, for `toward`; a row with nobody else has no True.

    Raises:
        InputError: on wrong shapes or dtypes.
    """
    check_distances(distances)
    sizes = Sizes()
    sizes.check("distances.other", distances.other, "BN")
    sizes.check("identities", identities, "N")
    identities, place = check_integers("identities", identities), jnp.asarray(place)
    people = jnp.asarray(distances.others) & (identities > 0)

    def of_person(item: Array) -> Bool[Array, "B N"]:
        return identities == identities[item][:, None]

    def nearest(left: Array) -> Array:
        return jnp.argmin(jnp.where(left, distances.other, jnp.inf), axis=1)

    def next_person(_: Array, left: Array) -> Array:
        rest = left & ~of_person(nearest(left))
        return jnp.where(jnp.any(rest, axis=1, keepdims=True), rest, left)

    left = jax.lax.fori_loop(0, jnp.maximum(place, 0), next_person, people)
    furthest = jnp.argmax(jnp.where(people, distances.other, -jnp.inf), axis=1)
    return people & of_person(jnp.where(place < 0, furthest, nearest(left)))


def toward(distances: ListDistances, target: Bool[ArrayLike, "B N"]) -> ListDistances:
    """The same distances with the images of one wrong person as the only others.

    Every surrogate of them pulls towards that person alone: `margin` is then the targeted one of
    Croce and Hein, ICML 2020, https://arxiv.org/abs/2003.01690, of which one run per target makes a
    search over several.

    Args:
        distances: to all others.
        target: [B,N] boolean, the images of each row's target; those that take no part are ignored.

    Returns:
        ListDistances.

    Raises:
        InputError: on another shape or dtype.
    """
    check_distances(distances)
    sizes = Sizes()
    sizes.check("distances.others", distances.others, "BN")
    sizes.check("target", target, "BN")
    if target.dtype != np.bool_:
        raise InputError(f"target must be boolean, got {target.dtype}")
    return distances._replace(others=jnp.asarray(distances.others) & target)
