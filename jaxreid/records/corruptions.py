"""What is left of a retrieval where images are corrupted, kind by kind and severity by severity."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal, Self

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within
from jaxreid.records.schema import Provenance
from jaxreid.records.scores import Score

__all__ = ["CORRUPTIONS_FILE", "CORRUPTIONS_SCHEMA", "CorruptedLevel", "CorruptionRecord"]

CORRUPTIONS_FILE = "corruptions.json"
"""Name of the record in a run folder."""
CORRUPTIONS_SCHEMA = 1
"""Version of the record; one of another version is refused."""

Metric = Literal["mean_average_precision", "rank1"]


@dataclass(frozen=True)
class CorruptedLevel:
    """What one corruption leaves.

    Attributes:
        name: of the corruption, a key of `jaxreid.data.corruptions.CORRUPTIONS`.
        severity: 1 to 5.
        scores: protocol -> scores.
    """

    name: str
    severity: Annotated[int, Within(1, 5)]
    scores: dict[str, Score]


@dataclass(frozen=True)
class CorruptionRecord(InRunFolder):
    """Retrieval of one model under corruptions, in one JSON file.

    Attributes:
        provenance: of the run.
        corrupted: whose images were corrupted.
        clean: protocol -> scores of the images as they are.
        levels: name and severity, each pair once, in the order in which they were asked for.
        schema: CORRUPTIONS_SCHEMA.
    """

    FILE = CORRUPTIONS_FILE
    SCHEMA = CORRUPTIONS_SCHEMA
    AGAIN = "`jaxreid corruptions` writes it anew"

    provenance: Provenance
    corrupted: Literal["query", "gallery", "both"]
    clean: dict[str, Score]
    levels: tuple[CorruptedLevel, ...]
    schema: int = CORRUPTIONS_SCHEMA

    @property
    def names(self) -> list[str]:
        """The corruptions, each one once, in order."""
        return list(dict.fromkeys(level.name for level in self.levels))

    @property
    def severities(self) -> list[int]:
        """The severities, ascending."""
        return sorted({level.severity for level in self.levels})

    def share(self, name: str, severity: int, metric: Metric) -> float:
        """A metric of one level.

        Args:
            name: of the corruption.
            severity: 1 to 5.
            metric: "mean_average_precision" or "rank1", protocol "market1501".

        Returns:
            It, in [0, 1].

        Raises:
            InputError: the record has no such level.
        """
        return _share(self._level(name, severity).scores, metric)

    def mean(self, metric: Metric) -> float:
        """Mean of a metric over corruptions and severities (mPC, https://arxiv.org/abs/1907.07484).

        ``mPC = sum_{c, s} P_{c, s} / (C S)``.

        Args:
            metric: "mean_average_precision" or "rank1", protocol "market1501".

        Returns:
            It, in [0, 1].

        Raises:
            InputError: there are no levels.
        """
        return _mean([_share(level.scores, metric) for level in self.levels])

    def of_kind(self, name: str) -> Self:
        """The record of one corruption, in the severities in which it was measured.

        Args:
            name: of the corruption.

        Returns:
            The record; without levels where there are none.
        """
        return dataclasses.replace(self, levels=tuple(o for o in self.levels if o.name == name))

    def of(self, names: Sequence[str], severities: Sequence[int]) -> Self:
        """The record of some levels.

        Args:
            names: of corruptions.
            severities: of 1 to 5.

        Returns:
            The record, of all pairs of them.

        Raises:
            InputError: the record has no such level.
        """
        asked = product(dict.fromkeys(names), sorted(set(severities)))
        return dataclasses.replace(self, levels=tuple(self._level(*one) for one in asked))

    def mean_error(self, reference: Self, metric: Metric) -> float:
        """Mean corruption error beside a reference (mCE, https://arxiv.org/abs/1903.12261).

        With the error ``E_{c, s} = 1 - P_{c, s}``,
        ``mCE = 1 / C sum_c (sum_s E_{c, s}) / (sum_s E'_{c, s})``, E' the reference's.

        Args:
            reference: of another model, under at least these corruptions and severities.
            metric: "mean_average_precision" or "rank1", protocol "market1501".

        Returns:
            It: 1 for errors as large as the reference's, below 1 for smaller ones.

        Raises:
            InputError: the reference lacks a level, saw other sets corrupted, or has a corruption
                under which it makes no error.
        """
        if reference.corrupted != self.corrupted:
            raise InputError(
                f"the reference has corrupted {reference.corrupted} images, expected "
                f"{self.corrupted}"
            )
        ratios = []
        for name in self.names:
            own = self.of_kind(name)
            # Of as many levels: a ratio of means is one of sums.
            error, others = (
                1 - one.mean(metric) for one in (own, reference.of([name], own.severities))
            )
            if others <= 0:
                raise InputError(f"the reference makes no error under {name}: no ratio to it")
            ratios.append(error / others)
        return _mean(ratios)

    def _level(self, name: str, severity: int) -> CorruptedLevel:
        for level in self.levels:
            if (level.name, level.severity) == (name, severity):
                return level
        raise InputError(
            f"{self.provenance.title} was not measured under {name}:{severity}; expected the same "
            "corruptions and severities"
        )

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        if MAIN_PROTOCOL not in self.clean:
            raise InputError(f"clean has no protocol {MAIN_PROTOCOL}")
        seen = set()
        for number, level in enumerate(self.levels):
            if set(level.scores) != set(self.clean):
                raise InputError(
                    f"levels[{number}].scores is not of the protocols of clean: "
                    f"{', '.join(self.clean)}"
                )
            if not (0 < len(level.name) <= 100 and level.name.isprintable()):
                raise InputError(f"levels[{number}].name is {level.name[:40]!r}, no name")
            if (level.name, level.severity) in seen:
                raise InputError(f"levels[{number}] is there twice: {level.name}:{level.severity}")
            seen.add((level.name, level.severity))


def _share(scores: dict[str, Score], metric: Metric) -> float:
    share: float = getattr(scores[MAIN_PROTOCOL], metric)
    return share


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise InputError("there are no corruptions to take a mean over")
    return statistics.fmean(values)
