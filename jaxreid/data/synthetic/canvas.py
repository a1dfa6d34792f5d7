"""A canvas of two layers, flat colour and shade, and the shapes that fill them."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from jaxreid.data.synthetic.wardrobe import FABRIC_ORIGIN, Colour

__all__ = ["Canvas", "Point"]

Point = tuple[float, float]

# Grey levels of the shade layer, rim to crest; 128 leaves the colour as it is.
_RIM, _SIDE, _CREST = 100, 119, 135


class Canvas:
    """Two layers: flat colour, and shade that multiplies it (128 is neutral).

    Args:
        background: RGB image; drawn on in place.
        light: -1 or 1, the side the light comes from.
    """

    def __init__(self, background: Image.Image, light: int) -> None:
        self.colour = background
        self.shade = Image.new("L", background.size, 128)
        self.light = light
        self._on_colour = ImageDraw.Draw(self.colour)
        self._on_shade = ImageDraw.Draw(self.shade)

    def fill(self, outline: Sequence[Point], paint: Colour | Image.Image, at: Point) -> None:
        """Fills a polygon (pixels) with a colour, or with cloth whose origin lies at a point."""
        if isinstance(paint, tuple):
            self._on_colour.polygon(outline, fill=paint)
            return
        left, top = int(at[0]) - FABRIC_ORIGIN, int(at[1])
        mask = Image.new("L", paint.size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], fill=255)
        self.colour.paste(paint, (left, top), mask)

    def rounded(self, outline: Sequence[Point]) -> None:
        """Shades a polygon as if it were round: rim, side and crest, shifted to the light."""
        middle = sum(x for x, _ in outline) / len(outline)
        self._on_shade.polygon(outline, fill=_RIM)
        for share, level in ((0.76, _SIDE), (0.42, _CREST)):
            inner = []
            for x, y in outline:
                off = (1.0 - share) * 0.35 * self.light * abs(x - middle)
                inner.append((middle + share * (x - middle) + off, y))
            self._on_shade.polygon(inner, fill=level)

    def limb(
        self, ends: tuple[Point, Point], radii: Point, paint: Colour | Image.Image, *, at: Point
    ) -> None:
        """Draws a tapered capsule between two points, shaded as a cylinder.

        `radii` are those at its ends; `at` is where the cloth's origin lies. All in pixels.
        """
        (ax, ay), (bx, by) = ends
        dx, dy = bx - ax, by - ay
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        nx, ny = -dy / length, dx / length
        self.fill(_capsule(ends, radii, (nx, ny), 1.0), paint, at)
        tone = 1 if nx * self.light > 0 else -1
        for share, level in ((1.0, _RIM), (0.76, _SIDE), (0.42, _CREST)):
            off = (1.0 - share) * 0.35 * tone
            moved = tuple(
                (x + nx * r * off, y + ny * r * off) for (x, y), r in zip(ends, radii, strict=True)
            )
            self._on_shade.polygon(_capsule(moved, radii, (nx, ny), share), fill=level)

    def disc(self, centre: Point, radii: Point, paint: Colour, *, shaded: bool = True) -> None:
        """Draws an ellipse with radii across and down, shaded like a ball or flat."""
        (x, y), (rx, ry) = centre, radii
        self._on_colour.ellipse((x - rx, y - ry, x + rx, y + ry), fill=paint)
        if shaded:
            for share, level in ((1.0, _RIM), (0.8, _SIDE), (0.5, _CREST)):
                a, b, off = rx * share, ry * share, (1.0 - share) * 0.5 * rx * self.light
                self._on_shade.ellipse((x + off - a, y - b, x + off + a, y + b), fill=level)

    def shadow(self, centre: Point, radii: Point) -> None:
        """Darkens a soft ellipse on the ground, shifted away from the light."""
        (x, y), (rx, ry) = centre, radii
        x -= 0.5 * rx * self.light
        for share, level in ((1.0, 118), (0.8, 106), (0.55, 94)):
            a, b = rx * share, ry * share
            self._on_shade.ellipse((x - a, y - b, x + a, y + b), fill=level)

    def line(self, points: Sequence[Point], paint: Colour, width: float) -> None:
        """Draws a line without shading of its own."""
        self._on_colour.line(points, fill=paint, width=max(1, int(width)))


def _capsule(ends: Sequence[Point], radii: Point, normal: Point, share: float) -> list[Point]:
    """Outline of a tapered capsule whose caps are half octagons, radii scaled by a share."""
    nx, ny = normal
    outline = []
    # Round the first end from the normal's side to the other, then back round the second.
    for (x, y), radius, turn in zip(ends, radii, (1.0, -1.0), strict=True):
        r = radius * share * turn
        for across, out in ((1.0, 0.0), (0.7, 0.7), (0.0, 1.0), (-0.7, 0.7), (-1.0, 0.0)):
            outline.append((x + r * (nx * across - ny * out), y + r * (ny * across + nx * out)))
    return outline
