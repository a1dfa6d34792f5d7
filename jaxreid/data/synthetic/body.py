"""Where a walking body's joints are, seen by a camera: lengths, a pose, a projection."""

import dataclasses

from jaxreid.data.synthetic.stream import Stream, wave
from jaxreid.data.synthetic.wardrobe import Person

__all__ = ["HIP", "SHOULDER", "Joint", "Pose", "View", "joints", "outline_of", "random_pose"]

Joint = tuple[float, float, float]  # lateral, down, forward; shares of the body's height

# Levels below the top of the head.
SHOULDER, HIP = 0.185, 0.505
_UPPER_ARM, _FORE_ARM, _THIGH, _SHIN = 0.155, 0.150, 0.235, 0.225


@dataclasses.dataclass(frozen=True)
class Pose:
    """How the body is held in one image.

    Attributes:
        turn: direction of the body in turns; 0 faces the camera, 0.25 walks to the right.
        phase: of the walking cycle, in turns.
        stride: amplitude of the legs' swing in turns.
        swing: amplitude of the arms' swing in turns.
        bend: bend of the elbows in turns.
        lean: sideways shift of the head, share of the height.
    """

    turn: float
    phase: float
    stride: float
    swing: float
    bend: float
    lean: float


@dataclasses.dataclass(frozen=True)
class View:
    """The projection onto the canvas: a weak perspective from above.

    Attributes:
        x: canvas column of the body's axis.
        top: canvas row of the top of the head.
        height: canvas pixels from head to soles.
        steep: how much nearer points sink in the image: the camera's elevation.
        taper: how much wider the head end is than the feet, relative.
        sine: of the body's turn.
        cosine: of the body's turn.
    """

    x: float
    top: float
    height: float
    steep: float
    taper: float
    sine: float
    cosine: float

    def near(self, joint: Joint) -> float:
        """How far a point is in front of the body's axis, share of the height."""
        lateral, _, forward = joint
        return forward * self.cosine - lateral * self.sine

    def scale(self, down: float) -> float:
        """Canvas pixels of one height across, at a level (share of the height)."""
        return self.height * (1.0 + self.taper * (0.5 - down))

    def point(self, joint: Joint) -> tuple[float, float]:
        """Column and row of a joint on the canvas."""
        lateral, down, forward = joint
        across = lateral * self.cosine + forward * self.sine
        return (
            self.x + self.scale(down) * across,
            self.top + self.height * (down + self.steep * self.near(joint)),
        )

    def half(self, lateral: float, forward: float) -> float:
        """Half the seen width of a horizontal ellipse, from its half axes; shares of the height."""
        a, b = lateral * self.cosine, forward * self.sine
        half: float = (a * a + b * b) ** 0.5
        return half


def random_pose(stream: Stream, turn: float) -> Pose:
    """A pose of somebody who walks or stands, turned by `turn` turns."""
    walks = stream.chance(0.75)
    return Pose(
        turn=turn + stream.bell(0.03),
        phase=stream.uniform(),
        stride=stream.uniform(0.045, 0.075) if walks else stream.uniform(0.0, 0.015),
        swing=stream.uniform(0.02, 0.07) if walks else stream.uniform(0.0, 0.02),
        bend=stream.uniform(0.01, 0.07),
        lean=stream.bell(0.006),
    )


def _chain(start: Joint, first: float, second: float, angles: tuple[float, float]) -> list[Joint]:
    """Two bones hanging from a joint, swung forward by angles in turns."""
    bones = [start]
    for length, angle in zip((first, second), angles, strict=True):
        lateral, down, forward = bones[-1]
        bones.append((lateral, down + length * wave(angle + 0.25), forward + length * wave(angle)))
    return bones


def joints(person: Person, pose: Pose) -> dict[str, list[Joint]]:
    """Places the limbs: "arm-1", "arm1", "leg-1", "leg1" (the sign is the lateral side).

    Each is shoulder, elbow, wrist or hip, knee, ankle.
    """
    limbs = {}
    for side in (-1, 1):
        cycle = wave(pose.phase) * side
        arm = pose.swing * -cycle
        elbow = arm + pose.bend + 0.5 * pose.swing
        shoulder = (side * (person.shoulders - 0.006), SHOULDER + 0.022, 0.0)
        limbs[f"arm{side}"] = _chain(shoulder, _UPPER_ARM, _FORE_ARM, (arm, elbow))
        thigh = pose.stride * cycle
        # The knee of the leg that is brought forward bends.
        lift = max(0.0, wave(pose.phase + 0.25) * side) * 1.1 * pose.stride
        hip = (side * person.hips * 0.55, HIP, 0.0)
        limbs[f"leg{side}"] = _chain(hip, _THIGH, _SHIN, (thigh + 0.3 * lift, thigh - lift))
    return limbs


def outline_of(
    view: View, levels: tuple[tuple[float, float, float], ...], shift: float = 0.0
) -> list[tuple[float, float]]:
    """Canvas positions of a turned body's sides, down the left one and up the right one.

    `levels` are (down, half width, half depth), shares of the height, from the top; `shift` moves
    the whole to the right, in canvas pixels.
    """
    left, right = [], []
    for down, lateral, forward in levels:
        half = view.scale(down) * view.half(lateral, forward)
        x, y = view.x + shift, view.top + view.height * down
        left.append((x - half, y))
        right.append((x + half, y))
    return left + right[::-1]
