"""Checkpoints (Orbax): written in the background, whole or not at all, and verified when read."""

import contextlib
import functools
import json
import logging
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

__all__ = ["Checkpoints", "Saved"]


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        arrays: name -> array, as `arrays_of` gave them.
        notes: what JSON can hold, as it was given.
    """

    arrays: dict[str, np.ndarray]
    notes: dict[str, Any]


def _checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    # As bytes: half precision has no format that buffers know.
    return {name: zlib.crc32(np.asarray(array).tobytes()) for name, array in arrays.items()}


def _checksum_of_notes(notes: object) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())


class Checkpoints:
    """The checkpoints of a run, newest first; every process of the run makes one of these.

    The first process writes, in the background; all of them read. A checkpoint appears under its
    step's number when it is complete.

    Args:
        folder: theirs alone; made with its parents.
        keep: how many are kept, at least 1.

    Attributes:
        folder: absolute path.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        if keep < 1:
            raise InputError(f"checkpoint.keep must be at least 1, got {keep}")
        self.folder = folder.absolute()
        _silence()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Waits for what is being written, whose error gives way to one that came before."""
        try:
            self.close()
        except OSError:
            if kind is None:
                raise

    def steps(self) -> list[int]:
        """The steps of the checkpoints, newest first."""
        return sorted(self._manager.all_steps(read=True), reverse=True)

    def save(self, step: int, arrays: dict[str, np.ndarray], notes: dict[str, Any]) -> None:
        """Writes a checkpoint in the background, unless there is one of this step already.

        Args:
            step: its name.
            arrays: from `arrays_of`; must not change any more.
            notes: what JSON can hold.

        Raises:
            OSError: this one, or the one before, could not be written (a full disk, say); so does
                everything that waits for it.
        """
        if step in self._manager.all_steps():
            return
        content = {
            "checksums": _checksums(arrays),
            "notes": notes,
            "notes_checksum": _checksum_of_notes(notes),
        }
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays), notes=ocp.args.JsonSave(content)
                ),
            )

    def newest(
        self, check: Callable[[Saved], object] | None = None
    ) -> tuple[int, Saved, list[str]] | None:
        """Reads the newest checkpoint that is sound; damaged ones are put aside.

        Args:
            check: raises anything for content that is damaged.

        Returns:
            Its step, what it holds, and a warning for each one that was damaged; None if there are
            none at all. It is an InputError if there are some and all are damaged.
        """
        warnings: list[str] = []
        steps = self.steps()
        for step in steps:
            try:
                saved = self._read(step)
                if check is not None:
                    check(saved)
            except Exception as error:  # whatever a damaged file makes a reader raise
                reason = " ".join(str(error).split())[:200]
                warnings.append(
                    f"checkpoint {step} in {self.folder} is damaged and was put aside: "
                    f"{type(error).__name__}: {reason}"
                )
            else:
                self._put_aside([damaged for damaged in steps if damaged > step])
                return step, saved, warnings
        if steps:
            raise InputError(
                f"none of the checkpoints {steps} in {self.folder} can be read; remove the folder "
                f"to start anew ({warnings[0]})"
            )
        return None

    def finish(self) -> None:
        """Waits until everything is on disk."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the background threads."""
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        # Orbax raises what happened in its threads; a full disk is a ValueError there.
        try:
            yield
        except Exception as error:
            raise OSError(
                f"a checkpoint in {self.folder} could not be written; those before are whole "
                f"({_reason(error)})"
            ) from error

    def _read(self, step: int) -> Saved:
        # Without a template: shapes and types are those of the file.
        read = self._manager.restore(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(), notes=ocp.args.JsonRestore()),
        )
        arrays = {name: np.asarray(array) for name, array in read["state"].items()}
        expected = read["notes"]["checksums"]
        found = _checksums(arrays)
        if found != expected:
            wrong = [n for n in expected if found.get(n) != expected[n]]
            raise ValueError(f"{len(wrong)} arrays have other content than was saved: {wrong[:1]}")
        notes = read["notes"]["notes"]
        checksum = _checksum_of_notes(notes)
        # Earlier versions saved none.
        if read["notes"].get("notes_checksum", checksum) != checksum:
            raise ValueError("the notes have other content than was saved")
        return Saved(arrays, notes)

    def _put_aside(self, steps: list[int]) -> None:
        """Keeps damaged checkpoints, where they are not in the way of those to come."""
        # The slowest process must have found them too.
        _wait_for_all("checkpoints were read")
        if not steps:
            return
        aside = self.folder.with_name(f"{self.folder.name}-damaged")
        if is_main_process():
            aside.mkdir(exist_ok=True)
            for step in steps:
                shutil.rmtree(aside / str(step), ignore_errors=True)
                (self.folder / str(step)).rename(aside / str(step))
        _wait_for_all("damaged checkpoints were put aside")
        self._manager.reload()


def _reason(error: Exception) -> str:
    """What went wrong, without the three paths in TensorStore's message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    system = re.search(r"([^:]+) \[os_error_code='\d+'\]", text)
    return system[1].strip() if system else f"{type(error).__name__}: {text}"


@functools.cache
def _silence() -> None:
    """Lets Orbax and TensorStore raise what goes wrong, and not print it from their threads too."""
    # Orbax logs every stage of every checkpoint, and errors that it raises as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    # Where several arrays of a save fail, it raises what the first met; asyncio logs the others.
    logging.getLogger("asyncio").addFilter(_is_of_others)
    # After a failed save TensorStore calls back to an event loop that is closed, once per array and
    # at any later time: so the hook stays.
    sys.unraisablehook = _WithoutEchoes(sys.unraisablehook)


def _is_of_others(record: logging.LogRecord) -> bool:
    """False of asyncio's words about a task of Orbax that failed while nobody waited for it."""
    said = record.getMessage()
    unheard = said.startswith("Task exception was never retrieved")
    return not (unheard and os.path.join("orbax", "checkpoint", "") in said)


class _WithoutEchoes:
    """A hook for exceptions without a caller; silent about callbacks of a save that is over."""

    def __init__(self, others: Callable[["sys.UnraisableHookArgs"], object]) -> None:
        self._others = others

    def __call__(self, unraisable: "sys.UnraisableHookArgs") -> None:
        error, trace = unraisable.exc_value, unraisable.exc_traceback
        # The outermost frame: no Python code called it, TensorStore did.
        called = trace is not None and trace.tb_frame.f_code.co_name == "call_soon_threadsafe"
        if not (called and isinstance(error, RuntimeError) and "loop is closed" in str(error)):
            self._others(unraisable)


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
