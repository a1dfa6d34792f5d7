"""A run in two or three numbers, the first thing that a reader sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxreid.records import Card, Spread
from jaxreid.report.canvas import INK
from jaxreid.report.groups import Outcome
from jaxreid.report.recognition import Aimed
from jaxreid.report.summary import RunSummary

__all__ = ["Bar", "Headline", "headline_of"]

_CLEAN = "var(--ink-soft)"


@dataclass(frozen=True)
class Bar:
    """One number of a headline.

    Attributes:
        value: share in [0, 1].
        what: behind the number, such as "mAP on clean images".
        colour: of the bar, in CSS.
    """

    value: Spread
    what: str
    colour: str


@dataclass(frozen=True)
class Headline:
    """A run in a few numbers.

    Attributes:
        run: its label.
        bars: where the worst case is known: it first, then what the strongest published attack
            leaves, then clean images; else clean images and the strongest attack.
        note: that an audit distrusts the figures, or "".
    """

    run: str
    bars: list[Bar]
    note: str = ""


def headline_of(run: RunSummary, card: Card | None = None, aimed: Sequence[Aimed] = ()) -> Headline:
    """The numbers of a run where it is best judged.

    Args:
        run: of which to tell.
        card: of its audit, if there was one.
        aimed: its impersonations, which come first where nobody hides.
    """
    count = len(card.raised) if card else 0
    note = f"An audit raised {count} flag{'s' if count > 1 else ''}" if count else ""
    aiming = aimed and run.group.panel.goal == "impersonate"
    bars = _of_impersonation(run, aimed) if aiming else _bars(run)
    return Headline(run.label, list(bars), note)


def _of_impersonation(run: RunSummary, aimed: Sequence[Aimed]) -> Iterator[Bar]:
    """How often the best impersonation succeeds; clean images, to know what a search is worth."""
    eps = run.group.eps or 0.0
    best = min(aimed, key=lambda one: (abs(one.eps - eps), -one.figures.first))
    what = f"of searches find the person first whom the attacker aims at, at {best.budget}"
    yield Bar(Spread.of([best.figures.first]), what, "var(--ink)")
    if clean := run.clean_score():
        yield Bar(clean, "mAP on clean images", _CLEAN)


def _bars(run: RunSummary) -> Iterator[Bar]:
    clean, worst = run.clean_score(), run.worst_case
    if worst is None:
        if clean:
            yield Bar(clean, "mAP on clean images", _CLEAN)
        if run.strongest:
            yield _bar(run, run.strongest, f"mAP under {run.strongest.name}")
        return
    quick = " of a quick search" if worst.is_quick else ""
    yield _bar(run, worst, f"mAP in the worst case{quick}")
    published = [one for one in run.outcomes if one.is_published]
    if published:
        which = "strongest published attack" if published[1:] else "only published attack tried"
        yield _bar(run, published[0], f"mAP under {published[0].name}", f", the {which}")
    if clean:
        yield Bar(clean, "mAP on clean images", _CLEAN)


def _bar(run: RunSummary, outcome: Outcome, what: str, aside: str = "") -> Bar:
    colour = outcome.style.colour
    budget = run.group.panel.budget(outcome.point.eps)
    # The ink of figures is dark, that of the page depends on its mode.
    text = f"{what} at {budget}{aside}"
    return Bar(outcome.spread, text, "var(--ink)" if colour == INK else colour)
