"""The one table of what may stand between an image and a network at test time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.attacks import input_diversity
from jaxreid.budgets import exact
from jaxreid.checks import shown
from jaxreid.constants import LEVELS
from jaxreid.errors import InputError, did_you_mean
from jaxreid.evaluation.defended.codec import jpeg
from jaxreid.evaluation.defended.rounding import straight_through
from jaxreid.types import Image, Images, Keys, RandomKey

__all__ = ["DEFENSES", "FLIP", "InputDefense", "draws_at_random", "parts_of", "through_text"]

FLIP = "flip"
"""The one that is done to features: the mean of the image's and of its mirror image's."""

_JOIN = "+"


class InputDefense(NamedTuple):
    """What is done to images before a network sees them, or by seeing them twice.

    Attributes:
        title: in words.
        change: (images [B,H,W,3] in [0, 1], keys [B], the number behind the name) -> the same
            shape and range, differentiable, row i a function of image i and key i; None for `FLIP`.
        number: what that number is, for messages; "" where there is none.
        least: least number.
        most: largest number.
        whole: whether it is a whole one.
        random: whether the keys matter; without, they may be None.
    """

    title: str
    change: Callable[[Images, Keys | None, float], Images] | None
    number: str = ""
    least: float = 0.0
    most: float = 0.0
    whole: bool = False
    random: bool = False


def _jpeg(images: Images, keys: Keys | None, quality: float) -> Images:
    return jpeg(images, quality=int(quality))


def _full_colours(images: Images, keys: Keys | None, quality: float) -> Images:
    return jpeg(images, quality=int(quality), subsampled=False)


def _fewer_bits(images: Images, keys: Keys | None, bits: float) -> Images:
    largest = 2 ** int(bits) - 1
    return straight_through(lambda x: jnp.round(x * largest) / largest)(images)


def _resized(images: Images, keys: Keys | None, scale: float) -> Images:
    batch, height, width, channels = images.shape
    sides = (max(1, round(scale * height)), max(1, round(scale * width)))
    other = jax.image.resize(images, (batch, *sides, channels), "cubic")
    return jnp.clip(jax.image.resize(other, images.shape, "cubic"), 0, 1)


def _median(images: Images, keys: Keys | None, number: float) -> Images:
    height, width = images.shape[1:3]
    around = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    window = [
        around[:, down : down + height, across : across + width]
        for down in range(3)
        for across in range(3)
    ]
    return jnp.sort(jnp.stack(window), axis=0)[4]


def _noisy(images: Images, keys: Keys | None, sigma: float) -> Images:
    def drawn(key: RandomKey) -> Image:
        # In single precision, so that a key gives float64 images what it gives others.
        return jax.random.normal(key, images.shape[1:])

    assert keys is not None
    noise = jax.vmap(drawn)(keys).astype(images.dtype)
    return jnp.clip(images + sigma / LEVELS * noise, 0, 1)


def _moved(images: Images, keys: Keys | None, smallest: float) -> Images:
    assert keys is not None
    return input_diversity(images, keys, probability=1.0, smallest=smallest)


DEFENSES: dict[str, InputDefense] = {
    "jpeg": InputDefense(
        "JPEG, colours at half the resolution", _jpeg, "quality", 1, 100, whole=True
    ),
    "jpeg444": InputDefense(
        "JPEG, colours at full resolution", _full_colours, "quality", 1, 100, whole=True
    ),
    "bits": InputDefense("fewer bits per colour", _fewer_bits, "number of bits", 1, 8, whole=True),
    "resize": InputDefense(
        "another size and back, bicubic", _resized, "factor of the sides", 0.1, 4
    ),
    "median": InputDefense("median of 3x3 pixels", _median),
    "noise": InputDefense(
        "Gaussian noise", _noisy, "standard deviation in 1/255", 0.01, 255, random=True
    ),
    "resizepad": InputDefense(
        "a little smaller and somewhere else, on black",
        _moved,
        "smallest factor of the sides",
        0.5,
        1,
        random=True,
    ),
    FLIP: InputDefense("mean feature of the image and its mirror image", None),
}
"""Name -> what is done, with gradients to climb: exact ones, straight-through where values are
rounded; a random one draws anew for every image.

jpeg: Dziugaite et al., 2016, https://arxiv.org/abs/1608.00853. bits, median: feature squeezing, Xu
et al., NDSS 2018, https://arxiv.org/abs/1704.01155. resize: circuitous scaling, Gong et al., 2021,
https://arxiv.org/abs/2111.09571. resizepad: Xie et al., ICLR 2018,
https://arxiv.org/abs/1711.01991.
"""


def parts_of(text: str) -> tuple[tuple[str, float], ...]:
    """Reads defenses, in the order in which an image meets them.

    Args:
        text: names of DEFENSES joined by "+", each with its number behind a colon if it has one,
            such as "jpeg:75+flip".

    Returns:
        (name, number) of each; the number is 0 where there is none.

    Raises:
        InputError: an unknown name, one that is there twice, or a number out of range.
    """
    if not isinstance(text, str):
        raise InputError(f"defenses must be names joined by {_JOIN!r}, got {shown(text)}")
    parts = tuple(_part(word.strip()) for word in text.split(_JOIN))
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):
        raise InputError(f"a defense is named twice: {', '.join(names)}")
    return parts


def _part(word: str) -> tuple[str, float]:
    name, colon, written = word.partition(":")
    if name not in DEFENSES:
        near = did_you_mean(name, DEFENSES)
        raise InputError(
            f"unknown defense {shown(name)}; {near}{'; ' * bool(near)}there are "
            f"{', '.join(map(_form, DEFENSES))}"
        )
    one = DEFENSES[name]
    if not one.number:
        if colon:
            raise InputError(f"{name} takes no number, got {shown(word)}")
        return name, 0.0
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not one.least <= number <= one.most or (one.whole and number != int(number)):
        kind = "a whole number " * one.whole
        raise InputError(
            f"{_form(name)} needs {kind}from {one.least:g} to {one.most:g}, got {shown(word)}"
        )
    return name, number


def _form(name: str) -> str:
    """How a defense is written."""
    number = DEFENSES[name].number
    return f"{name}:{number.split()[0].upper()}" if number else name


def through_text(text: str) -> str:
    """Defenses as they are recorded: one text for equal ones.

    Args:
        text: as `parts_of` reads it.

    Returns:
        The same, without spaces and with numbers in their shortest form.

    Raises:
        InputError: as `parts_of` does.
    """
    return _JOIN.join(
        f"{name}:{exact(number)}" if DEFENSES[name].number else name
        for name, number in parts_of(text)
    )


def draws_at_random(text: str) -> bool:
    """Whether defenses draw something, so that an attack has to climb what is expected of them.

    Args:
        text: as `parts_of` reads it.

    Returns:
        True if one of them does.

    Raises:
        InputError: as `parts_of` does.
    """
    return any(DEFENSES[name].random for name, _ in parts_of(text))
