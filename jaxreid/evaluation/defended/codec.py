"""JPEG's loss as a function of pixels: what an attack can climb through."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import check_count, check_flag
from jaxreid.evaluation.defended.rounding import straight_through
from jaxreid.models.pixels import float_images
from jaxreid.types import Array, Images

__all__ = ["jpeg"]

# ITU-T T.81, tables K.1 and K.2.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# JFIF's Y, Cb, Cr of R, G, B, and back.
_TO_YCC = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)
_BLOCK, _MIDDLE, _LARGEST = 8, 128, 255

_as_levels = straight_through(lambda x: jnp.clip(jnp.round(x), 0, _LARGEST))
# Sums of whole numbers over a power of two, as the format's reference program rounds them.
_lower = straight_through(jnp.floor)


def jpeg(images: Images, *, quality: int, subsampled: bool = True) -> Images:
    """Compressed as JPEG and decoded, ``y = decode(round(DCT(x) / q) q)``.

    8x8 blocks of luminance and of both colour differences, quantised by the tables K.1 and K.2 of
    ITU-T T.81, https://www.w3.org/Graphics/JPEG/itu-t81.pdf, times ``5000 / quality`` % below 50
    and ``200 - 2 quality`` % above, as Pillow does. Its values differ where a wave lies within
    rounding of the border between two multiples: by less than a level in the mean, also of noise.
    Wherever something is rounded or cut off, the derivative is that of the identity
    (straight-through), so that of the whole is the identity's, but for colours that were averaged.
    Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018,
    https://arxiv.org/abs/1802.00420.

    Args:
        images: [B,H,W,3] floating point in [0, 1]; rounded to 8 bits first.
        quality: from 1 to 100.
        subsampled: whether colours have half the resolution (4:2:0, Pillow's default; 4:4:4
            otherwise).

    Returns:
        [B,H,W,3] in [0, 1], on the levels of 8 bits.

    Raises:
        InputError: on what is no images, or a quality that is no whole number from 1 to 100.
    """
    images = float_images(images)
    check_count("quality", quality, least=1, most=100)
    check_flag("subsampled", subsampled)
    levels = _as_levels(images * _LARGEST)
    forth = jnp.asarray(_TO_YCC, images.dtype)
    back = jnp.asarray(np.linalg.inv(_TO_YCC), images.dtype)
    centre = jnp.asarray([0, _MIDDLE, _MIDDLE], images.dtype)
    planes = _as_levels(_mixed(levels, forth) + centre)
    luminance = _coded(planes[..., 0], _table(_LUMINANCE, quality))
    table = _table(_CHROMINANCE, quality)
    size = (images.shape[1], images.shape[2])
    colours = []
    for number in (1, 2):
        plane = planes[..., number]
        if subsampled:
            colours.append(_enlarged(_coded(_halved(plane), table), size))
        else:
            colours.append(_coded(plane, table))
    decoded = jnp.stack([luminance, *colours], axis=-1)
    return _as_levels(_mixed(decoded - centre, back)) / _LARGEST


def _mixed(pixels: Array, matrix: Array) -> Array:
    return jnp.einsum("bhwc,dc->bhwd", pixels, matrix, precision=jax.lax.Precision.HIGHEST)


def _table(base: np.ndarray, quality: int) -> np.ndarray:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((base * scale + 50) // 100, 1, _LARGEST)


def _dct() -> np.ndarray:
    """The orthonormal DCT-II of 8 samples, [8,8]."""
    along = np.arange(_BLOCK)
    basis = np.cos(np.pi * (along + 0.5) * along[:, None] / _BLOCK)
    scale: np.ndarray = np.sqrt(np.where(along > 0, 2, 1) / _BLOCK)
    return basis * scale[:, None]


def _coded(plane: Array, table: np.ndarray) -> Array:
    """A plane [B,H,W] of levels after its blocks were quantised; beyond the border it goes on."""
    height, width = plane.shape[1:]
    whole = _continued(plane, _BLOCK * math.ceil(height / _BLOCK), 1)
    whole = _continued(whole, _BLOCK * math.ceil(width / _BLOCK), 2)
    rows, columns = (side // _BLOCK for side in whole.shape[1:])
    blocks = whole.reshape(len(plane), rows, _BLOCK, columns, _BLOCK) - _MIDDLE
    basis = jnp.asarray(_dct(), plane.dtype)
    exactly = jax.lax.Precision.HIGHEST
    waves = jnp.einsum("ui,bricj,vj->brcuv", basis, blocks, basis, precision=exactly)
    waves = straight_through(partial(_quantised, steps=table))(waves)
    blocks = jnp.einsum("ui,brcuv,vj->bricj", basis, waves, basis, precision=exactly)
    return _as_levels(blocks.reshape(whole.shape) + _MIDDLE)[:, :height, :width]


def _quantised(waves: Array, steps: np.ndarray) -> Array:
    """Multiples of the steps; halves go away from zero, as where eighths are counted."""
    eighths, steps = jnp.round(8 * waves), steps.astype(waves.dtype)
    return jnp.sign(eighths) * jnp.floor((jnp.abs(eighths) + 4 * steps) / (8 * steps)) * steps


def _continued(plane: Array, size: int, axis: int) -> Array:
    """A plane whose last row or column is repeated up to a size."""
    more = [(0, 0)] * plane.ndim
    more[axis] = (0, size - plane.shape[axis])
    return jnp.pad(plane, more, mode="edge")


def _halved(plane: Array) -> Array:
    """Means of 2x2 levels of [B,H,W]; of four, those in between go down and up in turns."""
    height, width = plane.shape[1:]
    even = _continued(plane, 2 * math.ceil(height / 2), 1)
    even = _continued(even, 2 * _BLOCK * math.ceil(width / (2 * _BLOCK)), 2)
    sums = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    bias = 1 + np.arange(sums.shape[2]) % 2
    return _lower((sums + jnp.asarray(bias, plane.dtype)) / 4)


def _enlarged(plane: Array, size: tuple[int, int]) -> Array:
    """A plane of half the size enlarged by triangles, three parts of the near, one of the next."""
    height, width = size
    plane = plane[:, :, : math.ceil(width / 2)]
    rows = _spread(plane, 1)
    both = _spread(rows, 2)
    bias = jnp.asarray(np.where(np.arange(both.shape[2]) % 2, 7, 8), plane.dtype)
    return _lower((both + bias) / 16)[:, :height, :width]


def _spread(plane: Array, axis: int) -> Array:
    """Four times a plane of twice as many rows (axis 1) or columns (axis 2)."""
    last = plane.shape[axis] - 1
    before = jnp.take(plane, np.maximum(np.arange(last + 1) - 1, 0), axis=axis)
    after = jnp.take(plane, np.minimum(np.arange(last + 1) + 1, last), axis=axis)
    pairs = jnp.stack([3 * plane + before, 3 * plane + after], axis=axis + 1)
    shape = list(plane.shape)
    shape[axis] *= 2
    return pairs.reshape(shape)
