"""What ranking attacks leave: the ten terms of the score before and after them, drawn and told."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from jaxreid.budgets import named_budget
from jaxreid.records import ERS_TERMS, Climb, Measured, RankingAttack, ers
from jaxreid.report.canvas import (
    GRID,
    HUES,
    INK,
    Picture,
    canvas,
    clipped,
    legend_below,
    picture,
)

__all__ = ["ErsRow", "draw_ers", "ers_rows", "told_climb", "told_measure"]

_SHARES = {
    "rank": "rank, %",
    "guards": "rank of guards, %",
    "rank1": "R@1, %",
    "retained": "in first 4, %",
}
_NUMBERS = {"cosine": "cosine", "shift": "distance"}
_WIDTH = 0.4


class ErsRow(NamedTuple):
    """One row of a table, as it is printed.

    Attributes:
        attack: its name in published tables; "ERS" for the mean of the terms.
        measure: what is measured, and in what unit.
        before: of clean images.
        after: of attacked ones.
        term_before: what the score has of it; "" where it is no term.
        term_after: the same of attacked images.
    """

    attack: str
    measure: str
    before: str
    after: str
    term_before: str
    term_after: str


def ers_rows(attacks: Sequence[RankingAttack]) -> list[ErsRow]:
    """A row per measure, and one for the score where no attack is missing; of one climb."""
    named = {attack.attack: attack for attack in attacks}
    rows = [
        _row(term.title, term.measure, named[term.attack].measured[term.measure], term.of)
        for term in ERS_TERMS
        if term.attack in named
    ]
    for name in [name for name in named if name not in {term.attack for term in ERS_TERMS}]:
        title = f"SP-{name.removeprefix('sp').upper()}"
        rows += [_row(title, *measured) for measured in named[name].measured.items()]
    before, after = ers(attacks, attacked=False), ers(attacks)
    if before is not None and after is not None:
        rows.append(ErsRow("ERS", "", "", "", f"{before:.1f}", f"{after:.1f}"))
    return rows


def _row(
    title: str, measure: str, measured: Measured, of: Callable[[float], float] | None = None
) -> ErsRow:
    terms = ("", "") if of is None else (f"{of(v):.1f}" for v in (measured.before, measured.after))
    return ErsRow(title, *told_measure(measure, measured), *terms)


def told_measure(measure: str, measured: Measured) -> tuple[str, str, str]:
    """What is measured, before and after; shares in %."""
    if measure in _SHARES:
        what, numbers = _SHARES[measure], "{:.1f}"
        measured = Measured(100 * measured.before, 100 * measured.after)
    else:
        what, numbers = _NUMBERS.get(measure, measure), "{:.3f}"
    return what, numbers.format(measured.before), numbers.format(measured.after)


def told_climb(attacks: Sequence[RankingAttack]) -> str:
    """How many trials there were, and how the attacks, of one climb, went about them."""
    climb: Climb = attacks[0].climb
    start = "random start" if climb.random_start else "clean start"
    image = "best iterate" if climb.best_iterate else "last iterate"
    restarts = f", {climb.restarts} starts" if climb.restarts > 1 else ""
    eps, step = (named_budget(value, "linf") for value in (climb.eps, climb.step_size))
    how = f"eps {eps}, {climb.steps} steps of {step}, {start}, {image}{restarts}"
    return f"{attacks[0].trials} trials; {how}"


def draw_ers(attacks: Sequence[RankingAttack], title: str, *, name: str) -> Picture:
    """Draws a pair of bars for each term: the clean images' and the attacked ones'.

    Args:
        attacks: of one climb.
        title: of the run.
        name: fit for a file and for an id.
    """
    named = {attack.attack: attack for attack in attacks}
    terms = [term for term in ERS_TERMS if term.attack in named]
    measured = [named[term.attack].measured[term.measure] for term in terms]
    before = [term.of(one.before) for term, one in zip(terms, measured, strict=True)]
    after = [term.of(one.after) for term, one in zip(terms, measured, strict=True)]
    score = ers(attacks)
    told = "; ".join(
        f"{term.title} {old:.1f} to {new:.1f}"
        for term, old, new in zip(terms, before, after, strict=True)
    )
    with canvas(height=3.7, wide=True) as (figure, (axes,)):
        bars = partial(axes.bar, width=_WIDTH, edgecolor=INK)
        places = range(len(terms))
        clean = bars([x - _WIDTH / 2 for x in places], before, color=GRID)
        attacked = bars([x + _WIDTH / 2 for x in places], after, color=HUES[2])
        axes.set_xticks(list(places), [term.title for term in terms])
        axes.grid(visible=False, axis="x")
        axes.set_ylim(0, max([100.0, *before, *after]) * 1.05)
        axes.set_ylabel("term")
        axes.set_title(clipped(title, 48))
        if terms:
            legend_below(figure, [(clean[0], "clean"), (attacked[0], "attacked")])
        return picture(
            figure,
            name,
            alt=f"Terms of the robustness score of {title}, clean to attacked: {told}."
            + ("" if score is None else f" ERS {score:.1f}."),
            caption="100: the attack achieved nothing; 0: nothing is left. Their mean is the ERS.",
        )
