"""Drawing in processes gives the same images in the same order, and ends what it started."""

import dataclasses

import pytest

from jaxreid.data.synthetic import CONFIGS, parallel, plan, render, render_all
from jaxreid.errors import InputError

TINY = CONFIGS["tiny"]


@pytest.mark.parametrize("workers", [1, 3])
def test_render_all_keeps_the_order(workers: int) -> None:
    calls = []
    small = dataclasses.replace(TINY, train_images=34, gallery_matches=22, junk=2, distractors=2)
    drawn = list(render_all(small, workers=workers, progress=lambda *call: calls.append(call)))
    items = plan(small)
    assert [item for item, _ in drawn] == items
    assert calls == [(i + 1, len(items)) for i in range(len(items))]
    for k in (0, 1, 2, len(items) - 1):
        assert drawn[k][1] == render(small, items[k])


def test_render_all_left_early_ends_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = parallel.subprocess.Popen

    def recorded(*args: object, **options: object) -> object:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(parallel.subprocess, "Popen", recorded)
    images = render_all(TINY, workers=2)
    next(images)
    images.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_workers_must_be_positive() -> None:
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        render_all(TINY, workers=0)


def test_a_drawing_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.dataclasses, "asdict", lambda config: {"name": "x"})
    with pytest.raises(RuntimeError, match=r"stopped early: (.|\n)*missing 9 required"):
        next(render_all(TINY, workers=2))
