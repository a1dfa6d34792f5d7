"""Sentences on what the results show, in plain words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.budgets import exact
from jaxreid.report.style import percent
from jaxreid.report.summary import Outcome, RunSummary, Summary

__all__ = ["Finding", "describe_findings"]

# Two attacks whose mAP differs by less than this share are called equally strong.
_SAME = 0.01
# A twentieth of a point: smaller changes of mAP do not show in a sentence.
_UNCHANGED = 0.0005
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
        headline, *rest = _of_run(run)
        fullest = run.group is summary.groups[0]
        aside = [] if fullest else [f"Setting: {run.group.panel.title}."]
        found.append(Finding(run.label, headline, rest + aside))
    first, *others = [summary.by_run.get(run.label) for run in summary.runs]
    for other in others:
        if first and other and first.group is other.group:
            found += [Finding("", text, []) for text in _compare(first, other)]
    return found


def _of_run(run: RunSummary) -> Iterator[str]:
    worst, clean = run.strongest, run.clean_score()
    clean_rank1 = run.clean_score("rank1")
    if worst is None:
        yield from _of_clean_images(run)
        return
    yield _headline(run, worst)
    rank1 = worst.point.spread(run.group.protocol, "rank1")
    if rank1 and clean_rank1:
        yield (
            f"The first image found shows the right person in {percent(clean_rank1.mean)} of all "
            f"searches before the attack, and in {percent(rank1.mean)} after it."
        )
    yield from _other_attacks(run.outcomes)
    if clean:
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
    attacker, now = _attacker(run, worst.point.eps), percent(worst.remaining)
    if clean is None:
        return f"{attacker} leaves an mAP of {now} ({how})."
    before = percent(clean.mean)
    if worst.remaining > clean.mean - _UNCHANGED:
        return f"{attacker} does not lower mAP: {before} before and {now} after ({how})."
    return f"{attacker} brings mAP from {before} to {now} ({how})."


def _attacker(run: RunSummary, eps: float) -> str:
    panel = run.group.panel
    images = "a query" if panel.side == "query" else "the gallery images"
    if panel.norm == "linf":
        return f"An attacker who changes no pixel of {images} by more than {exact(eps)}/255"
    each = "a query" if panel.side == "query" else "each gallery image"
    return f"An attacker whose change of {each} has a length of at most {exact(eps)} (L2)"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _other_attacks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The other attacks that follow gradients, from the strongest."""
    worst, *others = outcomes
    others = [outcome for outcome in others if not outcome.is_noise]
    equal = [outcome for outcome in others if outcome.remaining - worst.remaining < _SAME]
    weaker = [outcome for outcome in others if outcome not in equal]
    if equal:
        names = _listed([f"{outcome.name} ({percent(outcome.remaining)})" for outcome in equal])
        yield f"{names} {'is' if len(equal) == 1 else 'are'} as strong, within one point."
    if weaker:
        names = _listed([f"{one.name} leaves {percent(one.remaining)}" for one in weaker])
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
    one, two = first.strongest, other.strongest
    if not one or not two or one.point.eps != two.point.eps:
        return
    budget = first.group.panel.budget(one.point.eps)
    each = f"{percent(two.remaining)} ({two.name}) against {percent(one.remaining)} ({one.name})"
    if abs(two.remaining - one.remaining) < _SAME:
        verdict, times = f"resists the strongest attack no better than {first.label}", ""
    elif two.remaining > one.remaining:
        verdict, times = "keeps more mAP under its strongest attack", ""
        if one.remaining > _UNCHANGED:
            times = f", {two.remaining / one.remaining:.1f} times as much"
    else:
        verdict, times = "keeps less mAP under its strongest attack", ""
    yield f"At {budget}, {other.label} {verdict}: {each}{times}{_price(first, other)}."


def _price(first: RunSummary, other: RunSummary) -> str:
    one, two = first.clean_score(), other.clean_score()
    if not one or not two:
        return ""
    change = two.mean - one.mean
    if abs(change) < _UNCHANGED:
        return "; clean mAP is the same"
    points = f"{abs(100 * change):.1f} points"
    return f"; clean mAP is {points} {'higher' if change > 0 else 'lower'}"
