"""Names of attacks and of groups of them, as users type them."""

from collections.abc import Iterable
from typing import TypeVar

from jaxreid.attacks import ATTACKS
from jaxreid.checks import shown
from jaxreid.constants import ENSEMBLES
from jaxreid.errors import InputError, did_you_mean
from jaxreid.evaluation.paper import STUDIED

__all__ = ["attack_names", "attacks_beside_clean", "listed"]

_Item = TypeVar("_Item")


def _groups() -> dict[str, tuple[str, ...]]:
    """Names for several attacks at once; "all" has those that were added to the table, too.

    An ensemble without its version is its newest one.
    """
    return {
        "all": tuple(ATTACKS),
        "paper": STUDIED,
        "worst": ("worst-1",),
        "worst-quick": ("worst-1-quick",),
    }


def listed(name: str, items: Iterable[_Item]) -> list[_Item]:
    """The items of any iterable but text, whose items are letters."""
    try:
        if not isinstance(items, str | bytes):
            return list(items)
    except TypeError:
        pass
    got = shown(items)
    raise InputError(f"{name} must be a list, as [{got}] is one, got {got}")


def attack_names(words: Iterable[str]) -> tuple[str, ...]:
    """Checks names of attacks.

    Args:
        words: keys of ATTACKS or of ENSEMBLES, "worst" for the newest ensemble, "paper" for all
            that the paper studies, or "all" for all single attacks.

    Returns:
        Keys of ATTACKS or of ENSEMBLES, each once, in the order given.

    Raises:
        InputError: an unknown name, with the nearest known one; none at all, or no list.
    """
    names: dict[str, None] = {}
    groups = _groups()
    for word in listed("attacks", words):
        if not isinstance(word, str):
            raise InputError(f"names of attacks must be text, got {word!r}")
        if word not in ATTACKS and word not in ENSEMBLES and word not in groups:
            raise InputError(f"unknown attack {word!r}; {_near(word)}")
        names.update(dict.fromkeys(groups.get(word, (word,))))
    if not names:
        raise InputError(f"no attack is named; there are {', '.join(ATTACKS)}")
    return tuple(names)


def attacks_beside_clean(words: Iterable[str]) -> tuple[str, ...]:
    """The attacks of a sweep, which ranks clean images first in any case.

    Args:
        words: as `attack_names` takes them, and "clean", with which alone nothing is attacked.

    Returns:
        What `attack_names` makes of the others.

    Raises:
        InputError: as `attack_names` does.
    """
    given = listed("attacks", words)
    attacks = [word for word in given if word != "clean"]
    return attack_names(attacks) if attacks or not given else ()


def _near(word: str) -> str:
    """Names that may have been meant; several where one of them would be a guess."""
    known, wanted = [*ATTACKS, *ENSEMBLES, *_groups()], word.lower().replace("-", "_")
    # fna_pull may be three of FNA's variants; only its user knows which.
    stem = wanted.partition("_")[0]
    family = [name for name in known if name.partition("_")[0] == stem]
    if wanted in known or len(family) < 2:
        near = did_you_mean(wanted, family, cutoff=0.0) or did_you_mean(wanted, known)
        return near or f"there are {', '.join(known)}"
    titles = {name: ATTACKS[name].title for name in family if name in ATTACKS}
    return "did you mean one of " + ", ".join(f"{name} ({titles[name]})" for name in titles) + "?"
