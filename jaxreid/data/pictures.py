"""What encoded images are: their formats, how they lie, and how their pixels become 8-bit RGB."""

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

__all__ = [
    "FORMATS",
    "READ_SUFFIXES",
    "TRAITS",
    "UNREAD_SUFFIXES",
    "examine",
    "orientation_of",
    "rgb_pixels",
    "turned",
]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""What prepared datasets may hold, in Pillow's words."""

READ_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp")
"""How files of these formats are named; case does not count."""

UNREAD_SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".cr2",
        ".dng",
        ".exr",
        ".gif",
        ".hdr",
        ".heic",
        ".heif",
        ".ico",
        ".j2k",
        ".jp2",
        ".jxl",
        ".nef",
        ".pbm",
        ".pcx",
        ".pgm",
        ".pnm",
        ".ppm",
        ".psd",
        ".qoi",
        ".raw",
        ".svg",
        ".tga",
        ".tif",
        ".tiff",
    }
)
"""How files of other image formats are named: no rubbish, but not read either."""

TRAITS: Mapping[str, str] = MappingProxyType(
    {
        "rotated": "stored rotated (Exif)",
        "deep": "16 bits per grey value, of which the upper eight are read",
        "dark": "less than a sixteenth of the 16 bits is used, so they are read as nearly black; "
        "scale them first",
        "alpha": "transparent parts, of which the colours are read and the transparency is not",
        "moving": "animated; the first picture is read",
    }
)
"""What is worth telling of an image -> how it is told, after "12 images: "."""

_ORIENTATION = 0x0112
_DARK = 1 << 12


def orientation_of(picture: Image.Image) -> int:
    """How an image has to be turned to be upright.

    Args:
        picture: an open image.

    Returns:
        The Exif orientation, 1 to 8 (https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, page
        30); 1, which is upright, where there is none or it is damaged.
    """
    try:
        value: Any = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds on damaged Exif, and the pixels may be fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image upright.

    Args:
        pixels: [H,W,...].
        orientation: its Exif orientation, 1 to 8.

    Returns:
        [H,W,...], or [W,H,...] from 5 on.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the exchange of axes, which rows and columns run backwards.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _deep(picture: Image.Image) -> bool:
    # Before version 12, Pillow gave 16-bit PNGs the mode of 32-bit integers.
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG")


def rgb_pixels(picture: Image.Image) -> np.ndarray:
    """The pixels of an open image, by their upper eight bits where there are sixteen.

    Transparency is left out, as by Pillow's `convert("RGB")`: the colours under it stay.

    Args:
        picture: an open image.

    Returns:
        uint8 [H,W,3], RGB in 0 to 255.

    Raises:
        ValueError: its values have no known range (32-bit integers and floating point).
    """
    if _deep(picture):
        # Pillow would clip at 255: all white.
        grey = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise ValueError(f"32 bits per value (mode {picture.mode}) have no known range")
    return np.asarray(picture.convert("RGB"))


def _traits(picture: Image.Image) -> Sequence[str]:
    found = []
    if orientation_of(picture) != 1:
        found.append("rotated")
    if _deep(picture):
        found.append("deep")
        if 0 < np.asarray(picture).max() < _DARK:
            found.append("dark")
    elif picture.has_transparency_data:
        extrema: Any = picture.convert("RGBA").getextrema()
        if extrema[3][0] < 255:
            found.append("alpha")
    if picture.format in ("PNG", "WEBP") and getattr(picture, "is_animated", False):
        found.append("moving")
    return found


def examine(data: bytes) -> tuple[str, Sequence[str]]:
    """Decodes an image to see whether it can be, and what there is to tell of it.

    Args:
        data: the encoded bytes.

    Returns:
        (why it cannot be decoded, or "" if it can; keys of `TRAITS`).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            picture.load()
            return "", _traits(picture)
    except UnidentifiedImageError:
        return ("not a JPEG, PNG, BMP or WebP image" if data else "empty file"), ()
    # Pillow's decoders raise many kinds of exceptions on broken bytes (OSError, SyntaxError,
    # ValueError, struct.error, DecompressionBombError...); all of them mean the same here.
    except Exception as error:
        return str(error) or type(error).__name__, ()
