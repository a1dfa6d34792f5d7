"""From a split to uint8 batches: decoding in threads or processes, resumable, sharded.

Batch k is a function of k, of the seed and of the data alone. So the order depends on no number
of workers or processes, and the state of an iterator is one integer.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from absl import flags

from jaxreid.constants import Filter
from jaxreid.data.batches import Batch, BatchMaker, Images, TrainRows
from jaxreid.data.catalogue import IMAGE_SIZE
from jaxreid.data.samplers import GuideTable, Sampler, evaluation_rows
from jaxreid.data.source import ReidSource
from jaxreid.data.workers import blocking_interrupts, check_workers
from jaxreid.errors import InputError
from jaxreid.processors import usable_processors

__all__ = ["BatchIterator", "decode_all", "evaluation_batches", "train_batches"]

_FOREVER = 1 << 40
_DECODE_BLOCK = 64


class BatchIterator(Iterator[Batch]):
    """Batches in order; its state can be saved and restored exactly, with other workers too.

    Made by `train_batches` and `evaluation_batches`. `len` is the number of batches where it is
    finite. Close it, or use it as a context, to end its worker processes early.

    Args:
        make: k -> the fields of Batch k.
        batches: number of batches.
        workers: processes that make them; 0 for threads of this one.
        plan: says which data and settings a saved state belongs to.
    """

    def __init__(
        self, make: Callable[[int], dict[str, np.ndarray]], *, batches: int, workers: int, plan: str
    ) -> None:
        self._make, self._batches, self._workers, self._plan = make, batches, workers, plan
        self._next = 0
        self._running: Any = None  # Grain's iterator, while there is one

    def __len__(self) -> int:
        if self._batches == _FOREVER:
            raise TypeError("the batches are endless; give `epochs` for a length")
        return self._batches

    def __next__(self) -> Batch:
        if self._next >= self._batches:
            self.close()
            raise StopIteration
        if self._running is None:
            with blocking_interrupts() if self._workers else contextlib.nullcontext():
                self._running = self._start()
                arrays = next(self._running)
        else:
            arrays = next(self._running)
        if isinstance(arrays, InputError):
            self.close()
            raise arrays
        if self._workers:
            # Workers hand over shared memory: containers have little of it, and what is still in
            # use when the process ends is never freed. So the caller gets copies.
            arrays = {name: np.array(array) for name, array in arrays.items()}
        self._next += 1
        return Batch(**arrays)

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self) -> Iterator[dict[str, np.ndarray] | InputError]:
        # Here, so that what reads no images, benchmarks above all, runs where Grain is not.
        import grain

        # Grain keeps the stack frames of exceptions, StopIteration included, and with them the
        # workers' batches in shared memory. So its dataset never ends, and errors are returned.
        make = partial(_outcome, self._make, self._batches)
        batches = grain.MapDataset.range(self._next, _FOREVER).map(make)
        threads = _threads()
        if not self._workers:
            options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
            return iter(batches.to_iter_dataset(options))
        # Grain reads absl flags, which only `absl.app.run` parses.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        # One thread in each process: OpenCV and Pillow leave Python's lock only for part of it.
        single = batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=4)
        return iter(single.mp_prefetch(options))

    def get_state(self) -> dict[str, int | str]:
        """What must be saved to go on later.

        Returns:
            A dictionary that JSON can hold.
        """
        return {"next_batch": self._next, "plan": self._plan}

    def set_state(self, state: dict[str, int | str]) -> None:
        """Goes to a saved place; the next batch is the one that came next when it was saved.

        Args:
            state: from `get_state` of an iterator over the same data with the same settings.

        Raises:
            InputError: the state is of other data or settings.
        """
        if state.get("plan") != self._plan:
            raise InputError(
                f"the saved state is of other batches: expected {self._plan}, "
                f"got {state.get('plan')}"
            )
        self.close()
        self._next = int(state["next_batch"])

    def close(self) -> None:
        """Ends the worker processes; the next batch starts them again."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _outcome(
    make: Callable[[int], dict[str, np.ndarray]], batches: int, number: int
) -> dict[str, np.ndarray] | InputError:
    """A batch, what is wrong with its data, or nothing beyond the end."""
    try:
        return make(number) if number < batches else {}
    except InputError as error:
        return error.with_traceback(None)


def _threads() -> int:
    return max(1, min(16, usable_processors()))


