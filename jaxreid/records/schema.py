"""The figures of a run that are text: what was done, how it scored, where it comes from."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["SCHEMA", "Condition", "Provenance", "Result", "Score", "Side"]

SCHEMA = 1
"""Version of everything a run folder holds; a folder of another version is refused."""

Side = Literal["query", "gallery"]
"""Which of the two sets of a retrieval test."""


@dataclass(frozen=True)
class Condition:
    """What was done to the images before they were ranked.

    Attributes:
        attack: "clean", or a name in `jaxreid.attacks.ATTACKS`.
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
    """

    attack: str = "clean"
    eps: float = 0.0
    norm: Literal["linf", "l2"] = "linf"
    steps: int = 15
    step_size: float = 1.0
    side: Side = "query"
    guides: Side = "query"
    distance: Literal["euclidean", "cosine"] = "euclidean"
    restarts: int = 1
    seed: int = 0
    eight_bit: bool = False

    @property
    def key(self) -> str:
        """Name of the condition, the same for equal conditions and fit for a file."""
        if self.attack == "clean":
            return f"clean-{self.distance}"
        parts = [
            self.attack,
            f"{self.norm}{self.eps:g}",
            f"{self.steps}x{self.step_size:g}",
            f"{self.side}-by-{self.guides}",
            self.distance,
            f"r{self.restarts}",
            f"s{self.seed}",
        ]
        return "-".join([*parts, "8bit"] if self.eight_bit else parts)


@dataclass(frozen=True)
class Score:
    """Retrieval in one protocol; every figure in [0, 1].

    Attributes:
        mean_average_precision: mAP.
        rank1: share of queries whose first item is a match.
        rank5: with a match among the first five.
        rank10: with a match among the first ten.
        mean_inverse_negative_penalty: mINP.
    """

    mean_average_precision: float
    rank1: float
    rank5: float
    rank10: float
    mean_inverse_negative_penalty: float


@dataclass(frozen=True)
class Result:
    """One line of results.jsonl.

    Attributes:
        condition: what was done.
        scores: protocol ("market1501", "torchreid") -> Score.
        reranked: the same after k-reciprocal re-ranking, or None.
        attacked: images attacked.
        unguided: of these, images without any guide, which stay as they are.
        seconds: the attack took, ranking and compilation included.
        largest_change: largest change of a pixel, in 1/255.
        nonfinite_gradients: attacked images whose gradient held NaN or infinity at some step:
            pixels with such a gradient did not move.
        zero_gradients: attacked images whose whole gradient was zero at some step.
        first_without_gradient: file name of the first image that either counts; "" if none.
    """

    condition: Condition
    scores: dict[str, Score]
    reranked: dict[str, Score] | None = None
    attacked: int = 0
    unguided: int = 0
    seconds: float = 0.0
    largest_change: float = 0.0
    nonfinite_gradients: int = 0
    zero_gradients: int = 0
    first_without_gradient: str = ""

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
            ValueError, TypeError, KeyError: the line is something else.
        """
        fields = json.loads(line)
        reranked = fields.pop("reranked")
        return cls(
            condition=Condition(**fields.pop("condition")),
            scores={name: Score(**score) for name, score in fields.pop("scores").items()},
            reranked=reranked and {name: Score(**score) for name, score in reranked.items()},
            **fields,
        )


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from, and the command that makes them again.

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
