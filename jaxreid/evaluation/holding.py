"""A folder that belongs to one run at a time, over all processes of the run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxreid.errors import InputError
from jaxreid.files import clear_abandoned
from jaxreid.locks import held

__all__ = ["held_by_run"]

_LONGEST = 4096
_FAULTS = (InputError, OSError)


@contextlib.contextmanager
def held_by_run(folder: Path, *, beside: bool = False) -> Iterator[None]:
    """Holds a folder as `jaxreid.locks.held` does: the first process for all of its run.

    What runs that died left of `jaxreid.files.replacing` in it and in its parts is removed.
    Every process of the run calls this. Where the first one is refused all of them are, at once
    and for the same reason, and none waits for the others in vain.

    Args:
        folder: made with its parents, if the lock lies in it.
        beside: whether the lock lies beside the folder; see `jaxreid.locks.held`.

    Yields:
        Nothing.

    Raises:
        InputError: another run holds it (the message says which), or it cannot be written.
        OSError: the disk is full or broken.
    """
    with contextlib.ExitStack() as stack:
        refused: Exception | None = None
        if jax.process_index() == 0:
            try:
                stack.enter_context(held(folder, beside=beside))
                if not beside:
                    _clear(folder)
            except _FAULTS as error:
                refused = error
        refused = _told_by_first(refused)
        if refused is not None:
            raise refused from None
        yield


def _clear(folder: Path) -> None:
    """Removes what runs that died left in a folder and its parts."""
    clear_abandoned(folder, held=True)
    for part in folder.iterdir():
        if part.is_dir() and not part.is_symlink():
            clear_abandoned(part, held=True)


def _told_by_first(refused: Exception | None) -> Exception | None:
    """What the first process has to say, on every process."""
    if jax.process_count() == 1:
        return refused
    # One byte for the kind, then the message.
    text = b""
    if refused is not None:
        kind = next(number for number, fault in enumerate(_FAULTS) if isinstance(refused, fault))
        text = bytes([kind]) + str(refused).encode(errors="backslashreplace")[: _LONGEST - 1]
    told = np.zeros(_LONGEST, np.uint8)
    told[: len(text)] = np.frombuffer(text, np.uint8)
    length, told = multihost_utils.broadcast_one_to_all((np.int32(len(text)), told))
    if not length:
        return None
    kind, *message = bytes(np.asarray(told)[:length].astype(np.uint8))
    return _FAULTS[kind](bytes(message).decode(errors="replace"))