def train_batches(
    source: ReidSource,
    sampler: Sampler,
    *,
    size: tuple[int, int] = IMAGE_SIZE,
    filter: Filter = "bicubic",
    pushes: int = 0,
    push_pixels: bool = True,
    seed: int = 0,
    epochs: int | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    cache: np.ndarray | None = None,
) -> BatchIterator:
    """Batches for training: shuffled, or P identities x K images; with guides for GOAT.

    Args:
        source: the split.
        sampler: `ShuffledBatches` or `IdentityBatches`; its batch is the global one.
        size: (height, width) in pixels.
        filter: kernel that resizes them.
        pushes: P, pushing images drawn for each example (see `GuideTable`); 0 for none.
        push_pixels: whether they are decoded; False leaves `push_images` empty, for those who need
            their indices only.
        seed: of the pushing images; the order has the sampler's.
        epochs: when to stop; None never does.
        shard: (index, count) of this process; it gets its part of every global batch.
        workers: processes that decode; 0 decodes in threads of this one. A script that uses
            workers must be guarded by `if __name__ == "__main__":`, as for multiprocessing.
        cache: uint8 [N,height,width,3] from `decode_all`, in place of decoding; needs no workers.

    Returns:
        A BatchIterator.

    Raises:
        InputError: sizes that do not fit the split, the shards or each other; while iterating, an
            image that cannot be decoded.
    """
    labels = np.asarray(source.labels)
    batches = sampler.batches(labels)
    if pushes < 0:
        raise InputError(f"pushes must be 0 or more, got {pushes}")
    images = _checked(source, size, filter=filter, cache=cache)
    maker = BatchMaker(
        images,
        TrainRows(sampler, labels, batches),
        _checked_shard(shard, sampler.batch_size),
        GuideTable(labels) if pushes else None,
        pushes,
        seed,
        push_pixels,
    )
    return BatchIterator(
        maker,
        batches=_FOREVER if epochs is None else epochs * batches,
        workers=_checked_workers(workers, cache),
        plan=f"{sampler} of {len(labels)} images, {pushes} pushes, seed {seed}",
    )


def evaluation_batches(
    source: ReidSource,
    batch_size: int,
    *,
    size: tuple[int, int] = IMAGE_SIZE,
    filter: Filter = "bilinear",
    shard: tuple[int, int] = (0, 1),
    workers: int = 0,
    cache: np.ndarray | None = None,
) -> BatchIterator:
    """Every example exactly once, in order; the last batch is padded and masked.

    Args:
        source: the split.
        batch_size: of the global batch.
        size: (height, width) in pixels.
        filter: kernel that resizes them.
        shard: (index, count) of this process.
        workers: see `train_batches`.
        cache: see `train_batches`.

    Returns:
        A BatchIterator over one pass.

    Raises:
        InputError: see `train_batches`.
    """
    rows = [(row, 0) for row in evaluation_rows(len(source), batch_size)]  # of epoch 0
    images = _checked(source, size, filter=filter, cache=cache)
    return BatchIterator(
        BatchMaker(images, rows.__getitem__, _checked_shard(shard, batch_size)),
        batches=len(rows),
        workers=_checked_workers(workers, cache),
        plan=f"evaluation in batches of {batch_size} of {len(source)} images",
    )


def decode_all(
    source: ReidSource,
    *,
    size: tuple[int, int] = IMAGE_SIZE,
    filter: Filter = "bicubic",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Decodes a whole split into memory; Market-1501's training set takes 1.3 GB at 256x128.

    Args:
        source: the split.
        size: (height, width) in pixels.
        filter: kernel that resizes them.
        workers: see `train_batches`.
        progress: called with (images done, images in all) after each block.

    Returns:
        uint8 [N,height,width,3], the `cache` of `train_batches`.

    Raises:
        InputError: an image that cannot be decoded.
    """
    images = np.zeros((len(source), *size, 3), np.uint8)
    block = max(1, min(_DECODE_BLOCK, len(source)))
    with evaluation_batches(source, block, size=size, filter=filter, workers=workers) as batches:
        for batch in batches:
            images[batch.indices[batch.mask]] = batch.images[batch.mask]
            if progress is not None:
                progress(int(batch.indices.max()) + 1, len(source))
    return images


def _checked(
    source: ReidSource, size: tuple[int, int], *, filter: Filter, cache: np.ndarray | None
) -> Images:
    expected = (len(source), *size, 3)
    if cache is not None and (cache.shape != expected or cache.dtype != np.uint8):
        raise InputError(
            f"cache must be uint8 {list(expected)}, got {cache.dtype} {list(cache.shape)}"
        )
    return Images(source, size, filter, cache)


def _checked_shard(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    index, count = shard
    if not 0 <= index < count:
        raise InputError(f"shard must be (index, count) with 0 <= index < count, got {shard}")
    if batch_size % count:
        raise InputError(f"a global batch of {batch_size} cannot be split over {count} processes")
    return shard


def _checked_workers(workers: int, cache: np.ndarray | None) -> int:
    check_workers(workers, least=0)
    # Copying the cache into other processes would cost more than it saves.
    return 0 if cache is not None else workers
