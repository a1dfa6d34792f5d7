"""Batches hold what they should, whatever the workers, processes and interruptions."""

import io
import itertools
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.batches import Batch
from jaxreid.data.loader import decode_all, evaluation_batches, train_batches
from jaxreid.data.samplers import IdentityBatches, ShuffledBatches
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError

SIZE = (16, 8)


def flat(grey: int) -> bytes:
    """A PNG of one grey level: image i is i, so that pixels tell who stands where."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 8), (grey, grey, grey)).save(buffer, format="PNG")
    return buffer.getvalue()


def in_memory(identities: list[int], *, broken: int = -1) -> InMemorySplit:
    known = sorted({i for i in identities if i > 0})
    images = [flat(i) for i in range(len(identities))]
    if broken >= 0:
        images[broken] = images[broken][:20]
    return InMemorySplit(
        images,
        identities,
        [i % 3 for i in range(len(identities))],
        labels=[known.index(i) if i > 0 else -1 for i in identities],
        file_names=[f"{i:04d}.png" for i in range(len(identities))],
    )


@pytest.fixture(scope="module")
def source() -> InMemorySplit:
    # Identities of 5, 3, 1 and 4 images, two distractors and junk.
    return in_memory([7, 7, 7, 7, 7, 3, 3, 3, 9, 12, 12, 12, 12, 0, 0, -1])


def same(a: Batch, b: Batch) -> None:
    for name, x, y in zip(Batch._fields, a, b, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


def check_rows(batch: Batch, source: InMemorySplit) -> None:
    """Image i is grey level i, so pixels tell which image stands in a row."""
    for images, indices in ((batch.images, batch.indices), (batch.push_images, batch.push_indices)):
        assert images.dtype == np.uint8
        assert images.shape == (*indices.shape, *SIZE, 3)
        expected = np.broadcast_to(np.maximum(indices, 0)[..., None, None, None], images.shape)
        np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(batch.mask, batch.indices >= 0)
    np.testing.assert_array_equal(batch.push_mask, batch.push_indices >= 0)
    for name in ("labels", "identities", "cameras"):
        column = np.where(batch.mask, getattr(source, name)[batch.indices], -1)
        np.testing.assert_array_equal(getattr(batch, name), column)
        assert getattr(batch, name).dtype == np.int32


def test_training_batches(source: InMemorySplit) -> None:
    batches = train_batches(source, ShuffledBatches(6), size=SIZE, pushes=2, epochs=2)
    assert len(batches) == 4
    seen = list(batches)
    assert len(seen) == 4
    for batch in seen:
        check_rows(batch, source)
        assert batch.mask.all()
        pushed = batch.identities[:, None] == source.identities[batch.push_indices]
        assert pushed[batch.push_mask].all()
        assert not batch.push_mask[batch.identities <= 0].any()
        lonely = batch.identities == 9
        np.testing.assert_array_equal(batch.push_indices[lonely, 0], batch.indices[lonely])
    for epoch in (seen[:2], seen[2:]):
        rows = np.concatenate([b.indices for b in epoch])
        assert len(set(rows.tolist())) == 12


def test_without_guides_there_are_none(source: InMemorySplit) -> None:
    batch = next(train_batches(source, IdentityBatches(2, 3), size=SIZE))
    check_rows(batch, source)
    assert batch.push_images.shape == (6, 0, *SIZE, 3)
    assert batch.push_mask.shape == (6, 0)


@pytest.mark.parametrize("cached", [False, True])
def test_guides_may_come_without_their_pixels(source: InMemorySplit, cached: bool) -> None:
    cache = decode_all(source, size=SIZE) if cached else None

    def batches(push_pixels: bool) -> list[Batch]:
        options = {"size": SIZE, "pushes": 2, "epochs": 1, "cache": cache}
        return list(train_batches(source, ShuffledBatches(6), push_pixels=push_pixels, **options))

    for whole, light in zip(batches(True), batches(False), strict=True):
        assert light.push_images.shape == (6, 0, *SIZE, 3)
        same(whole._replace(push_images=light.push_images), light)
        assert light.push_mask.any()


def test_endless_batches_have_no_length(source: InMemorySplit) -> None:
    with train_batches(source, ShuffledBatches(16), size=SIZE) as batches:
        assert len(list(itertools.islice(batches, 5))) == 5
        with pytest.raises(TypeError, match="endless"):
            len(batches)


@pytest.mark.parametrize("shards", [1, 3])
def test_evaluation_sees_everything_once(source: InMemorySplit, shards: int) -> None:
    parts = [
        list(evaluation_batches(source, 6, size=SIZE, shard=(i, shards))) for i in range(shards)
    ]
    assert [len(part) for part in parts] == [3] * shards
    rows = []
    for batch in itertools.chain(*parts):
        check_rows(batch, source)
        assert len(batch.images) == 6 // shards
        rows += batch.indices[batch.mask].tolist()
    assert sorted(rows) == list(range(len(source)))


def test_an_empty_split_has_no_batches() -> None:
    assert list(evaluation_batches(in_memory([]), 4, size=SIZE)) == []


def test_shards_together_are_the_global_batch(source: InMemorySplit) -> None:
    def batches(shard: tuple[int, int]) -> list[Batch]:
        sampler = IdentityBatches(2, 2, seed=4)
        return list(
            train_batches(source, sampler, size=SIZE, pushes=2, seed=1, epochs=2, shard=shard)
        )

    whole, parts = batches((0, 1)), [batches((i, 2)) for i in range(2)]
    for number, batch in enumerate(whole):
        pair = zip(*(part[number] for part in parts), strict=True)
        same(batch, Batch(*(np.concatenate(fields) for fields in pair)))


def deaf(process: int | str) -> bool:
    """Whether a process blocks SIGINT."""
    mask = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(mask[1], 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.slow
def test_worker_processes_change_nothing_resume_and_leave_ctrl_c_to_their_starter(
    source: InMemorySplit,
) -> None:
    def batches(workers: int) -> object:
        sampler = ShuffledBatches(4, seed=2)
        return train_batches(source, sampler, size=SIZE, pushes=1, epochs=2, workers=workers)

    expected = list(batches(0))
    with batches(2) as running:
        for batch in expected[:3]:
            same(batch, next(running))
        if Path("/proc/self/status").exists():
            workers = multiprocessing.active_children()
            assert len(workers) >= 2
            assert all(deaf(worker.pid) for worker in workers)
            assert not deaf("self")
        state = json.loads(json.dumps(running.get_state()))
        same(expected[3], next(running))
        # Back again, in the same iterator: prefetched batches must not leak through.
        running.set_state(state)
        for batch in expected[3:]:
            same(batch, next(running))
        with pytest.raises(StopIteration):
            next(running)
    other = batches(0)
    other.set_state(state)
    same(expected[3], next(other))


_KEEPS_BATCHES = """
from jaxreid.data.loader import evaluation_batches
from tests.data.test_loader import SIZE, in_memory

