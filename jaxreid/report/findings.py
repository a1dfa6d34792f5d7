"""Sentences on what the results show, in plain words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.report.groups import Outcome
from jaxreid.report.recognition import (
    checked,
    impersonated,
    told_impersonations,
    told_verifications,
)
from jaxreid.report.style import percent
from jaxreid.report.summary import RunSummary, Summary
from jaxreid.report.verdicts import worst_case_sentences
from jaxreid.report.wording import SAME, UNCHANGED, attacker, listed

__all__ = ["Finding", "describe_findings"]

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Finding:
    """What one run shows, or two beside each other.

    Attributes:
        run: label of the run; "" for a comparison, whose headline names both.
        headline: one sentence.
        rest: more sentences.
    """

    run: str
    headline: str
    rest: list[str]


def describe_findings(summary: Summary) -> list[Finding]:
    """Says what the results show.

    Args:
        summary: of the runs.

    Returns:
        Runs in their order, then comparisons with the first run; plain text, not HTML.
    """
    found = []
    for run in summary.by_run.values():
        headline, *rest = _of_impersonation(summary, run) or _of_run(run)
        fullest = run.group is summary.groups[0]
        aside = [] if fullest else [f"Setting: {run.group.panel.title}."]
        found.append(Finding(run.label, headline, rest + aside))
    first, *others = [summary.by_run.get(run.label) for run in summary.runs]
    for other in others:
        if first and other and first.group is other.group and first.group.panel.goal == "evade":
            found += [Finding("", text, []) for text in _compare(first, other)]
    return found


def _of_impersonation(summary: Summary, run: RunSummary) -> list[str]:
    """What is said of a run in which nobody hides, and some want to be found as others."""
    if run.group.panel.goal == "evade":
        return []
    aimed = told_impersonations(impersonated(summary, run.label), run.group.eps or 0.0)
    return aimed and [*aimed, *told_verifications(checked(summary, run.label))]


def _of_run(run: RunSummary) -> Iterator[str]:
    worst = run.strongest
    clean_rank1 = run.clean_score("rank1")
    if worst is None:
        yield from _of_clean_images(run)
        return
    if worst.is_worst_case:
        yield from worst_case_sentences(run, worst)
        yield from _aside(run, worst)
        return
    yield _headline(run, worst)
    rank1 = worst.point.spread(run.group.protocol, "rank1")
    if rank1 and clean_rank1:
        yield (
            f"The first image found shows the right person in {percent(clean_rank1.mean)} of all "
            f"searches before the attack, and in {percent(rank1.mean)} after it."
        )
    yield from _other_attacks(run.outcomes)
    yield from _aside(run, worst)


def _aside(run: RunSummary, worst: Outcome) -> Iterator[str]:
    """What noise does, and the budget that is enough."""
    if clean := run.clean_score():
        yield from _noise(run.outcomes, clean.mean)
        yield from _halved(run, worst, clean.mean)


def _of_clean_images(run: RunSummary) -> Iterator[str]:
    clean = run.clean_score()
    if clean is None:
        yield "No figure to sum up: see all results."
        return
    rank1 = run.clean_score("rank1") or clean
    yield (
        f"On clean images, mAP is {percent(clean.mean)}, and the first image found shows "
        f"the right person in {percent(rank1.mean)} of all searches."
    )
    yield "No attack has been scored yet."


def _headline(run: RunSummary, worst: Outcome) -> str:
    clean, count = run.clean_score(), len(run.outcomes)
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    how = f"{worst.name}, the strongest of {number} attacks" if count > 1 else worst.name
    who, now = attacker(run.group.panel, worst.point.eps), percent(worst.remaining)
    if clean is None:
        return f"{who} leaves an mAP of {now} ({how})."
    before = percent(clean.mean)
    if worst.remaining > clean.mean - UNCHANGED:
        return f"{who} does not lower mAP: {before} before and {now} after ({how})."
    return f"{who} brings mAP from {before} to {now} ({how})."


def _other_attacks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The other attacks that follow gradients, from the strongest."""
    worst, *others = outcomes
    others = [outcome for outcome in others if not outcome.is_noise]
    equal = [outcome for outcome in others if outcome.remaining - worst.remaining < SAME]
    weaker = [outcome for outcome in others if outcome not in equal]
    if equal:
        names = listed([f"{outcome.name} ({percent(outcome.remaining)})" for outcome in equal])
        yield f"{names} {'is' if len(equal) == 1 else 'are'} as strong, within one point."
    if weaker:
        names = listed([f"{one.name} leaves {percent(one.remaining)}" for one in weaker])
        yield f"{names}."


