"""Encoded images to one uint8 batch, with PIL's pixels at several times PIL's speed.

JPEGs are decoded by OpenCV, whose libjpeg-turbo gives the same pixels as PIL's. A resize to
exactly twice the size (Market's 128x64 to the usual 256x128) is four filters of exact arithmetic
over the stacked batch; every other resize is PIL's own.

Networks that trackers and deployed systems use see images that OpenCV resized. Its kernels stay as
wide as the stored pixels are, so that where an image shrinks by more than two, pixels are skipped:
the geometry of `torch.nn.functional.interpolate(align_corners=False)` without antialiasing, in
grey levels of 8 bits. Where an image grows, OpenCV's "bilinear" is PIL's but for rounding;
"bicubic" has another constant (-0.75, PIL -0.5).
"""

import io
from collections.abc import Sequence
from typing import get_args

import cv2
import numpy as np
from PIL import Image

from jaxreid.constants import Filter
from jaxreid.errors import InputError, reason_of

__all__ = [
    "as_png",
    "decode",
    "decode_batch",
    "holds_16_bits",
    "orientation_of",
    "resize_batch",
]

_PIL = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_OPENCV = {"opencv-bicubic": cv2.INTER_CUBIC, "opencv-bilinear": cv2.INTER_LINEAR}
_READ = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# Without one of these, a JPEG has no orientation: neither in Exif nor in XMP.
_MAY_TURN = (b"Exif", b"tiff:Orientation")
_ORIENTATION = 0x0112  # of Exif
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def decode(encoded: bytes, *, name: str, upright: bool = True) -> np.ndarray:
    """uint8 [H,W,3] of one encoded image, RGB in 0 to 255.

    The pixels that PIL decodes, but for CMYK JPEGs, whose conversion is OpenCV's, and for 16-bit
    grey values, whose upper eight bits they are. `upright` turns them as the Exif orientation says.
    Bytes that are no image, or one cut short, are an InputError that begins with `name`.
    """
    try:
        pixels = _jpeg_pixels(encoded)
        if pixels is not None and not (upright and any(tag in encoded for tag in _MAY_TURN)):
            return pixels
        with Image.open(io.BytesIO(encoded)) as picture:
            if pixels is None:
                pixels = _rgb_pixels(picture)
            return _turned(pixels, orientation_of(picture)) if upright else pixels
    except Exception as error:  # Pillow and OpenCV raise many kinds on bytes that are no image
        reason = reason_of(error)
        raise InputError(f"{name}: not an image that can be decoded ({reason})") from error


def as_png(pixels: np.ndarray) -> bytes:
    """Encodes pixels, uint8 [H,W,3], RGB in 0 to 255: `decode` gives them back."""
    dtype, shape = getattr(pixels, "dtype", type(pixels).__name__), np.shape(pixels)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise InputError(f"pixels of an image must be uint8 [H,W,3], got {list(shape)} {dtype}")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg_pixels(encoded: bytes) -> np.ndarray | None:
    """A JPEG's pixels as they are stored; None for PIL to try."""
    # OpenCV fills what is missing of a truncated JPEG with grey and goes on; PIL refuses.
    if encoded.startswith(_JPEG_START) and encoded.rfind(_JPEG_END) > 0:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), _READ)
    return None


def orientation_of(picture: Image.Image) -> int:
    """An open image's Exif orientation, 1 to 8; 1, upright, where it is missing or damaged.

    https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, page 30.
    """
    try:
        value: object = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds on damaged Exif, and the pixels may be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def holds_16_bits(picture: Image.Image) -> bool:
    """Whether an open image has 16 bits per grey value; the upper eight of them are read."""
    # Before version 12, Pillow gave 16-bit PNGs the mode of 32-bit integers.
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG")


def _rgb_pixels(picture: Image.Image) -> np.ndarray:
    """uint8 [H,W,3]: the upper eight bits of sixteen, and the colours under transparency.

    32-bit integers and floating point raise ValueError: their values have no known range.
    """
    if holds_16_bits(picture):
        # Pillow would clip at 255: all white.
        grey = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise ValueError(f"32 bits per value (mode {picture.mode}) have no known range")
    return np.asarray(picture.convert("RGB"))


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image [H,W,...] by its Exif orientation: [W,H,...] from 5 on."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the exchange of axes, which rows and columns run backwards.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def decode_batch(
    encoded: Sequence[bytes],
    size: tuple[int, int],
    *,
    filter: Filter,
    names: Sequence[str],
    upright: bool = True,
) -> np.ndarray:
    """uint8 [B,height,width,3] of B encoded images of any sizes, as PIL decodes them.

    See `decode` for `upright` and for the errors, which begin with the image's name, and
    `resize_batch` for `filter`.
    """
    images = [decode(e, name=n, upright=upright) for e, n in zip(encoded, names, strict=True)]
    if not images:
        return np.zeros((0, *size, 3), np.uint8)
    if len({image.shape for image in images}) == 1:
        return resize_batch(np.stack(images), size, filter=filter)
    return np.concatenate([resize_batch(image[None], size, filter=filter) for image in images])


