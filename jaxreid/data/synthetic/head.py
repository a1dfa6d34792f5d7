"""Draws heads: hair, faces, caps."""

from jaxreid.data.synthetic.body import Pose, View, outline_of
from jaxreid.data.synthetic.canvas import Canvas, Point
from jaxreid.data.synthetic.wardrobe import Person, tinted

__all__ = ["draw_head", "draw_long_hair"]

_HEAD = 0.068  # level of its middle


def draw_head(canvas: Canvas, person: Person, view: View, pose: Pose) -> None:
    """Hair as a cap on the skull, and the face where it looks."""
    h = view.height
    x, y = view.point((pose.lean, _HEAD, 0.015))
    hair = person.skin if person.hair_style == 0 else person.hair
    if person.hair_style == 6:
        hair = tinted(person.upper.colour, 0.95)
    grown = 1.12 if person.hair_style in (2, 3, 6) else 1.0
    skull = (0.050 * h * grown, 0.065 * h * (0.5 + 0.5 * grown))
    canvas.disc((x, y - 0.004 * h), skull, hair)
    if view.cosine > -0.55:
        # The face slides round the skull and narrows as it turns away.
        shown = min(1.0, 0.55 + 0.45 * view.cosine)
        face = (x + 0.022 * h * view.sine, y + 0.010 * h)
        canvas.disc(face, (0.041 * h * max(0.35, shown), 0.052 * h), person.skin)
        _face(canvas, person, view, face)
    if person.hair_style == 5:
        _cap(canvas, person, view, (x, y))
    elif person.hair_style == 4 and view.cosine < 0.4:
        tail = (x - 0.045 * h * view.sine, y)
        end = (tail[0] - 0.02 * h * view.sine, y + 0.09 * h)
        canvas.limb((tail, end), (0.020 * h, 0.010 * h), person.hair, at=tail)


def _face(canvas: Canvas, person: Person, view: View, face: Point) -> None:
    """Eyes and mouth: a pixel or two, yet without them it is no face."""
    h = view.height
    x, y = face
    dark, lips = tinted(person.skin, 0.45), tinted(person.skin, 0.72)
    for side in (-1, 1):
        eye = x + h * (0.015 * side * view.cosine + 0.010 * view.sine)
        if view.half(0.0, side * view.sine) < 0.9 or side * view.sine > 0:
            row = y - 0.006 * h
            canvas.line([(eye - 0.006 * h, row), (eye + 0.006 * h, row)], dark, 3)
    mouth, row = x + 0.012 * h * view.sine, y + 0.026 * h
    canvas.line([(mouth - 0.009 * h, row), (mouth + 0.009 * h, row)], lips, 2)


def _cap(canvas: Canvas, person: Person, view: View, skull: Point) -> None:
    h = view.height
    x, y = skull
    canvas.disc((x, y - 0.030 * h), (0.049 * h, 0.036 * h), person.bag_colour)
    if view.cosine > -0.6:
        peak = (x + 0.035 * h * view.sine, y - 0.016 * h)
        width = 0.030 + 0.012 * view.half(1.0, 0.4)
        canvas.disc(peak, (width * h, 0.010 * h), tinted(person.bag_colour, 0.8))


def draw_long_hair(canvas: Canvas, person: Person, view: View, pose: Pose) -> None:
    """Hair that falls below the head; nothing for other styles."""
    if person.hair_style not in (2, 3):
        return
    length = 0.135 if person.hair_style == 2 else 0.215
    shift = view.scale(0.1) * (pose.lean * view.cosine - 0.018 * view.sine)
    levels = ((0.05, 0.050, 0.045), (0.11, 0.056, 0.048), (length, 0.050, 0.036))
    outline = outline_of(view, levels, shift)
    canvas.fill(outline, person.hair, (0.0, 0.0))
    canvas.rounded(outline)
