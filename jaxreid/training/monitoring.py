"""What a run reports while it goes: its progress, its metrics and its speed."""

import contextlib
import json
import math
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from jaxreid.errors import InputError, reason_of
from jaxreid.files import append, replacing

__all__ = ["Clock", "MetricWriter", "Progress", "WindowMeans"]

T = TypeVar("T")


class Progress(NamedTuple):
    """Where a run stands, before its first step and after each.

    Attributes:
        stage: "decoding", "bank" or "training".
        done: images or steps.
        total: of these.
        epoch: passes over the data, with fractions.
        metrics: of the last line of the log; empty at first.
    """

    stage: str
    done: int
    total: int
    epoch: float = 0.0
    metrics: Mapping[str, float] = {}


class MetricWriter:
    """Writes metrics.jsonl and TensorBoard's events; what was written outlives the process.

    A line is {"kind": "train" or "evaluation", "step": ..., "epoch": ..., metric: number, ...}.

    Args:
        folder: where they are.
        step: the run goes on after this step: later lines, of a run that was interrupted after its
            last checkpoint, are removed.
        warn: called with a line of text if there are damaged lines; these are put aside in
            metrics-damaged.jsonl.

    Raises:
        InputError: metrics.jsonl cannot be read.
        OSError: something could not be written.
    """

    def __init__(
        self, folder: Path, *, step: int, warn: Callable[[str], None] | None = None
    ) -> None:
        self._path = folder / "metrics.jsonl"
        damaged = self._keep_until(step)
        if damaged and warn is not None:
            warn(
                f"warning: {damaged} damaged lines of {self._path} were put aside in "
                f"{self._damaged.name}"
            )
        self._events = _EventFile(folder / "tensorboard", purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.sync()

    def sync(self) -> None:
        """Sees to it that the lines so far outlive the machine, too."""
        with self._path.open("ab") as file:
            os.fsync(file.fileno())

    def write(
        self,
        kind: Literal["train", "evaluation"],
        *,
        step: int,
        epoch: float,
        metrics: Mapping[str, float],
    ) -> None:
        """Adds a line after so many batches; if it cannot be written, those before are whole."""
        # JSON has no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4), **known}
        append(self._path, json.dumps(line).encode() + b"\n")
        self._events.add(step, {f"{kind}/{name}": value for name, value in metrics.items()})

    @property
    def _damaged(self) -> Path:
        return self._path.with_name("metrics-damaged.jsonl")

    def _keep_until(self, step: int) -> int:
        """Keeps the lines up to a step as they are; returns how many were damaged."""
        try:
            *lines, cut_off = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            append(self._path, b"")
            return 0
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {reason_of(error)}") from None
        # Without a line break it is of an interruption, unless only the line break is missing.
        lines += [cut_off] if _step_of(cut_off) is not None else []
        kept, damaged = [], []
        for line in filter(bytes.strip, lines):
            found = _step_of(line)
            if found is None:
                damaged.append(line)
            elif found <= step:
                kept.append(line)
        if damaged:
            append(self._damaged, b"".join(line + b"\n" for line in damaged))
        with replacing(self._path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        return len(damaged)


def _step_of(line: bytes) -> int | None:
    """The step of a line, or None for what is no line of metrics.jsonl."""
    try:
        content = json.loads(line)
        step = content["step"] if content["kind"] in ("train", "evaluation") else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None


class _EventFile:
    """TensorBoard's events, on disk when a call returns.

    tensorboardX's own writer has a thread, which dies alone where the disk is full.

    Args:
        folder: made if it is missing; TensorBoard shows all files in it as one run.
        purge_step: what earlier files say of this step and later ones is not shown any more.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        folder.mkdir(exist_ok=True)
        # TensorBoard reads files in the order of their names.
        now = time.time()
        self._path = folder / f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, step=purge_step, session_log=start))

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        # https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
        append(self._path, b"".join((length, next(checks), content, next(checks))))


class WindowMeans:
    """Means of metrics since they were last asked for.

    Args:
        so_far: the sums of an interrupted run, from `sums`; none by default.
    """

    def __init__(self, so_far: Mapping[str, Any] | None = None) -> None:
        self._sums: dict[str, float] = dict(so_far["sums"]) if so_far else {}
        self._count: int = so_far["count"] if so_far else 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of one step; the names are the same every time."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1

    def take(self) -> dict[str, float]:
        """Gives the means and starts anew; empty if there was no step."""
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def sums(self) -> dict[str, Any]:
        """What a run needs to go on in the middle of a window, for JSON, to the last bit."""
        return {"sums": dict(self._sums), "count": self._count}


class Clock:
    """Images per second and the share of time spent waiting for data, pauses left out.

    Args:
        batch_size: images of a step, over all devices of all processes.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        # Compilation is no training: the clock starts when the first step is done.
        self._start: float | None = None
        self._steps, self._waited, self._paused = 0, 0.0, 0.0

    def waiting(self, fetch: Callable[[], T]) -> T:
        """Fetches data, and counts the time as waiting."""
        begin = time.perf_counter()
        data = fetch()
        self._waited += time.perf_counter() - begin
        return data

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of a block out."""
        begin = time.perf_counter()
        yield
        self._paused += time.perf_counter() - begin

    def step_done(self) -> None:
        """A step is over."""
        if self._start is None:
            self._start, self._waited, self._paused = time.perf_counter(), 0.0, 0.0
        else:
            self._steps += 1

    def take(self) -> dict[str, float]:
        """Gives the speed since it was last asked for.

        `images_per_second`, and `waiting_for_data` in [0, 1]; empty if no step was timed.
        """
        if self._start is None or not self._steps:
            return {}
        now = time.perf_counter()
        busy = max(now - self._start - self._paused, 1e-9)
        speed = {
            "images_per_second": self._steps * self._batch_size / busy,
            "waiting_for_data": self._waited / busy,
        }
        self._start, self._steps, self._waited, self._paused = now, 0, 0.0, 0.0
        return speed
