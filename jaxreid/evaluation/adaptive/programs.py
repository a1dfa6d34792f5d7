"""The compiled program of both attackers: one climbs distances, one what stands behind them."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxreid.attacks import Judged, adaptive_ascent, linf, unchecked
from jaxreid.attacks.climbing import better, chosen
from jaxreid.augmentation import to_float
from jaxreid.constants import NEAREST, Distance
from jaxreid.evaluation.defended import inconsistency, undetected
from jaxreid.evaluation.embeds import features_of_rows
from jaxreid.evaluation.worst.attacker import Lists
from jaxreid.random import example_keys
from jaxreid.ranking import KReciprocal, nearest_others, soft_k_reciprocal
from jaxreid.ranking.lists import ListDistances, SearchLists, list_distances
from jaxreid.types import Array, ArrayLike, Embed, Images, PerImage

__all__ = ["Form", "Met", "Rows", "Shared", "attack_program"]

# Of re-ranking, a share of the largest distance of a row.
_TEMPERATURE = 0.05
# Of a distance above the threshold, in units of what is climbed, which is one, too.
_WEIGHT = 10.0


class Form(NamedTuple):
    """What a program is compiled for.

    Attributes:
        steps: of each attacker.
        distance: by which features are compared.
        rerank: settings of re-ranking; None where a detector stands there.
        candidates: items among which re-ranking is climbed; 0 where there is none.
        detector: its defense; "" where there is none.
    """

    steps: int
    distance: Distance
    rerank: KReciprocal | None = None
    candidates: int = 0
    detector: str = ""


class Shared(NamedTuple):
    """What all rows of a program share.

    Attributes:
        embed: what is attacked.
        gallery: [N,D] clean features.
        takes_part: boolean [N], whether the item is re-ranked: junk and padding are not.
        key: of the starts.
        eps: budget, in pixel range.
        threshold: of the detector, in the unit of the embedding; 0 where there is none.
    """

    embed: Embed
    gallery: ArrayLike
    takes_part: ArrayLike
    key: Array
    eps: ArrayLike
    threshold: ArrayLike


class Rows(NamedTuple):
    """What each row of a program has of its own.

    Attributes:
        images: uint8 [b,H,W,3], clean.
        cameras: int32 [b], who took them; -1 in padding.
        position: int32 [b], in their split.
        clean: [b,D], their features.
        lists: of their searches.
    """

    images: np.ndarray
    cameras: np.ndarray
    position: np.ndarray
    clean: np.ndarray
    lists: Lists


class Met(NamedTuple):
    """The images of both attackers, oblivious and adaptive, as they are ranked.

    Attributes:
        features: [b,2,D].
        scores: [b,2], the detector's; 0 where there is none.
    """

    features: Float[Array, "b 2 D"]
    scores: Float[Array, "b 2"]


class _Scene(NamedTuple):
    """What is around the images of a batch."""

    form: Form
    shared: Shared
    rows: Rows

    def features(self, images: Images) -> Float[Array, "b D"]:
        return features_of_rows(self.shared.embed, images, self.rows.cameras)

    def distances(self, features: ArrayLike) -> ListDistances:
        lists = SearchLists(self.shared.gallery, *self.rows.lists)
        return list_distances(features, lists, distance=self.form.distance)

    def apart(self, images: Images) -> PerImage:
        """Away from all matches and towards the nearest others, by the network's distances."""
        return nearest_others(self.distances(self.features(images)), count=NEAREST)

    def score(self, images: Images) -> PerImage:
        """The detector's; 0 where there is none."""
        if not self.form.detector:
            return jnp.zeros(len(images), jnp.float32)
        embed, cameras = self.shared.embed, self.rows.cameras
        return inconsistency(embed, self.form.detector, cameras=cameras)(images)

    def knowing(self) -> Callable[[Images], Judged]:
        """What is climbed by who knows what stands there, and what decides."""
        if self.form.rerank is None:
            border = self.shared.threshold
            return undetected(self.apart, self.score, threshold=border, weight=_WEIGHT)
        items, matches, others = self._nearest(self.form.candidates)

        def judged(images: Images) -> Judged:
            order = soft_k_reciprocal(
                self.features(images),
                items,
                settings=self.form.rerank,
                temperature=_TEMPERATURE,
                distance=self.form.distance,
            )
            value = nearest_others(ListDistances(order, matches, order, others), count=NEAREST)
            return Judged(value, (value[:, None],))

        return judged

    def _nearest(
        self, count: int
    ) -> tuple[Float[Array, "b C D"], Bool[Array, "b C"], Bool[Array, "b C"]]:
        """The items nearest to the clean queries: features, and whether matches or others."""
        clean, lists = self.distances(self.rows.clean), self.rows.lists
        order = jnp.argsort(jnp.where(self.shared.takes_part, clean.other, jnp.inf), axis=1)
        nearest = order[:, :count]
        each = jnp.arange(len(nearest))[:, None]
        matches = jnp.zeros_like(clean.others).at[each, lists.matches].max(clean.mask)
        gallery = jnp.asarray(self.shared.gallery)
        return gallery[nearest], matches[each, nearest], clean.others[each, nearest]


@cache
def attack_program(form: Form) -> Callable[[Shared, Rows], Met]:
    """(shared, rows) -> what both attackers come to.

    Both set out from the same random start and take as many steps. Who knows what stands there
    keeps the better one, by what decides for him, of his image and the other attacker's.
    """

    @unchecked
    def run(shared: Shared, rows: Rows) -> Met:
        scene, images = _Scene(form, shared, rows), to_float(rows.images)
        climb = partial(
            adaptive_ascent,
            images=images,
            threat=linf(shared.eps),
            steps=form.steps,
            key=example_keys(shared.key, rows.position),
        )
        oblivious, knowing = climb(scene.apart).images, scene.knowing()
        (own,) = climb(knowing).kept
        (known,) = knowing(oblivious).deciding
        adaptive = chosen(better(own.score, known), own.images, oblivious)
        both = (oblivious, adaptive)
        return Met(
            jnp.stack([scene.features(each) for each in both], axis=1),
            jnp.stack([scene.score(each) for each in both], axis=1),
        )

    return run
