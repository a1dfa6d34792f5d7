"""The form of a black-box attack: it proposes an image per row, and is told what its list shows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, CountPerImage, Images, Keys

__all__ = ["Given", "Strategy", "Told"]


@pytree_dataclass
@dataclass(frozen=True)
class Given:
    """What an attack begins with.

    Attributes:
        clean: [B,H,W,C] float32 in [0, 1], whole 1/255.
        start: [B,H,W,C], the image to begin at, inside the budget; the clean one where nobody gave
            another.
        keys: [B] random keys, one per row.
        levels: budget in L-infinity, in whole 1/255.
        queries: images of each row that may be asked.
        started: whether anybody gave a start.
    """

    clean: Images
    start: Images
    keys: Keys
    levels: int = field(metadata={"static": True})
    queries: int = field(metadata={"static": True})
    started: bool = field(metadata={"static": True})


class Told(NamedTuple):
    """What the list of the image that was proposed last shows.

    Attributes:
        value: float32 [B], the larger the better for the attacker.
        succeeded: boolean [B], whether its first item is no match.
        best: [B,H,W,C] float32 in [0, 1], whole 1/255: of all images so far inside the budget, the
            one whose list is best for the attacker.
    """

    value: Array
    succeeded: Array
    best: Images


class Strategy(NamedTuple):
    """A black-box attack. Its functions are pure, and no row of them depends on another one.

    Attributes:
        title: its full name.
        begin: given -> state, any pytree of arrays [B,...].
        propose: (given, state, best image so far, number of the step) -> the images to ask next
            [B,H,W,C] in [0, 1]; they are rounded to whole 1/255 first.
        tell: (given, state, told, number of the step) -> the next state.
        until: a row ends when its person is not found "first" any more, or not in the list at all,
            "anywhere".
    """

    title: str
    begin: Callable[[Given], Any]
    propose: Callable[[Given, Any, Images, CountPerImage], Images]
    tell: Callable[[Given, Any, Told, CountPerImage], Any]
    until: Literal["first", "anywhere"]