if __name__ == "__main__":
    batches = evaluation_batches(in_memory([1] * 20), 4, size=SIZE, workers=2)
    kept = [next(batches)]
    kept += list(batches)
    assert [batch.images[0, 0, 0, 0] for batch in kept] == [0, 4, 8, 12, 16]
"""


@pytest.mark.slow
def test_kept_batches_hold_no_shared_memory(tmp_path: Path) -> None:
    """Python warns at its end of shared memory that nobody freed."""
    script = tmp_path / "keeps_batches.py"
    script.write_text(_KEEPS_BATCHES)
    run = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.stderr == ""


def test_a_state_of_other_batches_is_refused(source: InMemorySplit) -> None:
    state = train_batches(source, ShuffledBatches(4), size=SIZE).get_state()
    for other in (
        train_batches(source, ShuffledBatches(5), size=SIZE),
        train_batches(source, ShuffledBatches(4, seed=1), size=SIZE),
        train_batches(in_memory([1, 1, 2, 2]), ShuffledBatches(4), size=SIZE),
        evaluation_batches(source, 4, size=SIZE),
    ):
        with pytest.raises(InputError, match="the saved state is of other batches"):
            other.set_state(state)
    with pytest.raises(InputError, match="got None"):
        train_batches(source, ShuffledBatches(4), size=SIZE).set_state({})


def test_the_cache_gives_the_same_batches(source: InMemorySplit) -> None:
    calls = []
    cache = decode_all(source, size=SIZE, progress=lambda *call: calls.append(call))
    assert calls[-1] == (16, 16)
    sampler = ShuffledBatches(5, seed=3)
    decoded = train_batches(source, sampler, size=SIZE, pushes=3, epochs=1)
    cached = train_batches(source, sampler, size=SIZE, pushes=3, epochs=1, cache=cache, workers=2)
    for a, b in zip(decoded, cached, strict=True):
        same(a, b)
    # Batches are copies: writing into one must not write into the cache.
    before = cache.copy()
    batch = next(evaluation_batches(source, 4, size=SIZE, cache=cache))
    batch.images[:] = 255
    np.testing.assert_array_equal(cache, before)


def test_a_bad_image_is_named() -> None:
    """By workers too: `test_source` reads a damaged record with one."""
    source = in_memory([1, 1, 2, 2], broken=2)
    with pytest.raises(InputError, match=r"0002\.png: not an image"):
        list(evaluation_batches(source, 2, size=SIZE))


def test_bad_arguments(source: InMemorySplit) -> None:
    sampler = ShuffledBatches(6)
    with pytest.raises(InputError, match="pushes must be 0 or more, got -1"):
        train_batches(source, sampler, pushes=-1)
    with pytest.raises(InputError, match="workers must be 0 or more, got -1"):
        train_batches(source, sampler, workers=-1)
    with pytest.raises(InputError, match="0 <= index < count, got"):
        train_batches(source, sampler, shard=(2, 2))
    with pytest.raises(InputError, match="batch of 6 cannot be split over 4 processes"):
        evaluation_batches(source, 6, shard=(0, 4))
    cache = np.zeros((3, 16, 8, 3), np.uint8)
    with pytest.raises(InputError, match=r"cache must be uint8 \[16, 16, 8, 3\], got uint8 \[3,"):
        train_batches(source, sampler, size=SIZE, cache=cache)
