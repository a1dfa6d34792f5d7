"""What black-box attacks came to, query by query, in a file of a run folder."""

from dataclasses import dataclass
from typing import Annotated

from jaxreid.errors import InputError
from jaxreid.records.kept import InRunFolder
from jaxreid.records.parsing import Within

__all__ = ["BLACK_BOX_FILE", "BLACK_BOX_SCHEMA", "BlackBox", "ByQueries"]

BLACK_BOX_FILE = "blackbox.json"
"""Name of the file in a run folder."""
BLACK_BOX_SCHEMA = 1
"""Version of the file; one of another version is refused."""

_Share = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class ByQueries:
    """One attack on Q searches, with C checkpoints.

    Attributes:
        attack: its name.
        eps: budget in L-infinity, in 1/255.
        seed: of the random numbers.
        prior: SHA-256 of the manifest of the images that it began at; "" where there were none.
        checkpoints: after how many images asked about each search, ascending.
        first: [C][Q], rank of the first match in the list of the best image by then, from 1; one
            more than the list is long where it shows none.
        asked: [Q], images asked in all.
        succeeded_at: [Q], the number, from 1, of the first image inside the budget by which the
            person is not found first; 0 where none is.
        average_precision: [C][Q] in [0, 1], exact, of the best image by then; None of a service,
            whose whole ranking nobody knows.
    """

    attack: str
    eps: float
    seed: int
    prior: str
    checkpoints: tuple[int, ...]
    first: tuple[tuple[int, ...], ...]
    asked: tuple[int, ...]
    succeeded_at: tuple[int, ...]
    average_precision: tuple[tuple[_Share, ...], ...] | None

    @property
    def key(self) -> tuple[str, float, int, int, str]:
        """What tells an attack apart: its name, budget, most images, seed and prior."""
        return self.attack, self.eps, self.checkpoints[-1], self.seed, self.prior

    def rank1(self) -> tuple[float, ...]:
        """Share of the searches whose first item is a match, at each checkpoint.

        Returns:
            C numbers in [0, 1].
        """
        return tuple(sum(rank == 1 for rank in ranks) / len(ranks) for ranks in self.first)

    def mean_average_precision(self) -> tuple[float, ...] | None:
        """Mean over the searches, at each checkpoint.

        Returns:
            C numbers in [0, 1], or None of a service.
        """
        if self.average_precision is None:
            return None
        return tuple(sum(row) / len(row) for row in self.average_precision)


@dataclass(frozen=True)
class BlackBox(InRunFolder):
    """All attacks of a run, whose settings `Provenance` has.

    Attributes:
        queries: names of the Q images.
        attacks: no two of one key.
        schema: of the file.
    """

    FILE = BLACK_BOX_FILE
    SCHEMA = BLACK_BOX_SCHEMA
    AGAIN = "remove it, and `jaxreid blackbox` writes it anew without asking again"
    INDENT = None

    queries: tuple[str, ...]
    attacks: tuple[ByQueries, ...]
    schema: int = BLACK_BOX_SCHEMA

    def _check(self) -> None:
        """Refuses what the types of the fields do not."""
        for number, attack in enumerate(self.attacks):
            _check(f"attacks[{number}]", attack, len(self.queries))


def _check(name: str, attack: ByQueries, queries: int) -> None:
    """Raises InputError where a part has another length, or a number cannot be."""
    if not queries or not attack.checkpoints:
        raise InputError(f"{name} has no queries or no checkpoints")
    if list(attack.checkpoints) != sorted({*attack.checkpoints}):
        raise InputError(f"{name}.checkpoints do not ascend")
    tables = {"first": attack.first, "average_precision": attack.average_precision}
    for field, rows in tables.items():
        whole = rows is None or [len(row) for row in rows] == [queries] * len(attack.checkpoints)
        if not whole:
            raise InputError(f"{name}.{field} is not {len(attack.checkpoints)} x {queries} numbers")
    for field, row in (("asked", attack.asked), ("succeeded_at", attack.succeeded_at)):
        if len(row) != queries or min(row, default=0) < 0:
            raise InputError(f"{name}.{field} is not {queries} numbers of at least 0")
