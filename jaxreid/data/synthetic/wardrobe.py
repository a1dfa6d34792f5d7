"""What makes a person that person: build, hair, clothes and their fabric, bag."""

import dataclasses
import functools

import numpy as np
from PIL import Image

from jaxreid.data.synthetic.planning import SyntheticConfig
from jaxreid.data.synthetic.stream import PERSON, STRANGER, Stream

__all__ = ["FABRIC_ORIGIN", "Colour", "Garment", "Person", "fabric", "person", "stranger", "tinted"]

Colour = tuple[int, int, int]

# Muted means, so that people differ by the spread around them and not by a palette's corners.
_UPPER = (112.0, 108.0, 110.0)
_LOWER = (78.0, 80.0, 92.0)
_BAG = (84.0, 78.0, 76.0)
_SHOES = (88.0, 84.0, 84.0)

FABRIC_SIZE = (220, 400)
FABRIC_ORIGIN = 110  # the fabric's column that lies on the body's axis


@dataclasses.dataclass(frozen=True)
class Garment:
    """A piece of clothing.

    Attributes:
        kind: of the upper body "shirt", "long", "jacket" or "coat"; of the lower "trousers",
            "shorts" or "skirt".
        colour: main colour.
        accent: second colour: print, stripes, open jacket's inside, seams.
        pattern: 0 plain, 1 hoops, 2 pinstripes, 3 checks, 4 dots, 5 yoke, 6 chest band.
        period: pattern's period in canvas pixels.
        weave: seed of the fine texture.
    """

    kind: str
    colour: Colour
    accent: Colour
    pattern: int
    period: int
    weave: int


@dataclasses.dataclass(frozen=True)
class Person:
    """Everything about a person that no camera changes.

    Attributes:
        tall: height relative to others in the same box.
        stout: girth relative to others.
        shoulders: half their width, share of the height.
        hips: half their width, share of the height.
        skin: colour.
        hair: colour.
        hair_style: 0 shaved, 1 short, 2 bob, 3 long, 4 ponytail, 5 cap, 6 hood.
        upper: of the upper body.
        lower: of the lower body.
        sleeve: share of the arm that is covered.
        shoes: colour.
        soles: colour.
        socks: colour; seen below shorts and skirts.
        scarf: whether there is one.
        belt: whether there is one.
        print_: on the chest: 0 none, 1 square, 2 disc, 3 two lines.
        bag: 0 none, 1 backpack, 2 shoulder bag, 3 carried bag.
        bag_colour: also of cap and scarf.
        bag_side: -1 or 1, the hand or hip that has the bag.
    """

    tall: float
    stout: float
    shoulders: float
    hips: float
    skin: Colour
    hair: Colour
    hair_style: int
    upper: Garment
    lower: Garment
    sleeve: float
    shoes: Colour
    soles: Colour
    socks: Colour
    scarf: bool
    belt: bool
    print_: int
    bag: int
    bag_colour: Colour
    bag_side: int


def tinted(colour: Colour, gain: float) -> Colour:
    """A colour times a gain, clipped to 0 to 255."""
    red, green, blue = (min(255, max(0, int(c * gain))) for c in colour)
    return red, green, blue


def _colour(stream: Stream, mean: tuple[float, float, float], spread: float) -> Colour:
    # Mostly lighter or darker, less often another hue: together the given spread.
    common = stream.bell(0.85 * spread)
    red, green, blue = (
        min(235, max(14, int(c + common + stream.bell(0.53 * spread)))) for c in mean
    )
    return red, green, blue


def _near(stream: Stream, colour: Colour, distance: float) -> Colour:
    """Another colour about `distance` lighter or darker: low contrast on purpose."""
    step = distance * (1.0 if stream.chance(0.55) else -1.0)
    red, green, blue = (
        min(240, max(10, int(c + step + stream.bell(distance * 0.5)))) for c in colour
    )
    return red, green, blue


def _garment(stream: Stream, config: SyntheticConfig, *, upper: bool) -> Garment:
    kinds = (
        ("shirt", "shirt", "shirt", "long", "long", "jacket", "jacket", "coat")
        if upper
        else ("trousers", "trousers", "trousers", "trousers", "shorts", "skirt")
    )
    colour = _colour(stream, _UPPER if upper else _LOWER, config.colour_spread)
    return Garment(
        kind=kinds[stream.index(len(kinds))],
        colour=colour,
        accent=_near(stream, colour, 1.5 * config.detail),
        pattern=stream.index(7) if upper else (0, 0, 0, 2, 3)[stream.index(5)],
        period=12 + stream.index(22),
        weave=stream.index(1 << 30),
    )


