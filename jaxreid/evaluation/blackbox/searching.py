"""Black-box attacks on the searches of a retrieval test, kept in a folder as they are done."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxreid.budgets import read_budget
from jaxreid.checks import check_choice
from jaxreid.constants import Distance
from jaxreid.data.batches import Images
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox.memory import Memory
from jaxreid.evaluation.blackbox.model import average_precision
from jaxreid.evaluation.blackbox.objectives import People
from jaxreid.evaluation.blackbox.ranker import Ranker
from jaxreid.evaluation.blackbox.running import STRATEGIES, Attacked, attack_by_queries
from jaxreid.evaluation.features import Subset
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.stored_images import StoredImages
from jaxreid.random import example_keys
from jaxreid.records import BlackBox, ByQueries

__all__ = ["ANSWERS", "Prior", "Service", "attack_searches"]

ANSWERS = "answers.bin"
"""Name of the journal in a run folder."""


class Service(NamedTuple):
    """What is attacked.

    Attributes:
        test: whose queries are changed, and who is in its gallery.
        ranker: the black box.
        distance: by which the test's own model ranks, if it is the black box; None of somebody
            else's service.
        top: items of a list that are seen.
        scored: whether scores are seen, too.
    """

    test: RetrievalTest
    ranker: Ranker
    distance: Distance | None
    top: int
    scored: bool


class Prior(NamedTuple):
    """Images to begin at.

    Attributes:
        images: the query split with stored images in it.
        digest: SHA-256 of their manifest.
    """

    images: StoredImages
    digest: str


def attack_searches(
    service: Service,
    folder: Path,
    *,
    attacks: Sequence[str],
    eps: float | str = 5,
    queries: int = 1000,
    seed: int = 0,
    prior: Prior | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_attack: Callable[[ByQueries], None] | None = None,
) -> list[ByQueries]:
    """Runs black-box attacks on all searches that have a match, with one budget for all of them.

    What the folder holds is not done again, and no image is asked twice, whatever asked it.

    Args:
        service: what is attacked.
        folder: exists, and is held; of this service alone.
        attacks: names.
        eps: budget in L-infinity, in 1/255.
        queries: the most images that are asked about each search.
        seed: of the random numbers, which the query's position is folded into.
        prior: images to begin at.
        progress: called with (attack, images asked, the most there may be).
        on_attack: called with each attack as it is done.

    Returns:
        One per attack, in the order given.

    Raises:
        InputError: nothing to attack, an unknown attack, or as `attack_by_queries` does.
        OSError: the folder cannot be written.
    """
    test = service.test
    for name in attacks:
        check_choice("attacks", name, STRATEGIES)
    test.refuse_matchless()
    wanted = test.attackable("query")
    rows = wanted[test.matched[wanted]]
    known = BlackBox(tuple(Subset(test.source("query"), rows).file_names), ())
    if (before := BlackBox.found(folder)) is not None:
        if before.queries != known.queries:
            raise InputError(f"{folder} holds attacks on other queries; name another folder")
        known = before
    memory, done = _memory(service, folder), []
    found = {attack.key: attack for attack in known.attacks}
    for name in dict.fromkeys(attacks):
        wish = _Wish(name, read_budget(eps), queries, seed, prior)
        if wish.key not in found:
            attacked = _attacked(service, memory, rows, wish, progress)
            found[wish.key] = attacked
            BlackBox(known.queries, tuple(found.values())).save(folder)
            if on_attack is not None:
                on_attack(attacked)
        done.append(found[wish.key])
    return done


class _Wish(NamedTuple):
    attack: str
    eps: float
    queries: int
    seed: int
    prior: Prior | None

    @property
    def key(self) -> tuple[str, float, int, int, str]:
        """That of the `ByQueries` to come."""
        return *self[:-1], self.prior.digest if self.prior else ""


def _memory(service: Service, folder: Path) -> Memory:
    gallery = len(service.test.source("gallery"))
    return Memory(
        service.ranker,
        folder / ANSWERS,
        gallery=gallery,
        top=min(service.top, gallery),
        scored=service.scored,
        batch_size=service.test.loader.batch_size,
    )


def _attacked(
    service: Service,
    memory: Memory,
    rows: np.ndarray,
    wish: _Wish,
    progress: Callable[[str, int, int], None] | None,
) -> ByQueries:
    """One attack on all rows, a batch at a time."""
    size, whole = service.test.loader.batch_size, wish.queries * len(rows)
    parts, precision = list[Attacked](), list[np.ndarray]()
    for start in range(0, len(rows), size):
        part = rows[start : start + size]

        def report(done: int, total: int, before: int = wish.queries * start) -> None:
            if progress is not None:
                progress(wish.attack, before + done, whole)

        attacked = _of_rows(service.test, memory, part, wish, report)
        if service.distance is not None:
            images = attacked.images
            precision.append(average_precision(service.test, service.distance, part, images))
        # Images are the largest part of it by far.
        parts.append(attacked._replace(images=attacked.images[:, :0]))
        # Rows that ended early count as done.
        report(wish.queries * len(part), whole)
    first = np.concatenate([part.first for part in parts], axis=1)
    return ByQueries(
        attack=wish.attack,
        eps=wish.eps,
        seed=wish.seed,
        prior=wish.key[-1],
        checkpoints=parts[0].checkpoints,
        first=_rows_of(first),
        asked=tuple(np.concatenate([part.asked for part in parts]).tolist()),
        succeeded_at=tuple(np.concatenate([part.succeeded_at for part in parts]).tolist()),
        average_precision=_rows_of(np.concatenate(precision, axis=1)) if precision else None,
    )


def _rows_of(table: np.ndarray) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in table.tolist())


def _of_rows(
    test: RetrievalTest,
    memory: Memory,
    rows: np.ndarray,
    wish: _Wish,
    report: Callable[[int, int], None],
) -> Attacked:
    source, loader = test.source("query"), test.loader
    query, gallery = test.labels
    return attack_by_queries(
        memory,
        Images(source, loader.size, loader.filter, None)(rows),
        People(
            np.asarray(source.identities)[rows],
            query[rows],
            np.asarray(test.source("gallery").identities),
            gallery,
        ),
        attack=wish.attack,
        eps=wish.eps,
        queries=wish.queries,
        key=example_keys(key_of(wish.seed, START), rows),
        start=None
        if wish.prior is None
        else Images(wish.prior.images, loader.size, loader.filter, None)(rows),
        progress=report,
    )