def resize_batch(images: np.ndarray, size: tuple[int, int], *, filter: Filter) -> np.ndarray:
    """Resizes uint8 [B,H,W,3] to (height, width) as PIL or OpenCV does, to the last bit.

    PIL's kernels ("bicubic", "bilinear") are antialiased where an image shrinks, OpenCV's
    ("opencv-bicubic", "opencv-bilinear") are not.
    """
    if filter not in get_args(Filter):
        raise InputError(f"filter must be one of {', '.join(get_args(Filter))}, got {filter!r}")
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"images must be resized to 1 pixel or more, got {height}x{width}")
    rows, columns = images.shape[1:3]
    if (height, width) == (rows, columns):
        return images
    if filter in _OPENCV:
        how = _OPENCV[filter]
        return np.stack([cv2.resize(one, (width, height), interpolation=how) for one in images])
    if (height, width) == (2 * rows, 2 * columns) and min(rows, columns) >= 4:
        return _doubled(images, filter)
    pictures = (Image.fromarray(image).resize((width, height), _PIL[filter]) for image in images)
    return np.stack([np.asarray(picture) for picture in pictures])


# Doubling: an output pixel lies a quarter of a pixel before or after an input pixel. These are the
# kernel's weights of the four inputs around it (one before, two after the nearest), as numerators
# over a power of two, so that float32 sums are exact.
_TAPS = {"bicubic": ((-9, 111, 29, -3), 128), "bilinear": ((0, 3, 1, 0), 4)}
# At the border PIL cuts the kernel and rescales what is left: weights of the first three inputs
# for the first outputs; the last ones mirror them.
_BORDER = {
    "bicubic": ((111, -9, 0), (111, 29, -3), (29, 111, -9)),
    "bilinear": ((1, 0, 0),),
}
_PRECISION = 22  # bits of PIL's fixed-point weights


def _doubled(images: np.ndarray, filter: Filter) -> np.ndarray:
    """PIL's order: columns first, rounded to 8 bits, then rows.

    The batch is filtered as one tall image: where two images meet, the rows are border rows,
    which are computed apart anyway.
    """
    b, rows, columns, _ = images.shape
    tall = np.ascontiguousarray(images).reshape(b * rows, columns, 3)
    wide = cv2.merge(_quarters(tall, filter, along=1)).reshape(b, rows, 2 * columns, 3)
    for x, values in _borders(images, filter, axis=2):
        wide[:, :, x] = values
    whole = np.empty((b, rows, 2, 2 * columns, 3), np.uint8)
    for phase, half in enumerate(_quarters(wide.reshape(b * rows, -1, 3), filter, along=0)):
        whole[:, :, phase] = half.reshape(b, rows, -1, 3)
    result = whole.reshape(b, 2 * rows, 2 * columns, 3)
    for y, values in _borders(wide, filter, axis=1):
        result[:, y] = values
    return result


def _quarters(tall: np.ndarray, filter: Filter, *, along: int) -> list[np.ndarray]:
    """Values a quarter pixel before and after every pixel."""
    numerators, denominator = _TAPS[filter]
    after = np.array(numerators, np.float32) / denominator
    # OpenCV rounds halves to even and PIL rounds them up; a sum is never this close to a half
    # unless it is one.
    nudge = 0.25 / denominator
    halves = []
    for kernel, anchor in ((after[::-1], 2), (after, 1)):
        shaped = kernel[None, :] if along == 1 else kernel[:, None]
        at = (anchor, 0) if along == 1 else (0, anchor)
        halves.append(cv2.filter2D(tall, -1, np.ascontiguousarray(shaped), anchor=at, delta=nudge))
    return halves


def _borders(images: np.ndarray, filter: Filter, *, axis: int) -> list[tuple[int, np.ndarray]]:
    """(position, values) of the outputs near both borders, by PIL's fixed-point arithmetic."""
    near = np.moveaxis(images, axis, 0)
    found = []
    for place, weights in enumerate(_BORDER[filter]):
        scale = (1 << _PRECISION) / sum(weights)
        fixed = [int(w * scale + (0.5 if w > 0 else -0.5)) for w in weights]
        for position, pixels in ((place, near[:3]), (-1 - place, near[:-4:-1])):
            total = np.full(pixels.shape[1:], 1 << (_PRECISION - 1), np.int64)
            for weight, values in zip(fixed, pixels, strict=True):
                total += weight * values.astype(np.int64)
            found.append((position, np.clip(total >> _PRECISION, 0, 255).astype(np.uint8)))
    return found
