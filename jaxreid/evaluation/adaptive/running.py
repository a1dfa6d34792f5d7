"""Attacks on what stands behind a network, by who knows of it and by who does not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from jax.sharding import Mesh

from jaxreid.checks import check_choice, check_count, check_levels, check_number
from jaxreid.constants import LARGEST_SEED, LEVELS, MOST_STEPS, Distance
from jaxreid.data.batches import Batch
from jaxreid.data.loader import evaluation_batches
from jaxreid.errors import InputError
from jaxreid.evaluation.adaptive.outcome import Detector, Outcome, detector_of
from jaxreid.evaluation.adaptive.parts import Parts
from jaxreid.evaluation.adaptive.programs import Form, Rows, Shared, attack_program
from jaxreid.evaluation.defended import detector_text
from jaxreid.evaluation.embeds import as_pytree
from jaxreid.evaluation.features import Subset, refuse_nonfinite
from jaxreid.evaluation.guidance import START, Targets, key_of
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.worst.attacker import Attacker, attacker_of
from jaxreid.ranking import retrievable
from jaxreid.records import (
    AdaptiveAttack,
    AdaptiveAttacks,
    AdaptiveClimb,
    AttackedFeatures,
    Condition,
    Detected,
    Reranked,
)
from jaxreid.sharding import over_rows, replicated, row_mesh, whole_batch

__all__ = ["adaptive_attack"]

# Of one item, or none beside it, there is no order.
_FEWEST = 2


def adaptive_attack(
    test: RetrievalTest,
    climb: AdaptiveClimb,
    *,
    folder: Path | None = None,
    on_attack: Callable[[AdaptiveAttack], None] | None = None,
) -> AdaptiveAttack:
    """Attacks queries behind whose network something stands, knowing of it and not.

    The oblivious attacker climbs ``J(x) = mean_P d(x) - mean_{N_k} d(x)``, d the distances to the
    matches and to the k = 30 nearest others of the gallery. The adaptive one climbs the same of
    the distances that `soft_k_reciprocal` gives to the nearest items of the clean query, or
    `undetected`: J less a penalty above the detector's threshold, of all images met the best one
    below it. Both take `adaptive_ascent` from the same random start with as many steps; the
    adaptive one keeps the other's image where that is better by his own measure. Tramèr et al.,
    "On Adaptive Attacks to Adversarial Example Defenses", NeurIPS 2020,
    https://arxiv.org/abs/2002.08347.

    The threshold is set on the clean images of the gallery, junk left out. What is ranked are
    features of the very images, by the test's own re-ranking. Each batch is kept as it is done;
    the same call goes on after it, and neither the batch size nor the number of devices changes a
    result (up to rounding). One process runs it, on all of its devices.

    Args:
        test: its ranked queries, those that have a match, are attacked; with `rerank` where
            re-ranking stands there.
        climb: what stands there, and how both climb.
        folder: of the run, which is written to; None to write nothing.
        on_attack: called with what is new.

    Returns:
        AdaptiveAttack, as it is in adaptive.json.

    Raises:
        InputError: settings out of range, a defense that draws at random, a test that does not
            re-rank, no query with a match, images that cannot be decoded, features that are not
            finite.
        OSError: the folder cannot be written.
    """
    climb = _checked(climb)
    if isinstance(climb.behind, Reranked) and test.rerank is None:
        raise InputError(
            "the test does not re-rank: give RetrievalTest rerank=KReciprocal() (jaxreid.ranking)"
        )
    test.refuse_matchless()
    before = None if folder is None else AdaptiveAttacks.found(folder)
    known = before.attacks if before else ()
    for one in known:
        if one.climb == climb:
            return one
    parts = Parts(folder, climb)
    attack = _attacked(test, climb, parts)
    if folder is not None:
        AdaptiveAttacks((*known, attack)).save(folder)
        parts.remove()
    if on_attack is not None:
        on_attack(attack)
    return attack


def _checked(climb: AdaptiveClimb) -> AdaptiveClimb:
    """Refuses settings out of range; equal defenses get one name."""
    if not isinstance(climb, AdaptiveClimb):
        raise InputError(f"climb must be an AdaptiveClimb, got a {type(climb).__name__}")
    check_levels("climb.eps", climb.eps)
    check_count("climb.steps", climb.steps, least=1, most=MOST_STEPS)
    check_count("climb.seed", climb.seed, most=LARGEST_SEED)
    check_choice("climb.distance", climb.distance, get_args(Distance))
    # As they are read back, so that equal climbs have equal records.
    climb = dataclasses.replace(
        climb, eps=float(climb.eps), steps=int(climb.steps), seed=int(climb.seed)
    )
    behind = climb.behind
    if isinstance(behind, Reranked):
        check_count("climb.behind.candidates", behind.candidates, least=_FEWEST)
        return climb
    if not isinstance(behind, Detected):
        raise InputError(
            f"climb.behind must be Reranked or Detected, got a {type(behind).__name__}"
        )
    rate, within = behind.false_alarms, "lie in [0, 1)"
    check_number("climb.behind.false_alarms", rate, lambda r: (r >= 0) & (r < 1), within)
    return dataclasses.replace(climb, behind=Detected(detector_text(behind.defense), float(rate)))


def _attacked(test: RetrievalTest, climb: AdaptiveClimb, parts: Parts) -> AdaptiveAttack:
    """Both attacks, and what is left by them."""
    condition = Condition(distance=climb.distance)
    targets = test.targets(condition)
    targets = targets.rows(np.flatnonzero(test.matched[targets.indices]))
    rows, detector = targets.indices, None
    if isinstance(climb.behind, Detected):
        detector = detector_of(test, climb.behind, rows, climb.distance)
    run = _Run(test, climb, targets, attacker_of(test, condition, targets), detector)
    features, scores = run.features(parts)
    outcome = Outcome(test, rows, climb.distance, detector)
    return AdaptiveAttack(
        climb=climb,
        queries=len(rows),
        threshold=None if detector is None else detector.threshold,
        clean=outcome.clean(),
        oblivious=outcome.attacked(features[:, 0], scores[:, 0]),
        adaptive=outcome.attacked(features[:, 1], scores[:, 1]),
    )


class _Run(NamedTuple):
    """Both attackers on all queries."""

    test: RetrievalTest
    climb: AdaptiveClimb
    targets: Targets
    attacker: Attacker
    detector: Detector | None

    def features(self, parts: Parts) -> tuple[np.ndarray, np.ndarray]:
        """Features [T,2,D] and the detector's scores [T,2] of both; known ones are not redone."""
        loader, mesh = self.test.loader, row_mesh(self.test.loader.devices)
        source = Subset(self.test.source("query"), self.targets.indices)
        count = len(source)
        features, scores, done = parts.found(self.targets.clean.shape)
        todo = np.flatnonzero(~done)
        total = whole_batch(loader.batch_size, count, mesh)
        shared, program = self._shared(mesh), over_rows(attack_program(self._form()), mesh)
        batches = evaluation_batches(
            Subset(source, todo),
            total,
            size=loader.size,
            filter=loader.filter,
            workers=loader.workers,
        )
        self._report(count - len(todo))
        with batches:
            # Nothing is done of nothing: an empty split has no batches.
            for first, batch in zip(range(0, len(todo), total), batches, strict=True):
                met = program(shared, self._rows(batch, todo))
                rows = todo[first : first + total]
                for whole, part in zip((features, scores), met, strict=True):
                    whole[rows] = np.asarray(part)[: len(rows)]
                self._refuse_nonfinite(features[rows], Subset(source, rows))
                parts.add(AttackedFeatures(rows, features[rows], scores[rows]))
                self._report(count - len(todo) + first + len(rows))
        return features, scores

    def _form(self) -> Form:
        climb, behind = self.climb, self.climb.behind
        if isinstance(behind, Detected):
            return Form(climb.steps, climb.distance, detector=behind.defense)
        candidates = min(behind.candidates, int(self._takes_part().sum()))
        return Form(climb.steps, climb.distance, self.test.rerank, candidates)

    def _takes_part(self) -> np.ndarray:
        taken: np.ndarray = retrievable(np.asarray(self.attacker.gallery.identities))
        return taken

    def _shared(self, mesh: Mesh) -> Shared:
        threshold = 0.0 if self.detector is None else self.detector.threshold
        shared = Shared(
            embed=as_pytree(self.test.clean(self.climb.distance).embed),
            gallery=self.attacker.gallery.features,
            takes_part=self._takes_part(),
            key=key_of(self.climb.seed, START),
            eps=np.asarray(self.climb.eps / LEVELS, np.float32),
            threshold=np.asarray(threshold, np.float32),
        )
        return replicated(shared, mesh)

    def _rows(self, batch: Batch, todo: np.ndarray) -> Rows:
        """The rows of a batch; padding is attacked as if it were the first query."""
        at = todo[np.maximum(batch.indices, 0)]
        return Rows(
            images=batch.images,
            cameras=batch.cameras,
            position=self.targets.indices[at].astype(np.int32),
            clean=self.targets.clean[at],
            lists=self.attacker.lists(at),
        )

    def _refuse_nonfinite(self, features: np.ndarray, source: Subset) -> None:
        for name, each in zip(("oblivious", "adaptive"), features.swapaxes(0, 1), strict=True):
            try:
                refuse_nonfinite(each, source)
            except InputError as error:
                raise InputError(f"under the {name} attack: {error}") from None

    def _report(self, done: int) -> None:
        if self.test.progress is not None:
            self.test.progress("attacks", done, len(self.targets.indices))
