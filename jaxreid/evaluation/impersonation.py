"""Queries that want to be found as another person: whom each aims at, and how often it succeeds."""

import dataclasses
from typing import Protocol, get_args

import numpy as np

from jaxreid.attacks import ATTACKS
from jaxreid.checks import check_choice, shown
from jaxreid.constants import ENSEMBLES, Distance, Goal, Side
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.guidance import TARGET, key_of
from jaxreid.guides import random_other
from jaxreid.random import example_keys
from jaxreid.ranking import impersonation_ranks
from jaxreid.records import Condition, Impersonation
from jaxreid.types import Embedded

__all__ = ["aimed", "impersonated", "sought_people"]

# People that a message lists.
_NAMED = 10


class _Splits(Protocol):
    """What of a retrieval test says who is there: its splits, and the queries that are ranked."""

    ranked: np.ndarray

    def source(self, side: Side) -> ReidSource: ...


def aimed(condition: Condition) -> Condition:
    """Checks what an attack is for.

    An ensemble aims at a person's images, a single attack at the mean of their features: it has to
    be one that pulls towards one person of its choice, whose place the sought one takes.

    Args:
        condition: of an attack; its other fields are checked.

    Returns:
        The same, with the target in its one form.

    Raises:
        InputError: an unknown goal, a target that is no identity, or a goal that this attack, side
            or knowledge cannot have.
    """
    check_choice("goal", condition.goal, get_args(Goal))
    if condition.goal == "evade":
        if condition.target:
            raise InputError("target is whom to impersonate: it needs goal=impersonate")
        return condition
    able = [name for name, attack in ATTACKS.items() if attack.pull == "furthest"]
    if not condition.is_ensemble and condition.attack not in able:
        raise InputError(
            f"{condition.attack} aims at nobody: to impersonate, use {', '.join(able)} or an "
            f"ensemble ({', '.join(ENSEMBLES)})"
        )
    if condition.side != "query" or condition.attacked_gallery:
        raise InputError("goal=impersonate is of queries alone: the gallery stays as it is")
    if condition.is_ensemble and condition.knowledge == "self":
        raise InputError(
            "goal=impersonate needs images of the person to be found as: knowledge is guides or "
            "gallery, not self"
        )
    return dataclasses.replace(condition, target=_named(condition.target))


def _named(target: str) -> str:
    """A target as "random" or the number of an identity."""
    text = str(target).strip()
    if text in ("", "random"):
        return "random"
    if text.isdecimal() and 0 < int(text) < 2**31:
        return str(int(text))
    got = shown(target)
    raise InputError(f"target must be random or an identity above 0, such as 12, got {got}")


def sought_people(
    test: _Splits, condition: Condition, positions: np.ndarray | None = None
) -> np.ndarray:
    """Whom each query wants to be found as.

    Candidates are the people of the gallery of whom the attacker has an image: of those that the
    set of guides shows too. A random one is drawn uniformly among all but the query's own, by the
    seed and the query's position, whatever the attack, the budget and the other queries.

    Args:
        test: the retrieval test.
        condition: canonical, with the goal "impersonate".
        positions: int64 [Q], of queries in their split; None for all that are ranked.

    Returns:
        int64 [Q], an identity above 0; 0 for a query that aims at nobody: a distractor, junk, or an
        image of the very person that is named.

    Raises:
        InputError: the person that is named is no candidate, or nobody but the query's own is.
    """
    people = np.asarray(test.source("query").identities)
    sides: tuple[Side, ...] = ("gallery", condition.guides)
    there, guides = (np.asarray(test.source(side).identities) for side in sides)
    candidates = np.intersect1d(there[there > 0], guides)
    if condition.target != "random":
        target = int(condition.target)
        if target not in candidates:
            where = " and in the ".join(dict.fromkeys(sides))
            few = ", ".join(map(str, candidates[:_NAMED]))
            more = f" and {len(candidates) - _NAMED} more" if len(candidates) > _NAMED else ""
            raise InputError(
                f"target {target} is nobody to aim at: expected an identity above 0 with an image "
                f"in the {where} split: {few}{more}"
            )
        aims = np.where((people > 0) & (people != target), target, 0)
    else:
        aims = _drawn(people, candidates, condition.seed)
    aims = aims[test.ranked if positions is None else positions]
    if not aims.any():
        raise InputError(
            "no query has anybody to impersonate: expected a person in the gallery who is not the "
            "query's own"
        )
    return aims


def _drawn(people: np.ndarray, candidates: np.ndarray, seed: int) -> np.ndarray:
    """A random candidate for each query of a split, by its position; 0 where there is none."""
    if not len(candidates):
        return np.zeros(len(people), np.int64)
    keys = example_keys(key_of(seed, TARGET), np.arange(len(people)))
    chosen = random_other(people, candidates, keys)
    places, found = np.asarray(chosen.indices)[:, 0], np.asarray(chosen.mask)[:, 0]
    return np.where(found, candidates[places], 0).astype(np.int64)


def impersonated(
    clean: tuple[Embedded, Embedded],
    attacked: tuple[Embedded, Embedded],
    sought: np.ndarray,
    *,
    distance: Distance,
) -> Impersonation:
    """How often queries are found as the person they aim at, before and after an attack.

    Args:
        clean: queries and gallery as they are, from `RetrievalTest.sets`.
        attacked: the same after the attack.
        sought: int64 [Q], from `sought_people`.
        distance: "euclidean" or "cosine".

    Returns:
        Impersonation, of the queries that aim at somebody.
    """
    before, after = (
        impersonation_ranks(*sets, sought, distance=distance).ranks[sought > 0, 0]
        for sets in (clean, attacked)
    )

    def within(ranks: np.ndarray, most: int) -> float:
        return float(np.mean(ranks <= most))

    return Impersonation(
        images=len(after),
        first_before=within(before, 1),
        first=within(after, 1),
        first5=within(after, 5),
        first10=within(after, 10),
        median_rank_before=float(np.median(before)),
        median_rank=float(np.median(after)),
    )
