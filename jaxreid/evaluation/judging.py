"""What is said of a result beside its scores: who is taken for whom."""

import dataclasses

from jaxreid.evaluation.impersonation import impersonated, sought_people
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.verification import Verifier
from jaxreid.records import Condition, Result, VerificationCurve
from jaxreid.types import Embedded

__all__ = ["is_judged", "judged"]


def judged(
    test: RetrievalTest,
    condition: Condition,
    result: Result,
    sets: tuple[Embedded, Embedded],
    verifier: Verifier | None,
) -> tuple[Result, VerificationCurve | None]:
    """Adds how often queries are found as whom they aim at, and the pairs under thresholds.

    Args:
        test: the retrieval test.
        condition: of the result.
        result: its scores.
        sets: queries and gallery after the attack.
        verifier: judges pairs; None for no verification.

    Returns:
        The result with what belongs to it, and the curve of the verification.
    """
    sought = None
    if condition.goal == "impersonate":
        sought = sought_people(test, condition)
        aimed = impersonated(test, condition, sets, sought)
        result = dataclasses.replace(result, impersonation=aimed)
    if verifier is None:
        return result, None
    found = verifier(test, sets, condition.distance, sought)
    return dataclasses.replace(result, verification=found.numbers), found.curve


def is_judged(result: Result, verifier: Verifier | None) -> bool:
    """Whether a result has the verification that is asked for, by the same people's thresholds."""
    if verifier is None:
        return True
    found = result.verification
    return found is not None and found.chosen_on == verifier.chosen_on
