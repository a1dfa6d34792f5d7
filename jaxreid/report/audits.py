"""Whether the figures of a run can be trusted: the card that an audit left in its folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxreid.budgets import named_budget
from jaxreid.constants import ENSEMBLES
from jaxreid.records import Flag
from jaxreid.report.runs import Run
from jaxreid.report.style import attack_style, percent
from jaxreid.report.wording import listed

__all__ = ["Audit", "FlagRow", "audit_of", "raised_flags"]

_Unit = Literal["share", "points", "ratio"]


@dataclass(frozen=True)
class FlagRow:
    """One reason to distrust the figures.

    Attributes:
        name: short.
        state: "raised", "passed", or "not looked for".
        number: what was measured, or "".
        limit: above which it is raised, or "".
        meaning: what was measured, and what it says.
        advice: what to do; "" where there is nothing to do.
    """

    name: str
    state: str
    number: str
    limit: str
    meaning: str
    advice: str


@dataclass(frozen=True)
class Audit:
    """What an audit says of a model.

    Attributes:
        setting: budget, side and knowledge of the attacker, and the sample.
        best: attack or ensemble that leaves least of all that is known.
        worst: mAP and rank-1 of the worst case, in [0, 1].
        clean: the same of clean images.
        raised: number of flags that are raised.
        looked_for: number of flags that could be looked for.
        rows: those that are raised first, those that could not be looked for last.
        created: UTC, ISO 8601.
        command: that makes it again.
    """

    setting: str
    best: str
    worst: tuple[float, float]
    clean: tuple[float, float]
    raised: int
    looked_for: int
    rows: list[FlagRow]
    created: str
    command: str


def audit_of(run: Run) -> Audit | None:
    """What the card of a run says, None without one."""
    card = run.card
    if card is None:
        return None
    threat, order = card.threat, {True: 0, False: 1, None: 2}
    ordered = sorted(card.flags, key=lambda flag: order[flag.raised])
    images = "queries" if threat.side == "query" else "gallery images"
    budget = named_budget(threat.eps, threat.norm)
    distance = "Euclidean" if threat.distance == "euclidean" else threat.distance
    return Audit(
        setting=f"{images} attacked within {budget}, {distance} distance, the attacker knows "
        f"{_KNOWN[threat.knowledge]}; flags from {card.sample:,} queries",
        best=ENSEMBLES.get(card.best_known, attack_style(card.best_known).short),
        worst=(card.worst.mean_average_precision, card.worst.rank1),
        clean=(card.clean.mean_average_precision, card.clean.rank1),
        raised=len(card.raised),
        looked_for=sum(flag.raised is not None for flag in card.flags),
        rows=[_row(flag) for flag in ordered],
        created=card.created,
        command=card.command,
    )


_KNOWN = {"self": "the image alone", "guides": "guides", "gallery": "the gallery"}
_STATES = {True: "raised", False: "passed", None: "not looked for"}


def _row(flag: Flag) -> FlagRow:
    return FlagRow(
        name=flag.name,
        state=_STATES[flag.raised],
        number=_written(flag.number, flag.unit),
        limit=_written(flag.threshold, flag.unit),
        meaning=flag.meaning,
        advice="" if flag.raised is False else flag.advice,
    )


def _written(number: float | None, unit: _Unit) -> str:
    if number is None:
        return ""
    if unit == "share":
        return percent(number)
    return f"{number:.1f}\u00a0points" if unit == "points" else f"{number:.3g}"


def raised_flags(runs: Sequence[Run]) -> Iterator[str]:
    """A caveat for each run whose figures an audit distrusts."""
    for run in runs:
        names = [flag.name for flag in run.card.raised] if run.card else []
        if names:
            flags = f"{len(names)} flags" if len(names) > 1 else "a flag"
            yield (
                f"An audit of {run.label} raised {flags} ({listed(names)}): what is left may be "
                "less than these figures say. See the audit."
            )
