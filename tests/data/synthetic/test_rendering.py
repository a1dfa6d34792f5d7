"""Images are the same everywhere, and a function of what they show."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.synthetic import CONFIGS, plan, render
from jaxreid.data.synthetic.rendering import render_pixels
from jaxreid.data.synthetic.wardrobe import person

TINY = CONFIGS["tiny"]

# SHA-256 of the pixels before compression, by position in the plan: person, distractor, junk.
GOLDEN = {
    ("default", 0): "87e5751251feead7faf63076",
    ("default", 7): "598cd3f69b48b981f7efbb93",
    ("default", 1950): "54b145a2005ce609d855b4e3",
    ("default", 2850): "6f4406a2458fa56a2e2a3272",
    ("default", 2900): "7eae67693dcc6f3c4070187f",
    ("tiny", 0): "df362258a391823b42b62400",
    ("tiny", 7): "abe62adf687e66e38ff0bd9d",
    ("tiny", 88): "049c30d0f7da2ed90e43835f",
    ("tiny", 118): "c2cc9a5a75dd6e05d71dd5a9",
    ("tiny", 124): "ceb8e5f3195b700b95d4cc13",
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
