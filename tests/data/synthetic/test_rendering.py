"""Images are the same everywhere, at every number of workers, and look like what they are of."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.synthetic import CONFIGS, plan, render, render_all
from jaxreid.data.synthetic.rendering import render_pixels
from jaxreid.errors import InputError

TINY = CONFIGS["tiny"]


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


def test_render_all_can_be_left_early() -> None:
    images = render_all(TINY, workers=2)
    next(images)
    images.close()


def test_workers_must_be_positive() -> None:
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        render_all(TINY, workers=0)
