"""Images are the same everywhere, and a function of what they show."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.synthetic import CONFIGS, plan, render, render_all, rendering
from jaxreid.data.synthetic.rendering import render_pixels
from jaxreid.data.synthetic.wardrobe import person
from jaxreid.errors import InputError

TINY = CONFIGS["tiny"]

# SHA-256 of the pixels before compression, by position in the plan: person, distractor, junk.
GOLDEN = {
    ("default", 0): "9d20f6fc0a86dfed6c5d41d8",
    ("default", 7): "869143b5b6a1538e7b936d63",
    ("default", 1950): "2a7c4a21bbf6c84b6dfda394",
    ("default", 2850): "9ed18e05d728a056e97ef984",
    ("default", 2900): "505fb2423d400695c7159ed5",
    ("tiny", 0): "f221d67ede53c873651bbda8",
    ("tiny", 7): "8d396dc07afdaf211d5ad86b",
    ("tiny", 88): "7d088ae884e4113da294aa32",
    ("tiny", 118): "e38f722bae672f25952f5b3d",
    ("tiny", 124): "76e031fdf4124d65af496b6e",
}


def test_jpeg_decodes_to_about_the_drawn_pixels() -> None:
    item = plan(TINY)[0]
    pixels = render_pixels(TINY, item)
    assert pixels.shape == (TINY.height, TINY.width, 3)
    with Image.open(io.BytesIO(render(TINY, item))) as picture:
        assert picture.format == "JPEG"
        decoded = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(decoded - pixels).mean() < 6.0


def test_an_image_is_a_function_of_config_and_item() -> None:
    first, second = plan(TINY)[:2]
    assert render(TINY, first) == render(TINY, first)
    assert render(TINY, first) != render(TINY, second)
    other = dataclasses.replace(TINY, seed=1)
    assert render(TINY, first) != render(other, first)


@pytest.mark.parametrize(("name", "place"), sorted(GOLDEN))
def test_pixels_are_the_ones_written_down(name: str, place: int) -> None:
    config = CONFIGS[name]
    pixels = render_pixels(config, plan(config)[place])
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:24] == GOLDEN[name, place]


def test_people_are_told_apart_by_detail_and_not_by_strong_colours() -> None:
    """The clothes' colours are muted: their spread is the one that was asked for."""
    config = CONFIGS["default"]
    colours = np.array([person(config, i).upper.colour for i in range(1, 301)], float)
    assert 0.85 < colours.std(axis=0).mean() / config.colour_spread < 1.15
    hues = colours - colours.mean(axis=1, keepdims=True)
    assert hues.std() < 0.6 * config.colour_spread


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
    popen = rendering.subprocess.Popen

    def recorded(*args: object, **options: object) -> object:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(rendering.subprocess, "Popen", recorded)
    images = render_all(TINY, workers=2)
    next(images)
    images.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_workers_must_be_positive() -> None:
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        render_all(TINY, workers=0)


def test_a_drawing_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering.dataclasses, "asdict", lambda config: {"name": "x"})
    with pytest.raises(RuntimeError, match=r"stopped early: (.|\n)*missing 9 required"):
        next(render_all(TINY, workers=2))
