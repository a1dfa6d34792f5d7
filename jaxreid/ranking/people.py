"""Wrong people to be taken for: which ones, and the distances to them alone."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, Integer

from jaxreid.checks import Sizes, check_count
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_distances, host_integers
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import ArrayLike

__all__ = ["TargetPeople", "images_of", "target_people", "toward"]


class TargetPeople(NamedTuple):
    """Wrong people of each row, those whose images are nearest first, and the furthest last.

    Attributes:
        identities: [B,count+1] int32; 0 where the mask is False.
        mask: [B,count+1] boolean; a row with few wrong people has fewer targets. The furthest one
            is always in the last place, and is no second time among the nearest.
    """

    identities: Int[np.ndarray, "B T"]
    mask: Bool[np.ndarray, "B T"]


def target_people(
    distances: ListDistances, identities: Integer[ArrayLike, " n"], *, count: int = 9
) -> TargetPeople:
    """The people whose nearest image is nearest to each row, and the one for whom it is furthest.

    Nine targets are what the targeted attacks of Croce and Hein, ICML 2020,
    https://arxiv.org/abs/2003.01690, run through; the furthest person is FNA's. On the host.

    Args:
        distances: of the clean features.
        identities: [n] integer, of the gallery as it was given to `search_lists` (n <= N);
            distractors (0) are nobody in particular, and are no targets.
        count: how many of the nearest, at least 1.

    Returns:
        TargetPeople.

    Raises:
        InputError: on wrong shapes or dtypes, or a count below 1.
    """
    check_distances(distances)
    check_count("count", count, least=1)
    items = host_integers("identities", identities, "n")
    others = np.asarray(distances.others)
    if len(items) > others.shape[1]:
        raise InputError(f"identities must be at most N={others.shape[1]}, got {len(items)}")
    people, start = np.flatnonzero(items > 0), np.zeros(0, np.int64)
    people = people[np.argsort(items[people], kind="stable")]
    names, start = np.unique(items[people], return_index=True)
    rows = len(others)
    found = TargetPeople(np.zeros((rows, count + 1), np.int32), np.zeros((rows, count + 1), bool))
    for row in range(rows if len(names) else 0):
        apart = np.where(others[row, people], np.asarray(distances.other[row])[people], np.inf)
        nearest = np.minimum.reduceat(apart, start)
        order = np.argsort(nearest, kind="stable")
        order = order[np.isfinite(nearest[order])]
        if len(order):
            first, last = order[:-1][:count], order[-1]
            found.identities[row, : len(first)] = names[first]
            found.mask[row, : len(first)] = True
            found.identities[row, -1], found.mask[row, -1] = names[last], True
    return found


def images_of(
    identities: Integer[ArrayLike, " n"], targets: Integer[ArrayLike, " B"], size: int
) -> Bool[np.ndarray, "B N"]:
    """Which items of a gallery show each row's target, for `toward`.

    Args:
        identities: [n] integer, of the gallery.
        targets: [B] integer identities, one per row.
        size: N of the lists, at least n.

    Returns:
        [B,N] boolean; a target of 0 has no images.

    Raises:
        InputError: on wrong shapes or dtypes, or a size below n.
    """
    items = host_integers("identities", identities, "n")
    wanted = host_integers("targets", targets, "B")
    check_count("size", size, least=len(items))
    shown = (items == wanted[:, None]) & (wanted > 0)[:, None]
    return np.pad(shown, [(0, 0), (0, size - len(items))])


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
