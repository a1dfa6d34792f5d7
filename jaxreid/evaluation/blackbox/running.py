"""One loop for all attacks: propose, ask, tell, until each image has spent its queries."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from jaxreid.attacks import unchecked
from jaxreid.attacks.climbing import better
from jaxreid.augmentation import to_float
from jaxreid.budgets import read_budget
from jaxreid.checks import Sizes, check_choice, check_count
from jaxreid.constants import MOST_STEPS
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox.memory import Memory, digests_of
from jaxreid.evaluation.blackbox.nes import NES
from jaxreid.evaluation.blackbox.objectives import People, Seen, seen_in
from jaxreid.evaluation.blackbox.rays import RAYS
from jaxreid.evaluation.blackbox.square import SQUARE
from jaxreid.evaluation.blackbox.strategy import Given, Strategy, Told
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, KeysLike

__all__ = ["STRATEGIES", "Attacked", "attack_by_queries", "checkpoints_of"]

STRATEGIES = {"square": SQUARE, "nes": NES, "rays": RAYS}
"""Name -> black-box attack."""

_CHECKPOINTS = (1, 100, 300, 1000, 3000, 10_000)
# Proposals per query: one that is known costs nothing, and an attack that knows no others ends.
_PROPOSALS = 2


def checkpoints_of(queries: int) -> tuple[int, ...]:
    """After how many images the state of an attack is kept: 1 (the clean one), 100, 300, ...

    Args:
        queries: the budget, which is the last of them.

    Returns:
        Ascending numbers.
    """
    return (*(number for number in _CHECKPOINTS if number < queries), queries)


class Attacked(NamedTuple):
    """What a black-box attack came to.

    Attributes:
        checkpoints: C numbers of images asked, from `checkpoints_of`.
        images: uint8 [C,B,H,W,3], the best image by then, inside the budget.
        first: int32 [C,B], the rank of its first match; top + 1 where the list shows none.
        asked: int32 [B], images that were asked in all.
        succeeded_at: int32 [B], which of them was the first inside the budget by which the person
            is not found first, counted from 1; 0 where none is.
    """

    checkpoints: tuple[int, ...]
    images: UInt8[np.ndarray, "C B H W 3"]
    first: Int[np.ndarray, "C B"]
    asked: Int[np.ndarray, " B"]
    succeeded_at: Int[np.ndarray, " B"]


def attack_by_queries(
    memory: Memory,
    images: UInt8[np.ndarray, "B H W 3"],
    people: People,
    *,
    attack: str,
    eps: float | str = 5,
    queries: int = 1000,
    key: KeysLike,
    start: UInt8[np.ndarray, "B H W 3"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Attacked:
    """Attacks a service of which only rank lists are seen, with a number of queries for each image.

    The clean image is asked first, then the start. All images have 8 bits, as whatever is sent to
    a service. An image is best if its list is (`seen_in`); an image that was asked before costs
    nothing, neither in this attack nor at the service.

    Args:
        memory: the service, which is asked nothing twice.
        images: uint8 [B,H,W,3], the clean queries.
        people: who is in them, and in the gallery.
        attack: "square", "nes" or "rays".
        eps: budget in L-infinity, in 1/255, from 1; the whole part of it is used.
        queries: the most images that are asked about each of the B, from 1.
        key: a random key, or [B] keys (`example_keys`).
        start: uint8 [B,H,W,3], images to begin at, such as those that fool another model; cut to
            the budget.
        progress: called with (images asked, the most there may be).

    Returns:
        Attacked.

    Raises:
        InputError: on images that are no uint8 [B,H,W,3], people of other numbers, an unknown
            attack, eps below 1, queries below 1, or an answer that is none.
    """
    strategy = STRATEGIES[check_choice("attack", attack, STRATEGIES)]
    queries = check_count("queries", queries, least=1, most=MOST_STEPS)
    levels = int(read_budget(eps))
    if not 1 <= levels <= 255:
        raise InputError(f"eps must be from 1 to 255, in 1/255: images have 8 bits; got {eps}")
    _check_images("images", images)
    begin = images
    if start is not None:
        _check_images("start", start, images.shape)
        change = np.clip(start.astype(np.int16) - images, -levels, levels)
        begin = (images + change).astype(np.uint8)
    given = Given(
        to_float(images),
        to_float(begin),
        keys_of_rows(key, len(images)),
        levels=levels,
        queries=queries,
        started=start is not None,
    )
    state = _Progress(memory, images, people, levels=levels, queries=queries, until=strategy.until)
    for opening in (images, begin):
        state.ask(opening)
    _climb(strategy, given, state, progress)
    return state.outcome()


def _check_images(name: str, images: Any, shape: tuple[int, ...] | None = None) -> None:
    Sizes().check(name, images, "BHWC")
    if images.dtype != np.uint8 or images.shape[-1] != 3 or not images.size:
        raise InputError(f"{name} must be uint8 [B,H,W,3], got {list(images.shape)} {images.dtype}")
    if shape is not None and images.shape != shape:
        raise InputError(
            f"{name} must be shaped like images {list(shape)}, got {list(images.shape)}"
        )


def _climb(
    strategy: Strategy,
    given: Given,
    state: "_Progress",
    progress: Callable[[int, int], None] | None,
) -> None:
    propose, tell = _programs(strategy)
    own = jax.jit(strategy.begin)(given)
    for step in range(_PROPOSALS * given.queries):
        if not state.going.any():
            break
        seen = state.ask(np.asarray(propose(given, own, state.best, step)))
        own = tell(given, own, _told(seen, state.best), step)
        if progress is not None:
            progress(int(state.asked.sum()), given.queries * len(state.asked))


def _told(seen: Seen, best: np.ndarray) -> Told:
    return Told(jnp.asarray(seen.value), jnp.asarray(~seen.found), jnp.asarray(best))


@cache
def _programs(strategy: Strategy) -> tuple[Callable[..., Array], Callable[..., Any]]:
    @unchecked
    def propose(given: Given, state: Any, best: Array, step: Array) -> Array:
        proposed = strategy.propose(given, state, to_float(best), step)
        return jnp.round(255 * proposed).astype(jnp.uint8)

    @unchecked
    def tell(given: Given, state: Any, told: Told, step: Array) -> Any:
        return strategy.tell(given, state, told._replace(best=to_float(told.best)), step)

    return jax.jit(propose), jax.jit(tell)


class _Progress:
    """What was asked about each image, and the best of it; rows that have ended stay so."""

    def __init__(
        self,
        memory: Memory,
        images: np.ndarray,
        people: People,
        *,
        levels: int,
        queries: int,
        until: str,
    ) -> None:
        self._memory, self._clean, self._levels = memory, images, levels
        self._queries, self._until = queries, until
        self._relations = people.relations()
        if self._relations.shape != (len(images), memory.gallery):
            raise InputError(
                f"people are of {list(self._relations.shape)} queries and items, images and memory "
                f"of {[len(images), memory.gallery]}"
            )
        self._known: list[set[bytes]] = [set() for _ in images]
        count = len(images)
        columns = 3 if memory.scored else 2
        self.best = images.copy()
        self.asked = np.zeros(count, np.int32)
        self.going = np.ones(count, bool)
        self._score = np.full((count, columns), -np.inf, np.float32)
        self._succeeded_at = np.zeros(count, np.int32)
        self._checkpoints = np.array(checkpoints_of(queries))
        self._images = np.repeat(images[None], len(self._checkpoints), axis=0)
        self._first = np.ones(self._images.shape[:2], np.int32)

    def ask(self, images: np.ndarray) -> Seen:
        """Asks an image of each row that is going on; what others would show is zero."""
        rows = np.flatnonzero(self.going)
        for row, digest in zip(rows.tolist(), digests_of(images[rows]), strict=True):
            self._known[row].add(digest)
            self.asked[row] = len(self._known[row])
        shown = seen_in(self._relations[rows], *self._memory.lists(images[rows]))
        seen = Seen(*(np.zeros((len(images), *part.shape[1:]), part.dtype) for part in shown))
        for part, whole in zip(shown, seen, strict=True):
            whole[rows] = part
        change = np.abs(images.astype(np.int16) - self._clean).max(axis=(1, 2, 3))
        inside = self.going & (change <= self._levels)
        self._keep(
            inside & np.asarray(better(jnp.asarray(seen.score), jnp.asarray(self._score))),
            images,
            seen,
        )
        succeeded = inside & ~seen.found & (self._succeeded_at == 0)
        self._succeeded_at[succeeded] = self.asked[succeeded]
        # Nothing is left to gain.
        if self._until == "first":
            self.going &= self._succeeded_at == 0
        self.going &= ~(inside & (seen.first > self._memory.top)) & (self.asked < self._queries)
        return seen

    def _keep(self, wins: np.ndarray, images: np.ndarray, seen: Seen) -> None:
        """Of the rows that win, the best images from now on, at all checkpoints to come."""
        self.best = np.where(wins[:, None, None, None], images, self.best)
        self._score[wins] = seen.score[wins]
        later = wins & (self._checkpoints[:, None] >= self.asked)
        self._images[later] = np.broadcast_to(images, self._images.shape)[later]
        self._first[later] = np.broadcast_to(seen.first, later.shape)[later]

    def outcome(self) -> Attacked:
        """What all of it came to."""
        return Attacked(
            tuple(self._checkpoints.tolist()),
            self._images,
            self._first,
            self.asked,
            self._succeeded_at,
        )
