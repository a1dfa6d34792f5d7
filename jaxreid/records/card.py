"""The card of a model: under which threat, which figures, and whether these can be trusted."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jaxreid.constants import Distance, Goal, Knowledge, Norm, Side
from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within

__all__ = ["CARD_FILE", "CARD_SCHEMA", "Card", "Figure", "Flag", "ThreatModel"]

CARD_FILE = "card.json"
"""Name of the card in a run folder."""
CARD_SCHEMA = 1
"""Version of the card; one of another version is refused."""

_Share = Annotated[float, Within(0, 1)]
# Largest budget that a card may hold; beyond, it is damaged.
_MOST = 1e12
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Flag:
    """One reason to distrust the figures, looked for.

    Attributes:
        name: short.
        raised: whether it was found; None where it could not be looked for.
        number: what was measured, in `unit`; None where nothing was.
        threshold: above which it is raised, in `unit`; None where a number does not decide.
        unit: "share" in [0, 1], "points" of mAP in [-100, 100], or "ratio".
        meaning: one sentence: what was measured, and what it says.
        advice: one sentence: what to do where it is raised.
    """

    name: str
    raised: bool | None
    number: float | None
    threshold: float | None
    unit: Literal["share", "points", "ratio"]
    meaning: str
    advice: str


@dataclass(frozen=True)
class Figure:
    """What retrieval is left, protocol "market1501".

    Attributes:
        mean_average_precision: mAP in [0, 1].
        rank1: in [0, 1], share of queries whose first item is a match.
    """

    mean_average_precision: _Share
    rank1: _Share


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker may change, and knows.

    Attributes:
        norm: "linf" or "l2".
        eps: budget; in 1/255 of the pixel range for linf, a length in pixel range for l2.
        side: which images are attacked.
        distance: "euclidean" or "cosine".
        knowledge: beside the model.
        goal: of the attacker.
    """

    norm: Norm
    eps: float
    side: Side
    distance: Distance
    knowledge: Knowledge
    goal: Goal = "evade"


@dataclass(frozen=True)
class Card(InRunFolder):
    """What is known of a model's robustness, in one JSON file.

    Attributes:
        title: how a report names the run.
        command: the command line, quoted for a shell.
        model: architecture, weights file, its SHA-256, and the like.
        dataset: name, config, split sizes, number of cameras.
        settings: everything else that the figures depend on.
        threat: the threat model of all figures but the clean one.
        versions: package -> version.
        devices: as JAX names them.
        created: UTC, ISO 8601.
        clean: without an attack.
        attacks: published attack -> what it leaves.
        worst: the worst case of the ensemble `ensemble`.
        ensemble: a name in `jaxreid.constants.ENSEMBLES`, with its version.
        best_known: attack or ensemble that leaves the lowest mAP of all that is known.
        sample: queries on which the flags were measured.
        flags: one per reason, in the order in which they are shown.
        schema: CARD_SCHEMA.
    """

    FILE = CARD_FILE
    SCHEMA = CARD_SCHEMA
    AGAIN = "`jaxreid audit` writes it anew"

    title: str
    command: str
    model: dict[str, Any]
    dataset: dict[str, Any]
    settings: dict[str, Any]
    threat: ThreatModel
    versions: dict[str, str]
    devices: str
    created: str
    clean: Figure
    attacks: dict[str, Figure]
    worst: Figure
    ensemble: str
    best_known: str
    sample: int
    flags: tuple[Flag, ...]
    schema: int = CARD_SCHEMA

    @property
    def raised(self) -> tuple[Flag, ...]:
        """The flags that are raised."""
        return tuple(flag for flag in self.flags if flag.raised)

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        if not 0 <= self.threat.eps <= _MOST:
            raise InputError(f"threat.eps is {self.threat.eps}, expected 0 to {_MOST:g}")
        if self.sample < 0:
            raise InputError(f"sample is {self.sample}, expected at least 0")
        if self.best_known not in (*self.attacks, self.ensemble):
            raise InputError(f"best_known is {self.best_known[:40]!r}, which has no figure")
        names = [flag.name for flag in self.flags]
        if len(set(names)) < len(names):
            raise InputError("flags holds the same flag twice")
        for name in (*names, *self.attacks, self.ensemble):
            if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
                raise InputError(f"{name[:40]!r} is no name of an attack or a flag")
        for flag in self.flags:
            if flag.raised is not None and flag.number is None and flag.threshold is not None:
                raise InputError(f"flag {flag.name} has a threshold and no number to compare")
