"""What an attack that is to work elsewhere lets its network see of an image, anew in each copy."""

from collections import defaultdict
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.diversity import input_diversity
from jaxreid.checks import check_number
from jaxreid.random import numbered
from jaxreid.types import Array, Image, Images, ImagesLike, Keys, RandomKey

__all__ = ["SCALES", "View", "admixed", "blockwise", "diverse", "scaled"]

View = Callable[[Images, Keys, Array], Images]
"""(images [B,H,W,C], [B] keys of a step, int number of the copy) -> images [B,H,W,C].

Differentiable in the images, row i a function of image i and key i only; copies of one step differ
by their number.
"""

SCALES = 5
"""How many copies `scaled` tells apart."""

_BLOCKS = 3  # along each side
_NOISE = 16 / 255
_LOW = 0.6  # of the frequencies along each axis, those that a block may keep
_SHRUNK = 0.8
_DROPPED = 0.1


def diverse(images: Images, keys: Keys, number: Array) -> Images:
    """Input diversity (DI) as published, half of the images changed: `input_diversity`.

    Args:
        images: [B,H,W,C] in [0, 1].
        keys: [B] random keys of a step.
        number: of the copy.

    Returns:
        [B,H,W,C] in [0, 1].
    """
    return input_diversity(images, numbered(keys, number))


def scaled(images: Images, keys: Keys, number: Array) -> Images:
    """Scale invariance (SI): ``x / 2^(n mod 5)`` for the n-th copy.

    Lin et al., "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks",
    ICLR 2020, https://arxiv.org/abs/1908.06281.

    Args:
        images: [B,H,W,C] in [0, 1].
        keys: not used.
        number: of the copy.

    Returns:
        [B,H,W,C] in [0, 1].
    """
    del keys
    return images * jnp.exp2(-(jnp.asarray(number) % SCALES).astype(images.dtype))


def admixed(others: ImagesLike, *, share: float = 0.2) -> View:
    """Admix: a share of another image on top, ``x + share * x_other``; five copies share one.

    Wang et al., "Admix: Enhancing the Transferability of Adversarial Attacks", ICCV 2021,
    https://arxiv.org/abs/2102.00436. Theirs are drawn from the batch; ours from a fixed pool, so
    that no image depends on its batch-mates. Made for `scaled` after it.

    Args:
        others: float [P,H,W,C] in [0, 1], the pool.
        share: at least 0, without unit.

    Returns:
        A View, whose images may go beyond 1.

    Raises:
        InputError: others are no images, or share is negative.
    """
    pool = images_of(others)
    check_number("share", share, lambda value: value >= 0, "be at least 0")

    def view(images: Images, keys: Keys, number: Array) -> Images:
        def drawn(key: RandomKey) -> Array:
            return jax.random.randint(key, (), 0, len(pool))

        chosen = jax.vmap(drawn)(numbered(keys, jnp.asarray(number) // SCALES))
        return images + share * pool[chosen].astype(images.dtype)

    return view


def blockwise(images: Images, keys: Keys, number: Array) -> Images:
    """Structure invariance (SIA): 3 x 3 blocks, each changed in one of ten ways of its own.

    Shifted round along either side, flipped along either, turned by 180 degrees, darkened by a
    factor from [0, 1), under uniform noise of 16/255, shrunk to 0.8 and back, without its upper 0.4
    of frequencies (DCT), or with a tenth of its values zero. Wang et al., "Structure Invariant
    Transformation for better Adversarial Transferability", ICCV 2023,
    https://arxiv.org/abs/2309.14700. Blocks are as high against their width as the image is.

    Args:
        images: [B,H,W,C] in [0, 1], each side of at least 3 pixels.
        keys: [B] random keys of a step.
        number: of the copy.

    Returns:
        [B,H,W,C] in [0, 1].
    """
    return jax.vmap(_changed_blocks)(images, numbered(keys, number))


def _changed_blocks(image: Image, key: RandomKey) -> Image:
    # Two draws for all blocks: each costs seconds of compilation, and under vmap every way is run.
    chooses, fills = jax.random.split(key)
    numbers = jax.random.uniform(chooses, (_BLOCKS**2, 2))
    blocks, fields = _cut(image), _cut(jax.random.uniform(fills, image.shape))
    # Sides that three does not divide make up to four shapes; all blocks of one are one program.
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, block in enumerate(blocks):
        places[block.shape].append(place)
    for alike in places.values():
        stack, field = (jnp.stack([parts[place] for place in alike]) for parts in (blocks, fields))
        changed = jax.vmap(_changed_block)(stack, field, numbers[jnp.asarray(alike)])
        for place, block in zip(alike, changed, strict=True):
            blocks[place] = block
    rows = (blocks[start : start + _BLOCKS] for start in range(0, len(blocks), _BLOCKS))
    return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows], axis=0)


def _cut(image: Image) -> list[Image]:
    """The blocks of an image, row by row."""
    bands = jnp.array_split(image, _BLOCKS, axis=0)
    return [block for band in bands for block in jnp.array_split(band, _BLOCKS, axis=1)]


def _changed_block(block: Image, field: Array, numbers: Array) -> Image:
    """A block in the way that the first number chooses; all numbers are from [0, 1)."""
    way = (numbers[0] * len(_WAYS)).astype(int)
    return jax.lax.switch(way, _WAYS, block, numbers[1], field)


_Way = Callable[[Image, Array, Array], Image]
"""(block [h,w,C], a number from [0, 1), another for each value [h,w,C]) -> block [h,w,C]."""


def _shifted(axis: int) -> _Way:
    def shift(block: Image, number: Array, field: Array) -> Image:
        return jnp.roll(block, (number * block.shape[axis]).astype(int), axis)

    return shift


def _flipped(*axes: int) -> _Way:
    return lambda block, number, field: jnp.flip(block, axes)


def _darkened(block: Image, number: Array, field: Array) -> Image:
    return block * number.astype(block.dtype)


def _noisy(block: Image, number: Array, field: Array) -> Image:
    return jnp.clip(block + (_NOISE * (2 * field - 1)).astype(block.dtype), 0, 1)


def _coarse(block: Image, number: Array, field: Array) -> Image:
    sides = [max(1, round(_SHRUNK * side)) for side in block.shape[:2]]
    small = jax.image.resize(block, (*sides, block.shape[2]), "linear", antialias=False)
    return jax.image.resize(small, block.shape, "linear", antialias=False)


def _low_frequencies(block: Image, number: Array, field: Array) -> Image:
    down, across = (jnp.asarray(_low_pass(side), block.dtype) for side in block.shape[:2])
    return jnp.clip(jnp.einsum("ih,hwc,jw->ijc", down, block, across), 0, 1)


def _low_pass(side: int) -> np.ndarray:
    """Keeps the lower frequencies of the orthonormal DCT-II along an axis: [side,side]."""
    basis = np.cos(np.pi * (np.arange(side) + 0.5) * np.arange(side)[:, None] / side)
    basis *= np.sqrt(np.where(np.arange(side) > 0, 2, 1) / side)[:, None]
    kept = basis[: side - int((1 - _LOW) * side)]
    return kept.T @ kept


def _with_holes(block: Image, number: Array, field: Array) -> Image:
    return jnp.where(field < _DROPPED, 0, block)


_WAYS: tuple[_Way, ...] = (
    *(_shifted(0), _shifted(1), _flipped(0), _flipped(1), _flipped(0, 1)),
    *(_darkened, _noisy, _coarse, _low_frequencies, _with_holes),
)
