"""Names of attacks as users write them."""

import difflib
from collections.abc import Iterable
from typing import TypeVar

from jaxreid.attacks import ATTACKS
from jaxreid.errors import InputError

__all__ = ["attack_names", "listed"]

_Item = TypeVar("_Item")

# Names for several attacks at once; noise is the baseline and no attack of the paper.
_GROUPS = {
    "all": tuple(ATTACKS),
    "paper": tuple(name for name in ATTACKS if name != "noise"),
}


def listed(name: str, items: Iterable[_Item]) -> list[_Item]:
    """Reads a list of names or numbers; text would be taken apart into its letters.

    Args:
        name: the argument's name, for the message.
        items: a list, a tuple, an array of one axis, or whatever else can be gone through.

    Returns:
        The items in their order.

    Raises:
        InputError: on text, a single number, or anything else that holds no items.
    """
    try:
        if not isinstance(items, str | bytes):
            return list(items)
    except TypeError:
        pass
    got = " ".join(repr(items).split())[:40]
    raise InputError(f"{name} must be a list, as [{got}] is one, got {got}")


def attack_names(words: Iterable[str]) -> tuple[str, ...]:
    """Checks names of attacks.

    Args:
        words: keys of ATTACKS, "paper" for all that the paper studies, or "all".

    Returns:
        Keys of ATTACKS, each once, in the order given.

    Raises:
        InputError: an unknown name, with the nearest known one; none at all, or no list.
    """
    names: dict[str, None] = {}
    for word in listed("attacks", words):
        if not isinstance(word, str):
            raise InputError(f"names of attacks must be text, got {word!r}")
        if word not in ATTACKS and word not in _GROUPS:
            raise InputError(f"unknown attack {word!r}; {_near(word)}")
        names.update(dict.fromkeys(_GROUPS.get(word, (word,))))
    if not names:
        raise InputError(f"no attack is named; there are {', '.join(ATTACKS)}")
    return tuple(names)


def _near(word: str) -> str:
    """What may have been meant: several names, where one of them would be a guess."""
    known, wanted = [*ATTACKS, *_GROUPS], word.lower().replace("-", "_")
    near = difflib.get_close_matches(wanted, known, n=1)
    if wanted not in known:
        # fna_pull may be three of FNA's variants; only its user knows which.
        stem = wanted.partition("_")[0]
        family = [name for name in known if name.partition("_")[0] == stem]
        near = family or near
    if not near:
        return f"there are {', '.join(known)}"
    if len(near) == 1:
        return f"did you mean {near[0]!r}?"
    titles = {name: ATTACKS[name].title for name in near if name in ATTACKS}
    return "did you mean one of " + ", ".join(f"{name} ({titles[name]})" for name in titles) + "?"
