"""How much of a retrieval test an attack leaves: condition by condition, written as it is known."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation.adversarial import attacked_again, attacked_features
from jaxreid.evaluation.examples import (
    example_queries,
    examples_of,
    feature_map,
    first_items,
    strongest,
)
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.learned import refuse_unlearned
from jaxreid.evaluation.progress import Meter
from jaxreid.evaluation.results import Evaluated, counted, result_of, without_gradient, write
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.runs import held_by_run
from jaxreid.evaluation.stored_images import StoredImages
from jaxreid.evaluation.timing import stopwatch
from jaxreid.evaluation.universal import Perturbation
from jaxreid.evaluation.verification import Verifier, is_verified, with_recognition
from jaxreid.evaluation.worst import forget, worst_case
from jaxreid.evaluation.wrong_camera import with_wrong_camera
from jaxreid.records import (
    Condition,
    Member,
    Result,
    RunFolder,
)
from jaxreid.sharding import from_first_process

__all__ = ["robustness"]


def robustness(
    test: RetrievalTest,
    conditions: Sequence[Condition],
    *,
    run: RunFolder | None = None,
    examples: int = 6,
    stored: StoredImages | None = None,
    verifier: Verifier | None = None,
    surrogates: Mapping[str, RetrievalTest] | None = None,
    perturbations: Mapping[str, Perturbation] | None = None,
    on_result: Callable[[Result], None] | None = None,
    on_member: Callable[[Condition, Member], None] | None = None,
) -> list[Result]:
    """Attacks a retrieval test and ranks what comes out, for every condition in turn.

    Clean features are extracted once. Each result is written as soon as it is known, and one that
    the folder holds already is not computed again, so an interrupted sweep goes on where it was.
    Attacks see the gradient of the embedding that is ranked, or of the condition's surrogate;
    images of identity 0 (distractors) and -1 (junk) are never attacked, and nobody guides itself.
    At eps 0, and for an image without any guide, the clean features stand, bit by bit. All devices
    of all processes share every batch; with several processes each must call this alike, and the
    first one writes.

    Args:
        test: the embedding, the queries and the gallery; its progress counts the attacks, too.
        conditions: from `conditions`, or your own; their seeds, eps and steps may differ freely.
        run: where to write; None to return the results only.
        examples: queries to show of the strongest budget of each attack; 0 for none.
        perturbations: the conditions' surrogates -> what was learned, for conditions of such.
        stored: adversarial images to rank in place of attacking; the conditions beside the clean
            one must be that of their manifest.
        verifier: adds a verification to every result; None for none. A result of the folder that
            lacks it, or has it by other thresholds, is evaluated anew.
        surrogates: the conditions' surrogates -> tests of those networks on the same splits: their
            gradients and guides make the images that this test's network is to rank.
        on_result: called with each new result.
        on_member: called with an ensemble's condition and each attack of it that is done.

    Returns:
        One Result per condition, in their order, each condition once.

    Raises:
        InputError: bad conditions, no query with a match, images that cannot be decoded, features
            that are no finite [B,D] array.
        OSError: the folder cannot be written any more, as on a full disk; what it lists is
            complete, and the same call goes on from there.
    """
    if examples < 0:
        raise InputError(f"examples must be at least 0, got {examples}")
    surrogates, perturbations = surrogates or {}, perturbations or {}
    wanted = _each_once(conditions, stored, surrogates, perturbations)
    test.refuse_matchless()
    with held_by_run(run.path) if run is not None else contextlib.nullcontext():
        # Not before: whoever had the folder may have added to it.
        known = {r.condition: r for r in run.results()} if run is not None else {}
        damaged = set(run.damaged()) & set(wanted) if run is not None else set()
        known = {
            condition: result
            for condition, result in known.items()
            if condition not in damaged and is_verified(result, verifier)
        }
        todo = _missing(wanted, known)
        pictured = {*strongest(wanted), *damaged} if examples else set()
        folder = None if run is None else run.path
        sweep = _Sweep(
            test, stored, Meter(test, todo), folder, on_member, surrogates, perturbations
        )
        for condition in todo:
            one = _ensemble if condition.is_ensemble else _evaluated
            done = one(sweep, condition, examples if condition in pictured else 0)
            result, curve = with_recognition(test, done.result, done.sets, verifier)
            done = done._replace(result=result, curve=curve)
            if run is not None and is_main_process():
                write(run, condition, done)
                forget(run.path, condition)
            known[condition] = done.result
            if on_result is not None:
                on_result(done.result)
    return [known[condition] for condition in wanted if condition in known]


def _is_clean(condition: Condition) -> bool:
    return condition.attack == "clean"


def _each_once(
    conditions: Sequence[Condition],
    stored: StoredImages | None,
    surrogates: Mapping[str, RetrievalTest],
    perturbations: Mapping[str, Perturbation],
) -> list[Condition]:
    """The conditions in their one form; refused where images or networks are of other ones."""
    wanted = list(dict.fromkeys(canonical(condition) for condition in conditions))
    for condition in wanted:
        if stored is not None and not _is_clean(condition) and condition != stored.condition:
            raise InputError(f"the stored images are of {stored.condition.key} and nothing else")
        if condition.is_learned:
            refuse_unlearned(condition, perturbations)
        elif condition.surrogate and condition.surrogate not in surrogates:
            raise InputError(
                f"no surrogate {condition.surrogate!r} is given; expected one of "
                f"{', '.join(surrogates) or 'those in surrogates'}"
            )
    return wanted


def _missing(wanted: list[Condition], known: dict[Condition, Result]) -> list[Condition]:
    """What is left to do, as the first process sees it: the others may not see its folder."""
    missing = np.array([condition not in known for condition in wanted], bool)
    missing = from_first_process(missing)
    return [condition for condition, left in zip(wanted, missing, strict=True) if left]


class _Sweep(NamedTuple):
    """What all conditions of a sweep share."""

    test: RetrievalTest
    stored: StoredImages | None
    meter: Meter
    folder: Path | None
    on_member: Callable[[Condition, Member], None] | None
    surrogates: Mapping[str, RetrievalTest]
    perturbations: Mapping[str, Perturbation]

    def attacker(self, condition: Condition) -> RetrievalTest:
        """The test whose network is attacked."""
        elsewhere = condition.surrogate and not condition.is_learned
        return self.surrogates[condition.surrogate] if elsewhere else self.test

    def learned(self, condition: Condition) -> Perturbation | None:
        """What was learned before, if the condition is of such."""
        return self.perturbations[condition.surrogate] if condition.is_learned else None


def _evaluated(sweep: _Sweep, condition: Condition, examples: int) -> Evaluated:
    """Attacks, ranks and illustrates one condition."""
    test = sweep.test
    if _is_clean(condition):
        with stopwatch() as watch:
            scored = test.clean_score(condition.distance)
            result = result_of(condition, scored, watch)
        return Evaluated(with_wrong_camera(test, result), scored, test.sets(condition))
    # Before the clock starts: clean features and their ranking are shared by all attacks.
    test.clean(condition.distance)
    chosen = np.zeros(0, np.int64)
    if examples:
        chosen = example_queries(test.clean_score(condition.distance).per_query, examples)
    with stopwatch() as watch:
        plan, learned = sweep.attacker(condition).plan(condition), sweep.learned(condition)
        attacked = attacked_features(
            plan,
            test,
            show=test.ranked[chosen] if condition.side == "query" else chosen[:0],
            stored=sweep.stored,
            perturbation=learned,
            progress=sweep.meter.within,
        )
        sets = test.sets(condition, (plan.targets.indices, attacked.features))
        scored = test.score(*sets, condition.distance)
        result = counted(result_of(condition, scored, watch), plan, attacked)
    sweep.meter.finish(condition)
    if not len(chosen):
        return Evaluated(result, scored, sets)
    after, pictures = first_items(*sets, chosen, condition), attacked.pictures
    if condition.side == "gallery":
        pictures = attacked_again(
            plan, positions=np.unique(after[0]), stored=sweep.stored, perturbation=learned
        )
    return Evaluated(
        result,
        scored,
        sets,
        examples_of(test, condition, chosen, after, pictures),
        feature_map(test, condition, chosen, test.targets(condition), attacked.features),
    )


def _ensemble(sweep: _Sweep, condition: Condition, examples: int) -> Evaluated:
    """Runs an ensemble, and illustrates the images of least average precision."""
    test, on_member = sweep.test, sweep.on_member
    chosen = np.zeros(0, np.int64)
    if examples:
        chosen = example_queries(test.clean_score(condition.distance).per_query, examples)
    with stopwatch() as watch:
        found = worst_case(
            test,
            condition,
            folder=sweep.folder,
            progress=sweep.meter.within,
            on_member=None if on_member is None else partial(on_member, condition),
        )
        seconds, compile_seconds = watch.read()
    sweep.meter.finish(condition)
    result = Result(
        condition,
        found.scored.scores,
        found.scored.reranked,
        attacked=len(found.targets.indices),
        # An earlier run may have done a part of it.
        seconds=max(seconds, found.seconds),
        compile_seconds=compile_seconds,
        largest_change=found.largest_change,
        worst=found.worst,
    )
    result = without_gradient(result, test, found.targets, found.nonfinite, found.zero)
    if not len(chosen):
        return Evaluated(result, found.scored, found.sets)
    after = first_items(*found.sets, chosen, condition)
    adversarial, pictures = found.features[found.kind], found.pictures()
    return Evaluated(
        result,
        found.scored,
        found.sets,
        examples_of(test, condition, chosen, after, pictures),
        feature_map(test, condition, chosen, found.targets, adversarial),
    )