def _noise(outcomes: Sequence[Outcome], clean: float) -> Iterator[str]:
    noise = next((outcome for outcome in outcomes if outcome.is_noise), None)
    if noise is None or len(outcomes) == 1:
        return
    drop, worst_drop = clean - noise.remaining, clean - outcomes[0].remaining
    if worst_drop > 0.05 and drop < worst_drop / 4:
        yield (
            f"Random noise of the same size leaves {percent(noise.remaining)}: the harm lies in "
            "where the change points, not in its size."
        )
    elif noise is not outcomes[0]:
        yield f"Random noise of the same size leaves {percent(noise.remaining)}."


def _halved(run: RunSummary, worst: Outcome, clean: float) -> Iterator[str]:
    """The smallest budget that was tried at which half of mAP is gone."""
    for point in worst.curve.points:
        spread = point.spread(run.group.protocol)
        smaller = point.eps < worst.point.eps
        if spread and smaller and 0 < spread.mean < clean / 2:
            budget = run.group.panel.budget(point.eps)
            yield f"A budget of {budget} is enough to lose half: {percent(spread.mean)} is left."
            return


def _compare(first: RunSummary, other: RunSummary) -> Iterator[str]:
    """A run beside the first one: each under the attack that is strongest against it."""
    one, two = _alike(first, other)
    if not one or not two or one.point.eps != two.point.eps:
        return
    budget = first.group.panel.budget(one.point.eps)
    each, when = f"{_left(two)} against {_left(one)}", "under its strongest attack"
    no_better, times = f"resists the strongest attack no better than {first.label}", ""
    if one.is_worst_case:
        when, no_better = "in the worst case", f"is no better in the worst case than {first.label}"
    if abs(two.remaining - one.remaining) < SAME:
        verdict = no_better
    elif two.remaining > one.remaining:
        verdict = f"keeps more mAP {when}"
        if one.remaining > UNCHANGED:
            times = f", {two.remaining / one.remaining:.1f} times as much"
    else:
        verdict = f"keeps less mAP {when}"
    yield f"At {budget}, {other.label} {verdict}: {each}{times}{_price(first, other)}."


def _alike(first: RunSummary, other: RunSummary) -> tuple[Outcome | None, Outcome | None]:
    """The worst case of both, or, where one has none or another one, the strongest attack."""
    one, two = first.worst_case, other.worst_case
    if one and two and one.curve.kind == two.curve.kind:
        return one, two
    runs = (first, other)
    if all(run.worst_case is None for run in runs):
        return first.strongest, other.strongest
    singles = [[o for o in run.outcomes if o.is_single or o.is_noise] for run in runs]
    strongest = [next(iter(found), None) for found in singles]
    return strongest[0], strongest[1]


def _left(outcome: Outcome) -> str:
    left = percent(outcome.remaining)
    return left if outcome.is_worst_case else f"{left} ({outcome.name})"


def _price(first: RunSummary, other: RunSummary) -> str:
    one, two = first.clean_score(), other.clean_score()
    if not one or not two:
        return ""
    change = two.mean - one.mean
    if abs(change) < UNCHANGED:
        return "; clean mAP is the same"
    points = f"{abs(100 * change):.1f} points"
    return f"; clean mAP is {points} {'higher' if change > 0 else 'lower'}"
