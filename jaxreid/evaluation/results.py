"""What came of a condition: its result, what is shown of it, and how both are written."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxreid.errors import reason_of
from jaxreid.evaluation.adversarial import Adversarial
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import Plan, RetrievalTest
from jaxreid.evaluation.scoring import Scored
from jaxreid.evaluation.timing import Stopwatch
from jaxreid.records import (
    Condition,
    Examples,
    FeatureMap,
    Result,
    RunFolder,
    VerificationCurve,
)
from jaxreid.types import Embedded

__all__ = ["Evaluated", "counted", "result_of", "without_gradient", "write"]


class Evaluated(NamedTuple):
    """What came of a condition, and what of it is to be shown."""

    result: Result
    scored: Scored
    sets: tuple[Embedded, Embedded]
    examples: Examples | None = None
    map: FeatureMap | None = None
    curve: VerificationCurve | None = None


def write(run: RunFolder, condition: Condition, done: Evaluated) -> None:
    """Writes all of a condition; the line comes last: what is listed is complete."""
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


def counted(result: Result, plan: Plan, attacked: Adversarial) -> Result:
    """A result with its numbers of images: attacked, without a guide, without a gradient."""
    test, _, targets, guidance = plan
    counted = dataclasses.replace(
        result,
        attacked=len(targets.indices),
        unguided=int((~guidance.guided).sum()),
        largest_change=attacked.largest_change,
    )
    return without_gradient(counted, test, targets, attacked.nonfinite, attacked.zero)


def without_gradient(
    result: Result,
    test: RetrievalTest,
    targets: Targets,
    nonfinite: np.ndarray,
    zero: np.ndarray,
) -> Result:
    """A result that counts images without a gradient, [T] booleans, and names the first."""
    either, first = nonfinite | zero, ""
    if either.any():
        position = int(targets.indices[int(either.argmax())])
        first = str(test.source(result.condition.side).file_names[position])
    return dataclasses.replace(
        result,
        nonfinite_gradients=int(nonfinite.sum()),
        zero_gradients=int(zero.sum()),
        first_without_gradient=first,
    )


def result_of(condition: Condition, scored: Scored, watch: Stopwatch) -> Result:
    """The result of a condition as far as the ranking and the clock know it."""
    seconds, compile_seconds = watch.read()
    return Result(
        condition,
        scored.scores,
        scored.reranked,
        seconds=seconds,
        compile_seconds=compile_seconds,
    )