def _skin(stream: Stream) -> Colour:
    tone = stream.uniform()
    return int(224 - 96 * tone), int(182 - 92 * tone), int(156 - 88 * tone)


def _hair(stream: Stream) -> Colour:
    grey = 30 + int(50 * stream.uniform() * stream.uniform())
    warm = stream.uniform(0.0, 1.0)
    return int(grey * (1.1 + 0.5 * warm)), int(grey * (1.0 + 0.2 * warm)), grey


def _dressed(stream: Stream, config: SyntheticConfig) -> Person:
    upper = _garment(stream, config, upper=True)
    sleeve = stream.uniform(0.3, 0.5) if upper.kind == "shirt" else 0.98
    shoes = _colour(stream, _SHOES, config.colour_spread)
    return Person(
        tall=1.0 + stream.bell(0.03),
        stout=1.0 + stream.bell(0.09),
        shoulders=0.124 + stream.bell(0.007),
        hips=0.088 + stream.bell(0.006),
        skin=_skin(stream),
        hair=_hair(stream),
        hair_style=(1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 0, 5, 6)[stream.index(13)],
        upper=upper,
        lower=_garment(stream, config, upper=False),
        sleeve=sleeve,
        shoes=shoes,
        soles=_near(stream, shoes, 45.0),
        socks=_near(stream, shoes, 30.0),
        scarf=stream.chance(0.1),
        belt=stream.chance(0.3),
        print_=stream.index(4),
        bag=(0, 0, 1, 1, 2, 2, 3)[stream.index(7)],
        bag_colour=_colour(stream, _BAG, config.colour_spread),
        bag_side=1 if stream.chance(0.5) else -1,
    )


@functools.lru_cache(maxsize=64)
def person(config: SyntheticConfig, identity: int) -> Person:
    """The person of an identity, 1 or more; the same on every machine."""
    return _dressed(Stream(config.seed, config.version, PERSON, identity), config)


def stranger(config: SyntheticConfig, stream: Stream) -> Person:
    """Somebody without an identity: a passer-by in the background, or a distractor.

    One number is taken from `stream`; it decides who.
    """
    number = stream.index(1 << 16)
    return _dressed(Stream(config.seed, config.version, STRANGER, number), config)


def _pattern(garment: Garment, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Where the accent colour shows: boolean [rows, columns]."""
    p = garment.period
    thin = max(3, p // 4)
    hoops, pins = (rows % p) < p // 2, (columns % p) < thin
    choices = (
        np.zeros(hoops.shape, bool) & pins,
        hoops | np.zeros_like(pins),
        pins | np.zeros_like(hoops),
        ((rows % p) < thin) | pins,
        (rows % p - p // 2) ** 2 + (columns % p - p // 2) ** 2 < (p // 3) ** 2,
        (rows < 50 + p) | np.zeros_like(pins),
        ((rows > 50 + p) & (rows < 66 + 2 * p)) | np.zeros_like(pins),
    )
    return choices[garment.pattern]


@functools.lru_cache(maxsize=256)
def fabric(garment: Garment, detail: float) -> Image.Image:
    """The garment's cloth, to be cut to shape: colour, pattern and fine texture.

    RGB image; row 0 is the top of the torso, column FABRIC_ORIGIN the body's axis. `detail` is the
    contrast of the fine texture, of 255.
    """
    width, height = FABRIC_SIZE
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    where = _pattern(garment, rows, columns)
    cloth = np.where(where[..., None], np.array(garment.accent), np.array(garment.colour))
    octets = Stream(garment.weave).octets(height // 5 + 1, width // 5 + 1).astype(np.int64)
    fine = np.repeat(np.repeat(octets, 5, axis=0), 5, axis=1)[:height, :width]
    level = int(detail)
    cloth = cloth + ((fine - 128) * level // 256)[..., None]
    return Image.fromarray(np.clip(cloth, 0, 255).astype(np.uint8))
