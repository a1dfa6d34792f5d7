"""How much of a retrieval test an attack leaves: condition by condition, written as it is known."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError, reason_of
from jaxreid.evaluation.adversarial import Adversarial, attacked_again, attacked_features
from jaxreid.evaluation.examples import (
    example_queries,
    examples_of,
    feature_map,
    first_items,
    strongest,
)
from jaxreid.evaluation.grid import canonical
from jaxreid.evaluation.impersonation import impersonated, sought_people
from jaxreid.evaluation.retrieval import Plan, RetrievalTest
from jaxreid.evaluation.runs import held_by_run
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.stored_images import StoredImages
from jaxreid.evaluation.timing import Stopwatch, stopwatch
from jaxreid.evaluation.verification import Verifier
from jaxreid.records import (
    Condition,
    Examples,
    FeatureMap,
    Result,
    RunFolder,
    VerificationCurve,
)
from jaxreid.sharding import from_first_process
from jaxreid.types import Embedded

__all__ = ["robustness"]


def robustness(
    test: RetrievalTest,
    conditions: Sequence[Condition],
    *,
    run: RunFolder | None = None,
    examples: int = 6,
    stored: StoredImages | None = None,
    verifier: Verifier | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Attacks a retrieval test and ranks what comes out, for every condition in turn.

    Clean features are extracted once. Each result is written as soon as it is known, and one that
    the folder holds already is not computed again, so an interrupted sweep goes on where it was.
    Attacks see the gradient of the embedding that is ranked; images of identity 0 (distractors)
    and -1 (junk) are never attacked, and nobody guides itself. At eps 0, and for an image without
    any guide, the clean features stand, bit by bit. All devices of all processes share every
    batch; with several processes each must call this alike, and the first one writes.

    Args:
        test: the embedding, the queries and the gallery; its progress counts the attacks, too.
        conditions: from `conditions`, or your own; their seeds, eps and steps may differ freely.
        run: where to write; None to return the results only.
        examples: queries to show of the strongest budget of each attack; 0 for none.
        stored: adversarial images to rank in place of attacking; the conditions beside the clean
            one must be that of their manifest.
        verifier: adds a verification to every result; None for none. A result of the folder that
            lacks it, or has it by other thresholds, is evaluated anew.
        on_result: called with each new result.

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
    wanted = _each_once(conditions, stored)
    test.refuse_matchless()
    with held_by_run(run.path) if run is not None else contextlib.nullcontext():
        # Not before: whoever had the folder may have added to it.
        known = {r.condition: r for r in run.results()} if run is not None else {}
        damaged = set(run.damaged()) & set(wanted) if run is not None else set()
        known = {
            condition: result
            for condition, result in known.items()
            if condition not in damaged and _is_verified(result, verifier)
        }
        todo = _missing(wanted, known)
        pictured = {*strongest(wanted), *damaged} if examples else set()
        sweep = _Sweep(test, stored, _Meter(test, todo))
        for condition in todo:
            done = _evaluated(sweep, condition, examples if condition in pictured else 0)
            done = _judged(test, condition, done, verifier)
            if run is not None and is_main_process():
                _write(run, condition, done)
            known[condition] = done.result
            if on_result is not None:
                on_result(done.result)
    return [known[condition] for condition in wanted if condition in known]


def _is_clean(condition: Condition) -> bool:
    return condition.attack == "clean"


def _each_once(conditions: Sequence[Condition], stored: StoredImages | None) -> list[Condition]:
    """The conditions in their one form; refused where the stored images are of another one."""
    wanted = list(dict.fromkeys(canonical(condition) for condition in conditions))
    for condition in wanted:
        if stored is not None and not _is_clean(condition) and condition != stored.condition:
            raise InputError(f"the stored images are of {stored.condition.key} and nothing else")
    return wanted


def _missing(wanted: list[Condition], known: dict[Condition, Result]) -> list[Condition]:
    """What is left to do, as the first process sees it: the others may not see its folder."""
    missing = np.array([condition not in known for condition in wanted], bool)
    missing = from_first_process(missing)
    return [condition for condition, left in zip(wanted, missing, strict=True) if left]


class _Meter:
    """Progress over a whole sweep, in images attacked."""

    def __init__(self, test: RetrievalTest, todo: Sequence[Condition]) -> None:
        self._progress, self._before = test.progress, 0
        self._images = {c: _images(test, c) for c in todo}
        self._total = sum(self._images.values())

    def within(self, done: int) -> None:
        """Images of the current condition that are done."""
        if self._progress is not None and self._total:
            self._progress("attacks", self._before + done, self._total)

    def finish(self, condition: Condition) -> None:
        """The current condition is done."""
        self._before += self._images[condition]
        self.within(0)


def _images(test: RetrievalTest, condition: Condition) -> int:
    if condition.eps == 0:
        return 0
    return len(test.attackable(condition.side)) * condition.restarts


class _Sweep(NamedTuple):
    """What all conditions of a sweep share."""

    test: RetrievalTest
    stored: StoredImages | None
    meter: _Meter


class _Evaluated(NamedTuple):
    result: Result
    scored: Scored
    sets: tuple[Embedded, Embedded]
    examples: Examples | None = None
    map: FeatureMap | None = None
    curve: VerificationCurve | None = None


def _write(run: RunFolder, condition: Condition, done: _Evaluated) -> None:
    """The line comes last: what is listed is complete."""
    try:
        for path, part in (
            (run.examples_of(condition), done.examples),
            (run.map_of(condition), done.map),
            (run.verification_of(condition), done.curve),
        ):
            if part is not None:
                part.save(path)
            else:
                # An interrupted run may have left one.
                path.unlink(missing_ok=True)
        run.append(done.result, done.scored.per_query)
    except OSError as error:
        reason = reason_of(error)
        raise OSError(
            error.errno, f"cannot write to {run.path}: {reason}; what it lists is complete"
        ) from error


def _evaluated(sweep: _Sweep, condition: Condition, examples: int) -> _Evaluated:
    """Attacks, ranks and illustrates one condition."""
    test = sweep.test
    if _is_clean(condition):
        with stopwatch() as watch:
            scored = test.clean_score(condition.distance)
            result = _result(condition, scored, watch)
        return _Evaluated(result, scored, test.sets(condition))
    # Before the clock starts: clean features and their ranking are shared by all attacks.
    test.clean(condition.distance)
    chosen = np.zeros(0, np.int64)
    if examples:
        chosen = example_queries(test.clean_score(condition.distance).per_query, examples)
    with stopwatch() as watch:
        plan = test.plan(condition)
        attacked = attacked_features(
            plan,
            show=test.ranked[chosen] if condition.side == "query" else chosen[:0],
            stored=sweep.stored,
            progress=sweep.meter.within,
        )
        sets = test.sets(condition, (plan.targets.indices, attacked.features))
        scored = test.score(*sets, condition.distance)
        result = _counted(_result(condition, scored, watch), plan, attacked)
    sweep.meter.finish(condition)
    if not len(chosen):
        return _Evaluated(result, scored, sets)
    after, pictures = first_items(*sets, chosen, condition), attacked.pictures
    if condition.side == "gallery":
        pictures = attacked_again(plan, positions=np.unique(after[0]), stored=sweep.stored)
    return _Evaluated(
        result,
        scored,
        sets,
        examples_of(test, condition, chosen, after, pictures),
        feature_map(test, condition, chosen, plan.targets, attacked.features),
    )


def _judged(
    test: RetrievalTest, condition: Condition, done: _Evaluated, verifier: Verifier | None
) -> _Evaluated:
    """Adds what is said of whom queries are taken for, beside who is found."""
    sought = None
    if condition.goal == "impersonate":
        sought = sought_people(test, condition)
        aimed = impersonated(test, condition, done.sets, sought)
        done = done._replace(result=dataclasses.replace(done.result, impersonation=aimed))
    if verifier is None:
        return done
    found = verifier(test, done.sets, condition.distance, sought)
    result = dataclasses.replace(done.result, verification=found.numbers)
    return done._replace(result=result, curve=found.curve)


def _is_verified(result: Result, verifier: Verifier | None) -> bool:
    """Whether a result has what is asked for."""
    if verifier is None:
        return True
    found = result.verification
    return found is not None and found.chosen_on == verifier.chosen_on


def _counted(result: Result, plan: Plan, attacked: Adversarial) -> Result:
    """A result with its numbers of images: attacked, without a guide, without a gradient."""
    test, condition, targets, guidance = plan
    either, first = attacked.nonfinite | attacked.zero, ""
    if either.any():
        position = int(targets.indices[int(either.argmax())])
        first = str(test.source(condition.side).file_names[position])
    return dataclasses.replace(
        result,
        attacked=len(targets.indices),
        unguided=int((~guidance.guided).sum()),
        largest_change=attacked.largest_change,
        nonfinite_gradients=int(attacked.nonfinite.sum()),
        zero_gradients=int(attacked.zero.sum()),
        first_without_gradient=first,
    )


def _result(condition: Condition, scored: Scored, watch: Stopwatch) -> Result:
    seconds, compile_seconds = watch.read()
    return Result(
        condition,
        scored.scores,
        scored.reranked,
        seconds=seconds,
        compile_seconds=compile_seconds,
    )
