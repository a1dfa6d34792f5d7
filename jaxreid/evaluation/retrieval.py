"""A retrieval test and its clean features: extracted once, shared by all attacks."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from jaxreid.cameras import MEAN_CAMERA, refuse_unknown_cameras, wanted_cameras
from jaxreid.constants import Distance, Side, Ties
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import carries_arrays, unit_length
from jaxreid.evaluation.features import Clean, LoaderSettings, extract, refuse_indistinct, rows_of
from jaxreid.evaluation.guidance import Guidance, Targets, select_guides
from jaxreid.evaluation.impersonation import sought_people
from jaxreid.evaluation.scoring import (
    Cameras,
    Scored,
    camera_labels,
    evenly_spaced,
    refuse_matchless,
    score,
    with_match,
)
from jaxreid.ranking import KReciprocal
from jaxreid.records import Condition
from jaxreid.sharding import replicated, row_mesh
from jaxreid.types import Embed, Embedded

__all__ = ["Plan", "RetrievalTest"]

Progress = Callable[[str, int, int], None]


class Plan(NamedTuple):
    """An attack on a test: which images, towards and away from which guides.

    Attributes:
        test: the retrieval test.
        condition: the attack; canonical.
        targets: T images.
        guidance: theirs.
    """

    test: "RetrievalTest"
    condition: Condition
    targets: Targets
    guidance: Guidance

    def rows(self, rows: np.ndarray) -> "Plan":
        """The same attack on some of the images: [t] positions among the targets."""
        return self._replace(targets=self.targets.rows(rows), guidance=self.guidance.rows(rows))

    def cameras(self, rows: np.ndarray) -> np.ndarray:
        """Who took the images: int32 [t], of positions [t] among the targets; -1 is padding."""
        cameras = np.asarray(self.test.source(self.condition.side).cameras)[self.targets.indices]
        return np.where(rows < 0, MEAN_CAMERA, cameras[rows]).astype(np.int32)


class RetrievalTest:
    """Queries, a gallery and an embedding: what is attacked and ranked.

    Args:
        embed: images [B,H,W,3] float32 in [0, 1] -> features [B,D]. One that must be told the
            cameras of its images (`jaxreid.models.Embedding.seen_by`) is told those of the splits.
        query: the query split.
        gallery: the gallery split.
        loader: how images are read.
        limit: how many queries to rank, evenly spaced; None for all. The others still guide.
        rerank: settings of k-reciprocal re-ranking; None for none.
        cameras: "differ" for matches that another camera took; "ignore" for images without camera
            labels, where only the query's own image is no match.
        progress: called with (what is done, images done, images in all).

    Raises:
        InputError: a split is empty or has cameras that the network lacks, limit is below 1, or
            cameras is something else.

    Attributes:
        loader: as given.
        progress: as given.
        cameras: as given.
        rerank: as given.
        ranked: int64 [Q], positions of the queries that are ranked.
        embed: as given.
        labels: of the cameras, of queries and gallery, by which own images are left out.
    """

    def __init__(
        self,
        embed: Embed,
        query: ReidSource,
        gallery: ReidSource,
        *,
        loader: LoaderSettings,
        limit: int | None = None,
        rerank: KReciprocal | None = None,
        cameras: Cameras = "differ",
        progress: Progress | None = None,
    ) -> None:
        for name, source in (("query", query), ("gallery", gallery)):
            if len(source) == 0:
                raise InputError(f"the {name} split is empty; expected at least one image")
            refuse_unknown_cameras(wanted_cameras(embed), source.cameras, f"the {name} split")
        self.loader, self.progress = loader, progress
        self.ranked = evenly_spaced(len(query), limit)
        self.embed, self.rerank, self.cameras = embed, rerank, cameras
        self._sources: dict[Side, ReidSource] = {"query": query, "gallery": gallery}
        self.labels = camera_labels(query, gallery, cameras)
        self._clean: dict[str, Clean] = {}
        self._scored: dict[str, Scored] = {}

    def source(self, side: Side) -> ReidSource:
        """A split.

        Args:
            side: "query" or "gallery".

        Returns:
            The split, whole.
        """
        return self._sources[side]

    @cached_property
    def matched(self) -> np.ndarray:
        """Which queries have a match: boolean, for every image of the query split."""
        return with_match(self._sources["query"], self._sources["gallery"], self.labels)

    def refuse_matchless(self) -> None:
        """Refuses a test that has nothing to find.

        Raises:
            InputError: no ranked query has a match.
        """
        query, gallery = self._sources["query"], self._sources["gallery"]
        refuse_matchless(query, gallery, self.ranked, self.matched, self.cameras)

    def attackable(self, side: Side) -> np.ndarray:
        """The images that an attack on a side changes: all but distractors and junk.

        Args:
            side: "query" or "gallery".

        Returns:
            int64 [T], positions in the split, ascending.

        Raises:
            InputError: there are none.
        """
        source = self._sources[side]
        candidates = self.ranked if side == "query" else np.arange(len(source))
        chosen = candidates[np.asarray(source.identities)[candidates] > 0]
        if not len(chosen):
            raise InputError(
                f"nothing to attack: every image of the {side} split is a distractor or junk"
            )
        return chosen

    def clean(self, distance: Distance) -> Clean:
        """Features of both sets, extracted when they are first asked for.

        Args:
            distance: "euclidean" or "cosine".

        Returns:
            Clean.

        Raises:
            InputError: as `extract` does, or if all of the gallery has the same feature.
        """
        if distance not in self._clean:
            embed = unit_length(self.embed) if distance == "cosine" else self.embed
            if carries_arrays(embed):
                # Weights travel to the devices once.
                embed = replicated(embed, row_mesh(self.loader.devices))
            query = self._extracted(embed, "query", before=0)
            gallery = self._extracted(embed, "gallery", before=len(self._sources["query"]))
            refuse_indistinct(np.asarray(gallery.features))
            self._clean[distance] = Clean(embed, query, gallery)
        return self._clean[distance]

    def _extracted(self, embed: Embed, side: Side, *, before: int) -> Embedded:
        images = sum(len(source) for source in self._sources.values())

        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress("clean features", before + done, images)

        source, loader = self._sources[side], self.loader._asdict()
        found = extract(embed, source, **loader, first=before, progress=report)
        return found._replace(cameras=self.labels[side == "gallery"])

    def targets(self, condition: Condition) -> Targets:
        """The images that a condition attacks, with all they may be guided by.

        Args:
            condition: its side, guides and distance.

        Returns:
            Targets.

        Raises:
            InputError: as `attackable` and `clean` do.
        """
        clean = self.clean(condition.distance)
        indices, sought = self.attackable(condition.side), None
        if condition.goal == "impersonate":
            aims = sought_people(self, condition, indices)
            indices, sought = indices[aims > 0], aims[aims > 0]
        attacked = rows_of(getattr(clean, condition.side), indices)
        return Targets(
            indices=indices,
            identities=np.asarray(attacked.identities),
            clean=np.asarray(attacked.features),
            guide_set=getattr(clean, condition.guides),
            among_guides=condition.guides == condition.side,
            sought=sought,
        )

    def plan(self, condition: Condition) -> Plan:
        """Chooses who is attacked, and who guides.

        Args:
            condition: canonical.

        Returns:
            Plan.

        Raises:
            InputError: as `targets` and `select_guides` do.
        """
        targets = self.targets(condition)
        return Plan(self, condition, targets, select_guides(targets, condition))

    def sets(
        self, condition: Condition, changed: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[Embedded, Embedded]:
        """The ranked queries and the gallery, with attacked features in place of clean ones.

        Args:
            condition: its side and distance.
            changed: positions in the attacked split [T] and their features [T,D]; None for the
                clean sets.

        Returns:
            Queries and gallery.
        """
        clean = self.clean(condition.distance)
        sets = {"query": clean.query, "gallery": clean.gallery}
        if changed is not None:
            indices, features = changed
            whole = np.array(sets[condition.side].features)
            whole[indices] = features
            sets[condition.side] = sets[condition.side]._replace(features=whole)
        return rows_of(sets["query"], self.ranked), sets["gallery"]

    def score(
        self,
        query: Embedded,
        gallery: Embedded,
        distance: Distance,
        *,
        ties: Ties = "index",
        rerank: bool = True,
    ) -> Scored:
        """Ranks as this test does.

        Args:
            query: Q queries.
            gallery: N items.
            distance: "euclidean" or "cosine".
            ties: "index" or "pessimistic".
            rerank: whether to re-rank, too, if this test does.

        Returns:
            Scored.
        """
        again, devices = self.rerank if rerank else None, self.loader.devices
        scored = score(query, gallery, distance=distance, rerank=again, ties=ties, devices=devices)
        # Records hold the true cameras, also where the ranking ignored them.
        cameras = np.asarray(self._sources["query"].cameras)[self.ranked]
        return scored._replace(per_query=dataclasses.replace(scored.per_query, cameras=cameras))

    def clean_score(self, distance: Distance) -> Scored:
        """Ranks the clean sets, once.

        Args:
            distance: "euclidean" or "cosine".

        Returns:
            Scored.
        """
        if distance not in self._scored:
            sets = self.sets(Condition(distance=distance))
            self._scored[distance] = self.score(*sets, distance)
        return self._scored[distance]
