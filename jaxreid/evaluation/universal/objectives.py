"""What a perturbation climbs, image by image, within a batch of people."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxreid.attacks import ATTACKS, AttackInput, signed_guides, total_variation
from jaxreid.distances import l2_normalize, pairwise_euclidean
from jaxreid.evaluation.universal.recipe import LearnedBy
from jaxreid.guides import furthest_other
from jaxreid.ranking import ListDistances, histogram_ap, mis_ranking
from jaxreid.types import Array, Embed

__all__ = ["OBJECTIVES", "Crowd"]


class Crowd(NamedTuple):
    """The clean images of a batch as its attacked ones see them: b rows of all B.

    Attributes:
        own: [b,D] clean features of the rows.
        everyone: [B,D] clean features of the batch; the images of a person are neighbours.
        identities: integer [b], of the rows.
        people: integer [P], of the batch; each has B / P images.
        same: boolean [b,B], other images of the row's person.
        others: boolean [b,B], images of other people.
        smoothness: weight of the total variation, for "ap".
    """

    own: Array
    everyone: Array
    identities: Array
    people: Array
    same: Array
    others: Array
    smoothness: float


Climbed = Callable[[Embed, Array, Crowd], Array]
"""(embed, attacked images [b,H,W,3], crowd) -> [b], what is climbed."""


def _distances(embed: Embed, images: Array, crowd: Crowd) -> ListDistances:
    """From attacked images to the clean ones of the batch, all features of unit length."""
    found = l2_normalize(embed(images))
    distances = pairwise_euclidean(found, l2_normalize(crowd.everyone))
    return ListDistances(distances, crowd.same, distances, crowd.others)


def _precision(embed: Embed, images: Array, crowd: Crowd) -> Array:
    lost = histogram_ap(_distances(embed, images, crowd))
    return lost - crowd.smoothness * total_variation(images)


def _mis_ranked(embed: Embed, images: Array, crowd: Crowd) -> Array:
    return mis_ranking(_distances(embed, images, crowd))


def _from_itself(embed: Embed, images: Array, crowd: Crowd) -> Array:
    guides = ATTACKS["sma"].guides(AttackInput(clean_features=crowd.own))
    assert guides is not None
    return signed_guides(embed, guides)(images)


def _to_the_furthest(embed: Embed, images: Array, crowd: Crowd) -> Array:
    count = len(crowd.people)
    means = crowd.everyone.reshape(count, -1, crowd.everyone.shape[1]).mean(axis=1)
    furthest = furthest_other(crowd.own, crowd.identities, means, crowd.people)
    everyone = jnp.broadcast_to(crowd.everyone, (len(images), *crowd.everyone.shape))
    given = AttackInput(
        push=everyone,
        push_mask=crowd.same,
        pull=means[furthest.indices],
        pull_mask=furthest.mask,
    )
    guides = ATTACKS["fna"].guides(given)
    assert guides is not None
    return signed_guides(embed, guides)(images)


OBJECTIVES: dict[LearnedBy, Climbed] = {
    "ap": _precision,
    "sma": _from_itself,
    "fna": _to_the_furthest,
    "generator": _mis_ranked,
}
"""Name -> what is climbed."""
