"""The camera (viewpoint, colour, blur), the place it looks at, and what stands in its way."""

import dataclasses
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jaxreid.data.synthetic.canvas import Canvas
from jaxreid.data.synthetic.planning import SyntheticConfig
from jaxreid.data.synthetic.stream import CAMERA, SCENE, Stream
from jaxreid.data.synthetic.wardrobe import Colour, tinted

__all__ = ["SCENE_SIZE", "Camera", "backdrop", "camera", "draw_obstacle"]

SCENE_SIZE = (1000, 640)

_GROUNDS: tuple[Colour, ...] = (
    (128, 126, 124),  # asphalt
    (154, 148, 138),  # paving
    (112, 116, 100),  # grass and gravel
    (146, 134, 124),  # brick
    (138, 140, 144),  # concrete
    (164, 160, 152),  # tiles of a hall
)
_WALLS: tuple[Colour, ...] = (
    (96, 108, 88),  # hedge
    (132, 112, 102),  # brick
    (144, 146, 150),  # plaster
    (100, 108, 116),  # glass
    (120, 116, 108),  # shutters
    (86, 92, 84),  # trees
)


@dataclasses.dataclass(frozen=True)
class Camera:
    """How one camera sees.

    Attributes:
        gains: factors of red, green and blue.
        offset: added to every channel, of 255.
        contrast: factor around mid grey.
        blur: mean blur radius, share of the image's height.
        noise: standard deviation of the sensor noise, of 255.
        quality: of the JPEG.
        steep: see body.View.
        taper: see body.View.
        turn: direction in turns that most people walk in.
        horizon: row of the horizon, share of the box's height.
        light: side the light comes from.
        kind: index of ground and wall.
    """

    gains: tuple[float, float, float]
    offset: float
    contrast: float
    blur: float
    noise: float
    quality: int
    steep: float
    taper: float
    turn: float
    horizon: float
    light: int
    kind: int


@functools.lru_cache(maxsize=32)
def camera(config: SyntheticConfig, number: int) -> Camera:
    """The camera of a number, from 0; the same on every machine."""
    stream = Stream(config.seed, config.version, CAMERA, number)
    steep = stream.uniform(0.05, 0.30)
    cast = tuple(1.0 + stream.bell(config.camera_shift) for _ in range(3))
    return Camera(
        gains=(cast[0], cast[1], cast[2]),
        offset=stream.bell(80.0 * config.camera_shift),
        contrast=1.0 + stream.bell(config.camera_shift),
        blur=config.blur * stream.uniform(0.6, 1.4) / 128.0,
        noise=config.noise * stream.uniform(0.6, 1.4),
        quality=78 + stream.index(16),
        steep=steep,
        taper=0.7 * steep,
        # Opposite and crossing directions: the same person is seen from all sides.
        turn=((number * 3) % 8) / 8.0 + stream.bell(0.03),
        horizon=0.34 - 1.1 * steep,
        light=1 if stream.chance(0.5) else -1,
        kind=number % len(_GROUNDS),
    )


