"""Things between the camera and the person."""

from jaxreid.data.synthetic.canvas import Canvas
from jaxreid.data.synthetic.stream import Stream
from jaxreid.data.synthetic.wardrobe import Colour, tinted

__all__ = ["draw_obstacle"]


def _grey(stream: Stream) -> Colour:
    return tinted((104, 104, 106), stream.uniform(0.5, 1.5))


def _pole(canvas: Canvas, stream: Stream, size: tuple[int, int]) -> None:
    width, height = size
    x, half = stream.uniform(0.15, 0.85) * width, stream.uniform(5, 11)
    low = height + 5.0
    outline = [(x - half, -5.0), (x + half, -5.0), (x + half, low), (x - half, low)]
    canvas.fill(outline, _grey(stream), (0.0, 0.0))
    canvas.rounded(outline)


def _railing(canvas: Canvas, stream: Stream, size: tuple[int, int]) -> None:
    width, height = size
    top, paint = stream.uniform(0.6, 0.8) * height, _grey(stream)
    for row in (0.0, 0.09, 0.18):
        y = top + row * height
        canvas.line([(-5.0, y), (width + 5.0, y + 6.0)], paint, 6)
    for i in range(-1, 6):
        x = i * 40 + stream.uniform(0, 8)
        canvas.line([(x, top), (x, height + 5.0)], paint, 5)


def _bush(canvas: Canvas, stream: Stream, size: tuple[int, int]) -> None:
    width, height = size
    top, middle = stream.uniform(0.68, 0.85) * height, stream.uniform(0.0, 1.0) * width
    for _ in range(110):
        x, y = middle + stream.bell(52), stream.uniform(top, height + 20)
        r = stream.uniform(3, 9)
        leaf = tinted((84, 102, 72), stream.uniform(0.45, 1.25))
        canvas.disc((x, y), (r, 0.7 * r), leaf, shaded=False)


def _bicycle(canvas: Canvas, stream: Stream, size: tuple[int, int]) -> None:
    width, height = size
    x, y = stream.uniform(-0.2, 0.5) * width, stream.uniform(0.84, 0.92) * height
    paint, tyre, r = _grey(stream), (52, 52, 54), 40.0
    for dx in (0.0, 110.0):
        rim = [(x + dx + r * cx, y + r * cy) for cx, cy in _CIRCLE]
        canvas.line([*rim, rim[0]], tyre, 5)
    frame = [(0, 0), (38, -50), (84, -46), (46, 4), (38, -50), (30, -70), (22, -72), (42, -72)]
    canvas.line([(x + a, y + b) for a, b in frame], paint, 6)
    fork = [(110, 0), (84, -46), (78, -80), (94, -84)]
    canvas.line([(x + a, y + b) for a, b in fork], paint, 6)


def _box(canvas: Canvas, stream: Stream, size: tuple[int, int]) -> None:
    """A bin, a suitcase or a bonnet that hides the legs."""
    width, height = size
    left, wide = stream.uniform(-0.2, 0.7) * width, stream.uniform(0.35, 0.8) * width
    top, paint = stream.uniform(0.66, 0.82) * height, _grey(stream)
    outline = [
        (left, top + 12.0),
        (left + 14.0, top),
        (left + wide - 14.0, top),
        (left + wide, top + 12.0),
        (left + wide, height + 5.0),
        (left, height + 5.0),
    ]
    canvas.fill(outline, paint, (0.0, 0.0))
    canvas.rounded(outline)
    canvas.line([(left, top + 30.0), (left + wide, top + 30.0)], tinted(paint, 0.7), 5)


_CIRCLE = [
    (1.0, 0.0), (0.92, 0.38), (0.71, 0.71), (0.38, 0.92), (0.0, 1.0), (-0.38, 0.92),
    (-0.71, 0.71), (-0.92, 0.38), (-1.0, 0.0), (-0.92, -0.38), (-0.71, -0.71), (-0.38, -0.92),
    (0.0, -1.0), (0.38, -0.92), (0.71, -0.71), (0.92, -0.38),
]  # fmt: skip
_OBSTACLES = (_pole, _railing, _bush, _bicycle, _box)


def draw_obstacle(canvas: Canvas, stream: Stream) -> None:
    """Draws one obstacle: a pole, a railing, a bush, a bicycle or a box.

    Args:
        canvas: drawn on in place.
        stream: chooses which, where, and its colour.
    """
    _OBSTACLES[stream.index(len(_OBSTACLES))](canvas, stream, canvas.colour.size)
