"""Draws the whole dataset in processes of its own, in the order of the plan.

The processes are started as `python -m jaxreid.data.synthetic.parallel`, not by multiprocessing:
forking a process in which JAX runs threads may hang, and spawning runs the caller's script again.
"""

import collections
import contextlib
import dataclasses
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import IO

from jaxreid.data.synthetic.config import SyntheticConfig
from jaxreid.data.synthetic.planning import SyntheticImage, plan
from jaxreid.data.synthetic.rendering import render
from jaxreid.data.workers import check_workers

__all__ = ["render_all"]

_LENGTH = struct.Struct("<I")


def render_all(
    config: SyntheticConfig,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generator[tuple[SyntheticImage, bytes], None, None]:
    """Draws every image of the plan.

    Args:
        config: sizes and difficulty.
        workers: processes; 1 draws in this one. By default one per processor.
        progress: called with (images done, images in all) after each image.

    Returns:
        (entry, JPEG bytes) in the plan's order, whatever the number of workers.

    Raises:
        InputError: workers is less than 1 or absurdly many, or the sizes contradict each other.
    """
    count = (os.cpu_count() or 1) if workers is None else check_workers(workers, least=1)
    items = plan(config)
    return _drawn(config, items, min(count, len(items)), progress or (lambda done, total: None))


def _drawn(
    config: SyntheticConfig,
    items: list[SyntheticImage],
    workers: int,
    progress: Callable[[int, int], None],
) -> Generator[tuple[SyntheticImage, bytes], None, None]:
    with contextlib.ExitStack() as stack:
        drawers: collections.deque[Iterator[bytes]] = collections.deque()
        if workers == 1:
            drawers.append(render(config, item) for item in items)
        else:
            drawers.extend(
                stack.enter_context(_process(config, rank, workers)) for rank in range(workers)
            )
        for done, item in enumerate(items, start=1):
            # Image i comes from worker i modulo the workers, so taking turns keeps the order.
            jpeg = next(drawers[0])
            drawers.rotate(-1)
            progress(done, len(items))
            yield item, jpeg


@contextlib.contextmanager
def _process(config: SyntheticConfig, rank: int, workers: int) -> Iterator[Iterator[bytes]]:
    """One drawing process; the context ends it, finished or not."""
    words = [json.dumps(dataclasses.asdict(config)), str(rank), str(workers)]
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "jaxreid.data.synthetic.parallel", *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        )
        assert child.stdout is not None
        try:
            yield _received(child.stdout, errors)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _received(pipe: IO[bytes], errors: IO[bytes]) -> Iterator[bytes]:
    while True:
        head = pipe.read(_LENGTH.size)
        body = pipe.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
        if not body:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()
            raise RuntimeError(f"a drawing process stopped early: {text or 'it was killed'}")
        yield body


def _serve(config: SyntheticConfig, rank: int, workers: int) -> None:
    """Draws every workers-th image and writes length and bytes to standard output."""
    for item in plan(config)[rank::workers]:
        jpeg = render(config, item)
        sys.stdout.buffer.write(_LENGTH.pack(len(jpeg)) + jpeg)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(SyntheticConfig(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
