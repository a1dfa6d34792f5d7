"""The benchmark reads what it says from every contestant and ends what it started."""

import multiprocessing

import numpy as np
import pytest

from jaxreid.benchmark import data
from jaxreid.data.source import InMemorySplit
from jaxreid.data.synthetic import CONFIGS
from jaxreid.errors import InputError


@pytest.fixture(scope="module")
def split() -> InMemorySplit:
    return data.generated_split(96)


@pytest.mark.slow
def test_the_generated_split_has_markets_size(split: InMemorySplit) -> None:
    assert len(split) == 96
    assert all(split[i]["image"].startswith(b"\xff\xd8") for i in range(96))
    with pytest.raises(InputError, match="images must be 1 to 12936, got 0"):
        data.generated_split(0)
    assert CONFIGS["market_like"].train_images == 12936


@pytest.mark.slow
def test_all_contestants_take_part(split: InMemorySplit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "IMAGE_SIZE", (16, 8))
    monkeypatch.setattr(data, "_has_torch", lambda: False)
    calls = []
    timings = data.time_input(
        split, images=130, repeats=2, workers=1, progress=lambda *call: calls.append(call)
    )
    names = ["PIL loop, one process", "jaxreid, threads", "jaxreid, 1 processes", "jaxreid, cache"]
    assert list(timings.timings) == names
    assert timings.images == 128
    assert timings.missing == {"PyTorch DataLoader": "torch is not installed"}
    assert calls == [(name, turn, 8) for turn, name in enumerate(names * 2)]
    for name, timing in timings.timings.items():
        assert len(timing.runs) == 2
        assert min(timing.runs) > 0.0
        assert timings.rate(name) == pytest.approx(128 / np.median(timing.runs))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_contestants_read_the_same_images(split: InMemorySplit) -> None:
    def checksums(batches: list[np.ndarray]) -> set[int]:
        return {int(image.astype(np.int64).sum()) for batch in batches for image in batch}

    one = InMemorySplit(
        [split[i]["image"] for i in range(64)], split.identities[:64], split.cameras[:64]
    )
    plain = checksums([next(data._pil_loop(one))])
    assert len(plain) > 60
    with data._jaxreid(one) as ours:
        assert checksums([next(ours).images]) == plain


@pytest.mark.torch
def test_the_torch_loader_reads_the_same_images(split: InMemorySplit) -> None:
    one = InMemorySplit(
        [split[i]["image"] for i in range(64)], split.identities[:64], split.cameras[:64]
    )
    loader = data._torch(one, 1)
    batch = next(loader).numpy()
    loader.close()
    plain = next(data._pil_loop(one))
    assert batch.shape == (64, 256, 128, 3)
    assert batch.dtype == np.uint8
    assert sorted(i.tobytes() for i in batch) == sorted(i.tobytes() for i in plain)


def test_bad_arguments(split: InMemorySplit) -> None:
    with pytest.raises(InputError, match="got 96 and 63 images, 3 repeats, 1 workers"):
        data.time_input(split, images=63, workers=1)
    with pytest.raises(InputError, match="0 repeats"):
        data.time_input(split, repeats=0)
