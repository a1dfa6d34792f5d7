"""Cameras differ in what they show and in how they see."""

import dataclasses

import numpy as np

from jaxreid.data.synthetic import CONFIGS
from jaxreid.data.synthetic.scene import SCENE_SIZE, backdrop, camera

CONFIG = CONFIGS["default"]


def test_cameras_differ_and_stay_themselves() -> None:
    cameras = [camera(CONFIG, i) for i in range(CONFIG.cameras)]
    assert len(set(cameras)) == CONFIG.cameras
    camera.cache_clear()
    assert camera(CONFIG, 2) == cameras[2]
    turns = sorted(c.turn % 1.0 for c in cameras)
    assert turns[-1] - turns[0] > 0.5, "people are seen from all sides"


def test_a_camera_without_shift_sees_true_colours() -> None:
    true = camera(dataclasses.replace(CONFIG, camera_shift=0.0), 1)
    assert (true.gains, true.offset, true.contrast) == ((1.0, 1.0, 1.0), 0.0, 1.0)


def test_backdrops_are_places_and_not_flat() -> None:
    places = [np.asarray(backdrop(CONFIG, i)).astype(float) for i in range(CONFIG.cameras)]
    for place in places:
        assert place.shape == (SCENE_SIZE[1], SCENE_SIZE[0], 3)
        assert place.std(axis=(0, 1)).min() > 8.0
    for i, place in enumerate(places):
        for other in places[:i]:
            assert np.abs(place - other).mean() > 8.0
