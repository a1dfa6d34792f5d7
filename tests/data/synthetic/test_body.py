"""Bones keep their length, and the projection does what a camera does."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxreid.data.synthetic import CONFIGS
from jaxreid.data.synthetic.body import Pose, View, joints, random_pose
from jaxreid.data.synthetic.stream import Stream, wave
from jaxreid.data.synthetic.wardrobe import person

SOMEBODY = person(CONFIGS["tiny"], 1)


def view(turn: float, steep: float = 0.0, taper: float = 0.0) -> View:
    sine, cosine = wave(turn), wave(turn + 0.25)
    return View(x=96.0, top=10.0, height=300.0, steep=steep, taper=taper, sine=sine, cosine=cosine)


@given(seed=st.integers(0, 10_000))
def test_bones_keep_their_length(seed: int) -> None:
    limbs = joints(SOMEBODY, random_pose(Stream(seed), 0.0))
    assert set(limbs) == {"arm-1", "arm1", "leg-1", "leg1"}
    for name, lengths in {"arm": (0.155, 0.150), "leg": (0.235, 0.225)}.items():
        for side in (-1, 1):
            bones = limbs[f"{name}{side}"]
            assert bones[0][0] * side > 0
            for a, b, length in zip(bones[:-1], bones[1:], lengths, strict=True):
                distance = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
                assert distance == pytest.approx(length, rel=0.01)


def test_standing_still_is_symmetric() -> None:
    pose = Pose(turn=0.0, phase=0.3, stride=0.0, swing=0.0, bend=0.0, lean=0.0)
    limbs = joints(SOMEBODY, pose)
    for name in ("arm", "leg"):
        for left, right in zip(limbs[f"{name}-1"], limbs[f"{name}1"], strict=True):
            assert left == pytest.approx((-right[0], right[1], right[2]))


def test_feet_move_opposite_to_each_other_and_to_the_arms() -> None:
    pose = Pose(turn=0.0, phase=0.25, stride=0.06, swing=0.05, bend=0.0, lean=0.0)
    limbs = joints(SOMEBODY, pose)
    assert limbs["leg1"][2][2] > 0.05 > -0.05 > limbs["leg-1"][2][2]
    assert limbs["arm1"][1][2] < 0.0 < limbs["arm-1"][1][2]


def test_projection() -> None:
    front = view(0.0)
    assert front.point((0.1, 0.5, 0.0)) == pytest.approx((126.0, 160.0))
    # Turned by a quarter, what was in front of the person is at the side.
    assert view(0.25).point((0.0, 0.5, 0.1)) == pytest.approx((126.0, 160.0))
    assert view(0.25).half(0.1, 0.05) == pytest.approx(0.05)
    # From above, nearer points lie lower; the head end is wider.
    above = view(0.0, steep=0.2, taper=0.2)
    assert above.point((0.0, 0.5, 0.1))[1] == pytest.approx(160.0 + 300.0 * 0.02)
    assert above.scale(0.0) > above.scale(0.5) == 300.0 > above.scale(1.0)
    assert dataclasses.replace(front, x=0.0).point((0.0, 0.0, 0.0)) == (0.0, 10.0)
