"""Input throughput: jaxreid's pipeline beside a plain PIL loop and a PyTorch DataLoader.

Every contestant decodes the same JPEGs, resizes them to 256x128 with PIL's bicubic kernel and
stacks them into uint8 batches in random order.
"""

import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxreid.benchmark.timing import Timing
from jaxreid.data.catalogue import IMAGE_SIZE
from jaxreid.data.loader import BatchIterator, decode_all, train_batches
from jaxreid.data.samplers import ShuffledBatches
from jaxreid.data.source import InMemorySplit, ReidSource
from jaxreid.data.synthetic import CONFIGS, plan, render_all
from jaxreid.errors import InputError
from jaxreid.processors import usable_processors

__all__ = ["InputTimings", "generated_split", "time_input"]

_BATCH = 64
_WARM_UP = 32  # batches; more than any contestant keeps ready

Reader = Iterator[object]


class InputTimings(NamedTuple):
    """Timings of one run.

    Attributes:
        images: images read in each timed run.
        timings: contestant -> its Timing.
        missing: contestants that could not take part, and why.
    """

    images: int
    timings: dict[str, Timing]
    missing: dict[str, str]

    def rate(self, name: str) -> float:
        """Median images per second of a contestant."""
        return self.images / self.timings[name].median


def generated_split(
    count: int, *, progress: Callable[[int, int], None] | None = None
) -> InMemorySplit:
    """JPEGs of Market-1501's size (128x64), drawn on the spot and kept in memory.

    At most as many as Market's training set has, 12,936. `progress` gets (images done, images in
    all).
    """
    config = CONFIGS["market_like"]
    if not 1 <= count <= config.train_images:
        raise InputError(f"images must be 1 to {config.train_images}, got {count}")
    items = plan(config)[:count]
    report = progress or (lambda done, total: None)
    encoded = []
    with closing(render_all(config)) as drawn:
        for (_, jpeg), done in zip(drawn, range(1, count + 1), strict=False):
            encoded.append(jpeg)
            report(done, count)
    return InMemorySplit(encoded, [i.identity for i in items], [i.camera for i in items])


def time_input(
    source: ReidSource,
    *,
    images: int = 4096,
    repeats: int = 3,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> InputTimings:
    """Times all contestants in turns; each is started, warmed up, timed and ended alone.

    Args:
        source: the split to read, at least one batch of 64 images.
        images: images per timed run, rounded down to whole batches.
        repeats: timed runs of each.
        workers: worker processes of the contestants that use them; by default one per usable
            processor.
        progress: called with (contestant, turns done, turns in all) as a turn begins.

    Returns:
        Timings, whose `first` is the seconds of the start and the warm-up.
    """
    count = usable_processors() if workers is None else workers
    if len(source) < _BATCH or images < _BATCH or repeats < 1 or count < 1:
        raise InputError(
            f"need {_BATCH} images or more in the split and in a run, and 1 repeat and worker or "
            f"more; got {len(source)} and {images} images, {repeats} repeats, {count} workers"
        )
    cache = decode_all(source, size=IMAGE_SIZE)
    contestants: dict[str, Callable[[], Reader]] = {
        "PIL loop, one process": lambda: _pil_loop(source),
        "jaxreid, threads": lambda: _jaxreid(source),
        f"jaxreid, {count} processes": lambda: _jaxreid(source, workers=count),
        "jaxreid, cache": lambda: _jaxreid(source, cache=cache),
    }
    missing = {}
    if not _has_torch():
        missing["PyTorch DataLoader"] = "torch is not installed"
    else:
        contestants[f"PyTorch DataLoader, {count} processes"] = lambda: _torch(source, count)
    batches = images // _BATCH
    starts: dict[str, float] = {}
    runs: dict[str, list[float]] = {name: [] for name in contestants}
    for turn, name in enumerate(list(contestants) * repeats):
        if progress is not None:
            progress(name, turn, repeats * len(contestants))
        first, seconds = _turn(contestants[name], batches)
        starts.setdefault(name, first)
        runs[name].append(seconds)
    timings = {name: Timing(starts[name], tuple(runs[name])) for name in contestants}
    return InputTimings(batches * _BATCH, timings, missing)


def _turn(start: Callable[[], Reader], batches: int) -> tuple[float, float]:
    """Seconds of start and warm-up, and of the timed batches.

    The warm-up empties what was made ready in advance; and the end of the turn ends the
    contestant's processes, so that they do not work during the next one's turn.
    """
    begin = time.perf_counter()
    reader = start()
    try:
        for _ in range(_WARM_UP):
            next(reader)
        middle = time.perf_counter()
        for _ in range(batches):
            next(reader)
        return middle - begin, time.perf_counter() - middle
    finally:
        close = getattr(reader, "close", None)
        if close is not None:
            close()


def _jaxreid(
    source: ReidSource, *, workers: int = 0, cache: np.ndarray | None = None
) -> BatchIterator:
    return train_batches(
        source, ShuffledBatches(_BATCH), size=IMAGE_SIZE, workers=workers, cache=cache
    )


def _decoded(source: ReidSource, index: int) -> np.ndarray:
    """What a torch-style dataset does for one image."""
    with Image.open(io.BytesIO(source[index]["image"])) as picture:
        resized = picture.convert("RGB").resize(IMAGE_SIZE[::-1], Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _pil_loop(source: ReidSource) -> Reader:
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(len(source))
        for first in range(0, len(order) - _BATCH + 1, _BATCH):
            yield np.stack([_decoded(source, i) for i in order[first : first + _BATCH].tolist()])


class _TorchDataset:
    """Map-style dataset over a split; at the top level so that it can be sent to workers."""

    def __init__(self, source: ReidSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        # PIL's array is read-only, which torch warns of.
        return _decoded(self.source, index).copy()


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _torch(source: ReidSource, workers: int) -> Reader:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        _TorchDataset(source),
        batch_size=_BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        # JAX runs threads in this process, and forking one with threads may hang.
        multiprocessing_context="spawn",
    )
    while True:
        yield from loader
