"""The text of a run: what was done (Condition), what came of it (Result), and from what."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from jaxreid.budgets import exact
from jaxreid.constants import ENSEMBLES, LEARNED, Distance, Goal, Knowledge, Norm, Side
from jaxreid.errors import InputError
from jaxreid.records.parsing import read_object, typed
from jaxreid.records.scores import (
    Impersonation,
    Score,
    Verification,
    WorstCase,
    WrongCamera,
    check_verification,
    check_worst,
)

__all__ = ["SCHEMA", "Condition", "Provenance", "Result"]

SCHEMA = 1
"""Version of everything a run folder holds; a folder of another version is refused."""

# Largest amount that a line may hold; beyond, it is damaged.
_MOST = 1e12
# Fields of a condition that are never negative.
_AMOUNTS = ("eps", "steps", "step_size", "restarts", "seed")


@dataclass(frozen=True)
class Condition:
    """What was done to the images before they were ranked.

    Attributes:
        attack: "clean", or a name in `jaxreid.attacks.ATTACKS`, `jaxreid.constants.ENSEMBLES` or
            `LEARNED`.
        eps: budget; in 1/255 of the pixel range for linf, the length of the whole perturbation in
            pixel range for l2; 0 for clean images.
        norm: "linf" or "l2".
        steps: gradient steps.
        step_size: in the unit of eps.
        side: which images are attacked.
        guides: which set the guides come from.
        distance: "euclidean" or "cosine"; with cosine, the attack sees features of unit length.
        restarts: random starts of which the one with the highest objective is kept.
        seed: of the random numbers.
        eight_bit: whether adversarial images were rounded to 8 bits before they were ranked.
        as_paper: whether guides and signs are those of the paper's own code, where ours decides
            otherwise.
        attacked_gallery: of an ensemble against queries, whether the gallery was attacked before,
            so that the queries were attacked in what had been left of it.
        knowledge: of an ensemble, what the attacker knows; single attacks say so themselves.
        goal: not to be found, or to be found as another person.
        target: of an impersonation, "random" for another person for each image, drawn by seed, or
            the number of an identity; "" otherwise.
        boost: of a single attack, what makes it work on other networks: names in
            `jaxreid.attacks.BOOSTS`, joined by "+"; "" for nothing.
        surrogate: of a single attack, the networks whose gradients and guides it took instead of
            the ranked one's, as name and start of the digest, joined by "+"; "" for none. Of a
            learned perturbation, its name: the network it was made on, its objective, its digest.
    """

    attack: str = "clean"
    eps: float = 0.0
    norm: Norm = "linf"
    steps: int = 15
    step_size: float = 1.0
    side: Side = "query"
    guides: Side = "query"
    distance: Distance = "euclidean"
    restarts: int = 1
    seed: int = 0
    eight_bit: bool = False
    as_paper: bool = False
    attacked_gallery: bool = False
    knowledge: Knowledge = "gallery"
    goal: Goal = "evade"
    target: str = ""
    boost: str = ""
    surrogate: str = ""

    @property
    def is_ensemble(self) -> bool:
        """Whether several attacks run, and each image keeps what the strongest of them made."""
        return self.attack in ENSEMBLES

    @property
    def is_learned(self) -> bool:
        """Whether images are changed by a perturbation that was learned before it met them."""
        return self.attack in LEARNED

    @property
    def key(self) -> str:
        """Name of the condition, the same for equal conditions only, and fit for a file."""
        return self._named(exact)

    @property
    def former_key(self) -> str:
        """The name that earlier versions gave it, which rounded numbers to six digits."""
        return self._named(lambda number: f"{number:g}")

    def _named(self, written: Callable[[float], str]) -> str:
        if self.attack == "clean":
            return f"clean-{self.distance}"
        parts = [
            quote(self.attack, safe=""),
            f"{self.norm}{written(self.eps)}",
            f"{self.steps}x{written(self.step_size)}",
            f"{self.side}-by-{self.guides}",
            self.distance,
            f"r{self.restarts}",
            f"s{self.seed}",
            *([f"knows-{self.knowledge}"] if self.knowledge != "gallery" else []),
            *(["after-gallery"] if self.attacked_gallery else []),
            *([self.goal] if self.goal != "evade" else []),
            *([f"as-{quote(self.target, safe='')}"] if self.target else []),
            *(["paper"] if self.as_paper else []),
            *(["8bit"] if self.eight_bit else []),
            *([f"by-{self.boost}"] if self.boost else []),
            *([f"from-{quote(self.surrogate, safe='+')}"] if self.surrogate else []),
        ]
        return "-".join(parts)


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl.

    Attributes:
        condition: what was done.
        scores: protocol ("market1501", "torchreid") -> Score.
        reranked: the same after k-reciprocal re-ranking, or None.
        attacked: images attacked.
        unguided: of these, images without any guide, which stay as they are.
        seconds: the attack took, ranking included, compilation not.
        compile_seconds: compilation took beside them; None in results of earlier versions, whose
            seconds include it.
        largest_change: largest change of a pixel, in 1/255.
        nonfinite_gradients: attacked images whose gradient held NaN or infinity at some step:
            pixels with such a gradient did not move.
        zero_gradients: attacked images whose whole gradient was zero at some step.
        first_without_gradient: file name of the first image that either counts; "" if none.
        worst: of an ensemble, how its scores came about.
        impersonation: of a condition with that goal.
        verification: pairs of query and gallery, where they were asked for.
        wrong_camera: of a clean condition, what a wrong camera changes; None where the network
            is told none.
    """

    condition: Condition
    scores: dict[str, Score]
    reranked: dict[str, Score] | None = None
    attacked: int = 0
    unguided: int = 0
    seconds: float = 0.0
    compile_seconds: float | None = None
    largest_change: float = 0.0
    nonfinite_gradients: int = 0
    zero_gradients: int = 0
    first_without_gradient: str = ""
    worst: WorstCase | None = None
    impersonation: Impersonation | None = None
    verification: Verification | None = None
    wrong_camera: WrongCamera | None = None

    def to_json(self) -> str:
        """Writes the line.

        Returns:
            JSON without a line break.
        """
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads a line of the current schema.

        Args:
            line: from `to_json`.

        Returns:
            The result.

        Raises:
            InputError: the line is something else; the message names the field.
        """
        fields = read_object(line)
        result = typed(cls, fields)
        condition = result.condition
        if absent := [name for name in ("attack", "distance") if name not in fields["condition"]]:
            raise InputError(f"condition.{absent[0]} is missing")
        if not result.scores:
            raise InputError("scores is {}, expected a protocol at least")
        for name in (condition.attack, *result.scores, *(result.reranked or {})):
            if not (0 < len(name) <= 100 and name.isprintable()):
                raise InputError(f"{name[:40]!r} is no name of an attack or a protocol")
        amounts = {f"condition.{name}": getattr(condition, name) for name in _AMOUNTS}
        amounts |= {name: getattr(result, name) for name in ("attacked", "unguided", "seconds")}
        for name, amount in {**amounts, "largest_change": result.largest_change}.items():
            if amount < 0 or (isinstance(amount, float) and amount > _MOST):
                raise InputError(f"{name} is {amount}, expected a number from 0 to {_MOST:g}")
        if condition.is_ensemble and result.worst is None:
            raise InputError(f"worst is missing, which {condition.attack} has")
        if result.worst is not None:
            check_worst(result.worst, result.scores)
        if result.verification is not None:
            check_verification(result.verification)
        return result


@dataclass(frozen=True)
class Provenance:
    """Where the results come from, and the command that makes them again.

    Attributes:
        title: how a report names the run.
        command: the command line, quoted for a shell.
        model: architecture, weights file, its SHA-256, and the like.
        dataset: name, config, split sizes, number of cameras.
        settings: everything else that was asked for.
        versions: package -> version.
        devices: as JAX names them.
        created: UTC, ISO 8601.
        schema: SCHEMA.
    """

    title: str
    command: str
    model: dict[str, Any]
    dataset: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    devices: str
    created: str
    schema: int = SCHEMA
