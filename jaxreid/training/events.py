"""Figures for TensorBoard, on disk when a call returns; no thread that may die on its own."""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from jaxreid.files import append

__all__ = ["Events"]


class Events:
    """A file of events.

    Args:
        folder: made if it is missing; TensorBoard shows all files in it as one run.
        purge_step: what earlier files say of this step and later ones is not shown any more.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        folder.mkdir(exist_ok=True)
        # TensorBoard reads files in the order of their names.
        now = time.time()
        self._path = folder / (
            f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
        )
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, step=purge_step, session_log=start))

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Adds figures of a step.

        Args:
            step: batches seen.
            figures: tag -> number.

        Raises:
            OSError: they could not be written; the file is as it was.
        """
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        append(self._path, _record(event.SerializeToString()))


def _record(content: bytes) -> bytes:
    """A TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details."""
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return b"".join((length, next(checks), content, next(checks)))
