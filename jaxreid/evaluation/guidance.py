"""Chooses the guides of the images that are attacked: positions and masks on the host."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import ATTACKS
from jaxreid.errors import InputError
from jaxreid.evaluation.paper import choices
from jaxreid.guides import centroids, furthest_other, nearest_other, random_other, same_identity
from jaxreid.random import example_keys
from jaxreid.records import Condition
from jaxreid.types import Array, Embedded, Selection

__all__ = ["START", "TARGET", "Guidance", "Targets", "key_of", "select_guides"]

# Uses of a seed: what is drawn for one must not depend on what is drawn for another. The starts
# come last, one number for each restart; whom to impersonate is beyond all of them.
_PUSH, _PULL, START = range(3)
TARGET = 1 << 20


class Targets(NamedTuple):
    """The images to attack, and what they may be guided by.

    Attributes:
        indices: int64 [T], positions in their split.
        identities: [T] integer, all above 0.
        clean: [T,D] clean features.
        guide_set: clean features [N,D] of the set of guides, identities and cameras [N].
        among_guides: whether the guide set is the split of the targets; none guides itself.
        sought: int64 [T], whom each wants to be found as; None where none does.
    """

    indices: np.ndarray
    identities: np.ndarray
    clean: np.ndarray
    guide_set: Embedded
    among_guides: bool
    sought: np.ndarray | None = None

    def rows(self, rows: np.ndarray) -> "Targets":
        """Some of the images, [t] positions among them, with the same set of guides."""
        return self._replace(
            indices=self.indices[rows],
            identities=self.identities[rows],
            clean=self.clean[rows],
            sought=None if self.sought is None else self.sought[rows],
        )


class Guidance(NamedTuple):
    """Guides of T images.

    Attributes:
        push: int32 [T,G], positions in the guide set, or None for an attack without.
        push_mask: boolean [T,G], or None.
        pull: int32, positions [T,1] in `means`, or [T,k] in the guide set for an attack that pulls
            towards the nearest images; None for an attack without.
        pull_mask: boolean [T,1] or [T,k], or None.
        means: [K,D], mean feature of each identity of the guide set; [0,D] where none pulls.
        mean_identities: [K] integer.
        guided: boolean [T]; False where there is no guide at all, and nothing will change.
    """

    push: np.ndarray | None
    push_mask: np.ndarray | None
    pull: np.ndarray | None
    pull_mask: np.ndarray | None
    means: np.ndarray
    mean_identities: np.ndarray
    guided: np.ndarray

    def rows(self, rows: np.ndarray) -> "Guidance":
        """The guides of some of the images, [t] positions among them."""
        some = {name: part[rows] for name, part in self._per_image().items()}
        return self._replace(**some)

    @property
    def pulls_images(self) -> bool:
        """Whether images of the guide set pull, and not means of identities."""
        return self.pull is not None and not len(self.means)

    def _per_image(self) -> dict[str, np.ndarray]:
        """The arrays that have a row per image, without those that are None."""
        names = ("push", "push_mask", "pull", "pull_mask", "guided")
        parts = {name: getattr(self, name) for name in names}
        return {name: part for name, part in parts.items() if part is not None}


def key_of(seed: int, use: int) -> Array:
    """The key of one use of a seed, such as START, to be split by the positions of the images."""
    return jax.random.fold_in(jax.random.key(seed), use)


def select_guides(targets: Targets, condition: Condition) -> Guidance:
    """Chooses guides as the attack's row of ATTACKS says.

    A single pushing guide is drawn among the images of the identity, and a random other identity
    among all others: by the seed and the image's position in its split, so that neither budget nor
    batch changes who guides. An impersonation pulls towards the person that is sought. As the
    paper's code, where the condition asks for it, all guides of an identity are the image itself
    too, which also fills the places of missing ones, and the furthest identity is so by Euclidean
    distance. The nearest images are so by the condition's distance. What was learned before needs
    no guides.

    Raises:
        InputError: the guide set shows nobody who can be identified, or the condition is of an
            ensemble.
    """
    if condition.is_ensemble:
        raise InputError(f"{condition.attack} is several attacks; guides are of a single one")
    if condition.is_learned:
        everyone = np.ones(len(targets.identities), bool)
        none = np.zeros((0, targets.clean.shape[1]), np.float32)
        return Guidance(None, None, None, None, none, np.zeros(0, np.int32), everyone)
    attack = ATTACKS[condition.attack]
    push, push_mask = _pushing(targets, condition)
    needs_others = attack.push != "none" or attack.pull != "none"
    guided = np.full(len(targets.identities), not needs_others)
    if push_mask is not None:
        guided |= push_mask.any(axis=1)
    means, names = np.zeros((0, targets.clean.shape[1]), np.float32), np.zeros(0, np.int32)
    if attack.pull == "none":
        return Guidance(push, push_mask, None, None, means, names, guided)
    if attack.pull == "nearest":
        chosen = _nearest(targets, condition)
    else:
        centre = centroids(
            jnp.asarray(targets.guide_set.features), np.asarray(targets.guide_set.identities)
        )
        means, names = np.asarray(centre.features), np.asarray(centre.identities)
        chosen = _of_means(targets, condition, means, names)
    pull, pull_mask = np.asarray(chosen.indices), np.asarray(chosen.mask)
    guided |= pull_mask.any(axis=1)
    return Guidance(push, push_mask, pull, pull_mask, means, names, guided)


def _nearest(targets: Targets, condition: Condition) -> Selection:
    """The nearest images of other people in the guide set."""
    guides = targets.guide_set
    return nearest_other(
        targets.clean,
        targets.identities,
        np.asarray(guides.features),
        np.asarray(guides.identities),
        count=ATTACKS[condition.attack].nearest,
        distance=condition.distance,
    )


def _of_means(
    targets: Targets, condition: Condition, means: np.ndarray, names: np.ndarray
) -> Selection:
    """That of the person who is sought, or the furthest of other people's, or one at random."""
    if targets.sought is not None:
        place = np.searchsorted(names, targets.sought)[:, None]
        return Selection(place.astype(np.int32), np.ones(place.shape, bool))  # type: ignore[arg-type]
    if (by := choices(condition).furthest_by) is None:
        drawn = _keys(condition.seed, _PULL, targets)
        return random_other(targets.identities, names, drawn)
    return furthest_other(targets.clean, targets.identities, means, names, distance=by)


def _pushing(
    targets: Targets, condition: Condition
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Positions and mask of the pushing guides, if the attack has any."""
    push = ATTACKS[condition.attack].push
    if push == "none":
        return None, None
    with_self = choices(condition).pads_with_self
    chosen = same_identity(
        targets.identities,
        np.asarray(targets.guide_set.identities),
        count=1 if push == "one" else None,
        key=_keys(condition.seed, _PUSH, targets) if push == "one" else None,
        own_indices=targets.indices if targets.among_guides else None,
        include_self=with_self,
        pad="self" if with_self else "mask",
    )
    return np.asarray(chosen.indices), np.asarray(chosen.mask)


def _keys(seed: int, use: int, targets: Targets) -> Array:
    return example_keys(key_of(seed, use), targets.indices)
