"""Sentences on the worst case, and on what published attacks claimed to be left."""

from collections.abc import Iterator, Sequence

from jaxreid.report.groups import Outcome
from jaxreid.report.style import percent
from jaxreid.report.summary import RunSummary
from jaxreid.report.wording import SAME, UNCHANGED, attacker, listed

__all__ = ["worst_case_sentences"]


def worst_case_sentences(run: RunSummary, worst: Outcome) -> Iterator[str]:
    """What is left in the worst case, first; then what other attacks claimed to be left."""
    yield _headline(run, worst)
    if worst.is_quick:
        yield (
            "This search was a quick one, for a first look: the one in full may leave still less "
            "(`jaxreid evaluate --attacks worst`)."
        )
    yield from _overstated(run, worst)
    yield from _less_known(run)


def _headline(run: RunSummary, worst: Outcome) -> str:
    clean, who = run.clean_score(), attacker(run.group.panel, worst.point.eps)
    now = percent(worst.remaining)
    if clean is None:
        return f"{who} leaves an mAP of {now} in the worst case."
    before = percent(clean.mean)
    if worst.remaining > clean.mean - UNCHANGED:
        return f"{who} does not lower mAP in the worst case: {before} before and {now} after."
    return f"{who} brings mAP from {before} to {now} in the worst case."


def _overstated(run: RunSummary, worst: Outcome) -> Iterator[str]:
    """The strongest published attack, beside the worst case; then the others."""
    published = [one for one in run.outcomes if one.is_published]
    ours = [one for one in run.outcomes if one.is_single and not one.is_published]
    if published:
        strongest, *others = published
        among = "the strongest published attack" if others else "the only published attack tried"
        left, least = percent(strongest.remaining), percent(worst.remaining)
        text = f"{strongest.name}, {among}, leaves {left}; the worst case leaves {least}"
        gap = strongest.remaining - worst.remaining
        if gap < -UNCHANGED:
            yield f"{text}: the search for the worst case was too weak."
        elif gap < SAME:
            yield f"{text}: here that attack says nearly all."
        else:
            times = f", {strongest.remaining / worst.remaining:.1f} times as much"
            yield (
                f"{text}: by that attack alone one would claim {100 * gap:.1f} points too much"
                f"{times if worst.remaining > UNCHANGED else ''}."
            )
    yield from _found_first(run, worst, published)
    if others := [*published[1:], *ours]:
        names = [f"{one.name} leaves {percent(one.remaining)}" for one in others]
        yield f"{listed(names)}."


def _found_first(run: RunSummary, worst: Outcome, published: Sequence[Outcome]) -> Iterator[str]:
    """Searches that find the right person first: clean, by the strongest attack, and at worst."""
    protocol = run.group.protocol
    before, after = run.clean_score("rank1"), worst.point.spread(protocol, "rank1")
    if before and after:
        claimed = [(one.name, one.point.spread(protocol, "rank1")) for one in published[:1]]
        under = [f"in {percent(left.mean)} under {name}" for name, left in claimed if left]
        rest = listed([*under, f"in {percent(after.mean)} in the worst case"])
        yield (
            f"The first image found shows the right person in {percent(before.mean)} of all "
            f"searches before the attack, {rest}."
        )


def _less_known(run: RunSummary) -> Iterator[str]:
    """Ensembles that know less than the gallery, so that nobody takes them for the worst case."""
    knows = {"guides": "knows other images of the people, but not the gallery,"}
    knows["self"] = "knows the attacked image alone"
    parts = [
        f"{percent(one.remaining)} where the attacker {knows[one.curve.condition.knowledge]}"
        for one in run.outcomes
        if one.curve.condition.is_ensemble and one.curve.condition.knowledge in knows
    ]
    if parts:
        yield f"The same attacks leave {listed(parts).rstrip(',')}."
