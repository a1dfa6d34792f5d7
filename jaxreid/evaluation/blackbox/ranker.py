"""What a black box is asked and what it answers: images, and for each the first of a gallery."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxreid.errors import InputError, reason_of

__all__ = ["NOTHING", "Answer", "Ranker", "ask"]

NOTHING = -1
"""In place of an item, after the end of a list that is shorter than others."""


class Answer(NamedTuple):
    """Rank lists.

    Attributes:
        items: [B,k] integer, positions in the gallery, best first, none of them twice; -1 after
            the end of a shorter list. Or B sequences of such positions.
        scores: [B,k] floating point, how well each item fits: never rising along a list, in any
            unit; or B sequences, as long as the lists. None where the service shows none.
    """

    items: Any
    scores: Any = None


Ranker = Callable[[np.ndarray], Any]
"""uint8 [B,H,W,3] -> Answer, or its `items` alone. What a row is answered depends on it only."""


def ask(
    ranker: Ranker, images: np.ndarray, *, top: int, gallery: int, scored: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Asks once, and checks what comes back.

    Args:
        ranker: the black box.
        images: uint8 [B,H,W,3].
        top: how many items of a list are seen; the rest is cut off.
        gallery: how many items there are.
        scored: whether scores are seen, too.

    Returns:
        Items int32 [B,top], -1 after the end of a list, and their scores float32 [B,top], 0 there;
        None without `scored`.

    Raises:
        InputError: the ranker raised something, or what it answered is no answer.
    """
    try:
        found = ranker(images)
    except InputError:
        raise
    # A service may fail in any way, and its code may end the process.
    except (Exception, SystemExit) as error:
        raise InputError(
            f"the ranker failed: {type(error).__name__}: {reason_of(error)}"
        ) from error
    answer = found if isinstance(found, Answer) else Answer(found)
    lists = _lists("the ranker's items", answer.items, len(images))
    items = np.full((len(images), top), NOTHING, np.int32)
    for row, found in enumerate(lists):
        seen = _positions(found, row, gallery)[:top]
        items[row, : len(seen)] = seen
    if not scored:
        return items, None
    if answer.scores is None:
        raise InputError(
            "the ranker gives no scores: return jaxreid.evaluation.blackbox.Answer(items, scores), "
            "or attack what the lists alone show"
        )
    scores = np.zeros((len(images), top), np.float32)
    for row, found in enumerate(_lists("the ranker's scores", answer.scores, len(images))):
        length = int((items[row] != NOTHING).sum())
        scores[row, :length] = _falling(found, row, length)
    return items, scores


def _lists(name: str, lists: Any, count: int) -> Sequence[Any]:
    if not (hasattr(lists, "__len__") and hasattr(lists, "__getitem__")) or isinstance(
        lists, str | bytes | dict
    ):
        raise InputError(f"{name} must be {count} lists, got a {type(lists).__name__}")
    if len(lists) != count:
        raise InputError(f"{name} must be one list per image, {count}, got {len(lists)}")
    return lists


def _positions(found: Any, row: int, gallery: int) -> np.ndarray:
    """One list of items, without what stands for their absence."""
    try:
        items = np.asarray(found)
    except (TypeError, ValueError) as error:
        raise InputError(f"the ranker's list {row} is none: {reason_of(error)}") from None
    if items.ndim == 1 and items.size == 0:
        return np.zeros(0, np.int64)
    if items.ndim != 1 or not np.issubdtype(items.dtype, np.integer):
        raise InputError(
            f"the ranker's list {row} must be integers, positions in the gallery, got "
            f"{list(items.shape)} {items.dtype}"
        )
    # As Python's numbers, which unsigned ones may not fit into.
    ended = items == NOTHING
    length = int(ended.argmax()) if ended.any() else len(items)
    if not ended[length:].all():
        raise InputError(f"the ranker's list {row} goes on after {NOTHING}, which ends it")
    items = items[:length]
    wrong = (items < 0) | (items >= gallery)
    if wrong.any():
        raise InputError(
            f"the ranker's list {row} names item {items[wrong][0]}; the gallery has 0 to "
            f"{gallery - 1}"
        )
    if len(np.unique(items)) < len(items):
        raise InputError(f"the ranker's list {row} names an item twice")
    return items


def _falling(found: Any, row: int, length: int) -> np.ndarray:
    """The scores of one list, of which `length` items are seen."""
    try:
        scores = np.asarray(found, np.float64)[:length]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"the ranker's scores {row} are no numbers: {reason_of(error)}") from None
    if scores.shape != (length,):
        raise InputError(f"the ranker's list {row} has {length} items and {scores.size} scores")
    if not np.isfinite(scores).all():
        raise InputError(f"the ranker's scores {row} hold NaN or infinity")
    if (np.diff(scores) > 0).any():
        raise InputError(
            f"the ranker's scores {row} rise along the list: the larger, the better an item fits; "
            "of distances give minus the distance"
        )
    return scores
