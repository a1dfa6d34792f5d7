"""What is drawn stands where it should, in the colours it should have."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from jaxreid.data.synthetic import CONFIGS
from jaxreid.data.synthetic.body import Pose, View
from jaxreid.data.synthetic.canvas import Canvas
from jaxreid.data.synthetic.figure import draw_person
from jaxreid.data.synthetic.scene import draw_obstacle
from jaxreid.data.synthetic.stream import Stream
from jaxreid.data.synthetic.wardrobe import person

CONFIG = CONFIGS["default"]
STILL = Pose(turn=0.0, phase=0.0, stride=0.0, swing=0.0, bend=0.0, lean=0.0)
FRONT = View(x=96.0, top=20.0, height=340.0, steep=0.1, taper=0.1, sine=0.0, cosine=1.0)
BACK = dataclasses.replace(FRONT, cosine=-1.0)


def blank() -> Canvas:
    return Canvas(Image.new("RGB", (192, 384), (255, 0, 255)), 1)


def drawn(identity: int, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Colours, and where the background was painted over."""
    canvas = blank()
    draw_person(canvas, person(CONFIG, identity), STILL, view=view, detail=0.0)
    colours = np.asarray(canvas.colour)
    return colours, (colours != (255, 0, 255)).any(-1)


@pytest.mark.parametrize("view", [FRONT, BACK, dataclasses.replace(FRONT, sine=1.0, cosine=0.0)])
@pytest.mark.parametrize("identity", range(1, 13))
def test_a_person_fills_the_place_of_a_person(identity: int, view: View) -> None:
    _, body = drawn(identity, view)
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    assert abs(rows[0] - 20) < 12
    assert abs(rows[-1] - 360) < 24
    assert abs((columns[0] + columns[-1]) / 2 - 96) < 25
    assert 40 < columns[-1] - columns[0] < 170
    assert (body[rows[0] : rows[-1]].any(1)).all(), "in one piece"
    assert body[70:360].sum() > 0.1 * 290 * 192


def test_clothes_have_their_colours_and_faces_look_forward() -> None:
    for identity in range(1, 13):
        who = person(CONFIG, identity)
        front, _ = drawn(identity, FRONT)
        back, _ = drawn(identity, BACK)

        def share(colours: np.ndarray, wanted: tuple[int, int, int]) -> float:
            return float((colours == wanted).all(-1).mean())

        # A coat may hide all but the lowest part of what is under it.
        assert share(front, who.lower.colour) > 0.005
        assert max(share(front, who.upper.colour), share(front, who.upper.accent)) > 0.02
        head = slice(20, 68)
        if who.hair_style not in (0, 5):
            assert share(front[head], who.skin) > 2 * share(back[head], who.skin)


def test_the_light_falls_from_its_side() -> None:
    for light in (-1, 1):
        canvas = Canvas(Image.new("RGB", (192, 384)), light)
        draw_person(canvas, person(CONFIG, 1), STILL, view=BACK, detail=0.0)
        shade = np.asarray(canvas.shade).astype(float)
        shade[shade == 128] = np.nan
        right, left = np.nanmean(shade[:, 97:160]), np.nanmean(shade[:, 32:96])
        assert (right > left) == (light == 1)


def test_every_obstacle_hides_something_and_not_everything() -> None:
    shares = []
    for seed in range(60):
        canvas = blank()
        draw_obstacle(canvas, Stream(seed))
        shares.append(float((np.asarray(canvas.colour) != (255, 0, 255)).any(-1).mean()))
    assert max(shares) < 0.4
    assert sum(share > 0.01 for share in shares) > 50