def _mottled(stream: Stream, size: tuple[int, int], cell: int, level: int) -> np.ndarray:
    """Smooth grey noise, int64 [height, width], at most +-level."""
    width, height = size
    coarse = Image.fromarray(stream.octets(height // cell + 2, width // cell + 2))
    smooth = coarse.resize(size, Image.Resampling.BICUBIC)
    return (np.asarray(smooth).astype(np.int64) - 128) * level // 128


@functools.lru_cache(maxsize=16)
def backdrop(config: SyntheticConfig, number: int) -> Image.Image:
    """RGB image of SCENE_SIZE: the empty place before a camera, wider and higher than any box.

    Its horizon lies at 40 % of the height.
    """
    stream = Stream(config.seed, config.version, SCENE, number)
    kind = number % len(_GROUNDS)
    width, height = SCENE_SIZE
    horizon = int(0.4 * height)
    image = Image.new("RGB", SCENE_SIZE, _WALLS[kind])
    draw = ImageDraw.Draw(image)
    _wall(draw, stream, kind, horizon)
    draw.rectangle((0, horizon, width, height), fill=_GROUNDS[kind])
    _ground(draw, stream, kind, horizon)
    _things(draw, stream, horizon)
    pixels = np.asarray(image).astype(np.int64)
    grain = _mottled(stream, SCENE_SIZE, 5, 9) + _mottled(stream, SCENE_SIZE, 90, 12)
    pixels = pixels + grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(2))


def _wall(draw: ImageDraw.ImageDraw, stream: Stream, kind: int, horizon: int) -> None:
    base = _WALLS[kind]
    width = SCENE_SIZE[0]
    if kind in (0, 5):  # leaves
        for _ in range(420):
            x, y, r = stream.uniform(0, width), stream.uniform(0, horizon), stream.uniform(8, 30)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=tinted(base, stream.uniform(0.65, 1.3)))
        return
    step = 120 + stream.index(60)
    for x in range(-20, width, step):  # windows, doors, shutters
        pane = tinted(base, stream.uniform(0.6, 1.3))
        draw.rectangle((x + 18, 20, x + step - 18, horizon - 60), fill=pane)
        draw.rectangle((x + 18, horizon - 100, x + step - 18, horizon - 94), fill=tinted(pane, 0.8))
        draw.rectangle((x, 0, x + 6, horizon), fill=tinted(base, 0.8))
        if stream.chance(0.4):
            draw.rectangle((x + 30, horizon - 130, x + 80, horizon), fill=tinted(base, 0.7))
    draw.rectangle((0, horizon - 14, width, horizon), fill=tinted(base, 0.75))


def _ground(draw: ImageDraw.ImageDraw, stream: Stream, kind: int, horizon: int) -> None:
    """Joints that converge at a vanishing point, rows that widen towards the camera."""
    width, height = SCENE_SIZE
    seam = tinted(_GROUNDS[kind], 0.87)
    if kind in (1, 3, 4, 5):
        vanish = stream.uniform(0.3, 0.7) * width
        spread = (60, 90, 45, 150)[stream.index(4)]
        for i in range(-60, 61):
            draw.line((vanish + i * 8, horizon, vanish + i * spread, height), fill=seam, width=3)
        y, gap = float(horizon), 7.0
        while y < height:
            draw.line((0, y, width, y), fill=seam, width=3)
            y, gap = y + gap, gap * 1.22
    else:
        for _ in range(160):
            x, y = stream.uniform(0, width), stream.uniform(horizon, height)
            r = stream.uniform(4, 26) * (y - horizon + 60) / 300
            patch = tinted(_GROUNDS[kind], stream.uniform(0.9, 1.08))
            draw.ellipse((x - 2 * r, y - r * 0.5, x + 2 * r, y + r * 0.5), fill=patch)
    y = horizon + stream.uniform(10, 60)
    draw.polygon(
        ((0, y), (width, y + 50), (width, y + 64), (0, y + 8)), fill=tinted(_GROUNDS[kind], 1.2)
    )


def _things(draw: ImageDraw.ImageDraw, stream: Stream, horizon: int) -> None:
    """Poles, parked bicycles and bins along the wall."""
    width = SCENE_SIZE[0]
    for _ in range(12):
        x, base = stream.uniform(0, width), horizon + stream.uniform(5, 60)
        paint = tinted((90, 92, 96), stream.uniform(0.5, 1.6))
        kind = stream.index(3)
        if kind == 0:
            draw.rectangle((x, base - 260, x + 9, base), fill=paint)
        elif kind == 1:
            r = 30
            for dx in (0, 78):
                box = (x + dx - r, base - 2 * r, x + dx + r, base)
                draw.ellipse(box, outline=paint, width=4)
            frame = ((x, base - r), (x + 30, base - 70), (x + 62, base - 70), (x + 78, base - r))
            draw.line(frame, fill=paint, width=5)
        else:
            draw.rectangle((x, base - 70, x + 46, base), fill=paint)
            draw.rectangle((x - 3, base - 78, x + 49, base - 68), fill=tinted(paint, 0.8))


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
    """Draws one obstacle: a pole, a railing, a bush, a bicycle or a box."""
    _OBSTACLES[stream.index(len(_OBSTACLES))](canvas, stream, canvas.colour.size)
