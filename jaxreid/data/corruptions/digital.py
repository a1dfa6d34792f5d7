"""Faults of processing and transmission; pixels are float64 [H,W,3] in [0, 1]."""

import io

import cv2
import numpy as np
from PIL import Image

from jaxreid.data.corruptions.blur import length

__all__ = ["as_bytes", "contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"]


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1], or beyond, as uint8: cut off and rounded."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def contrast(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Closer to the image's mean colour: (x - mean) c + mean."""
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[level]
    mean = pixels.mean((0, 1), keepdims=True)
    return (pixels - mean) * factor + mean


def saturate(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Paler or more colourful: saturation times a factor plus an offset, at most 1 (HSV)."""
    factor, offset = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[level]
    value = pixels.max(-1, keepdims=True)
    saturation = 1 - pixels.min(-1, keepdims=True) / np.maximum(value, 1e-12)
    wanted = np.minimum(saturation * factor + offset, 1)
    # Distances from the largest channel grow as saturation does; grey has no hue to take.
    grown = value - (value - pixels) * wanted / np.maximum(saturation, 1e-12)
    return np.where(saturation > 0, grown, pixels)


def pixelate(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Shrunk by averaging, and grown back without smoothing."""
    factor = (0.6, 0.5, 0.4, 0.3, 0.25)[level]
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = Image.fromarray(as_bytes(pixels)).resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST)) / 255


def jpeg_compression(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Compressed as a JPEG of low quality, and decoded."""
    quality = (25, 18, 15, 10, 7)[level]
    buffer = io.BytesIO()
    Image.fromarray(as_bytes(pixels)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as picture:
        return np.asarray(picture.convert("RGB")) / 255


def elastic_transform(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Displaced by a smooth random field.

    Simard et al., Best practices for convolutional neural networks, section 2,
    https://doi.org/10.1109/ICDAR.2003.1227801.
    """
    shift, smooth = ((2, 8), (3, 7), (4, 6), (5, 5), (6, 4))[level]
    height, width = pixels.shape[:2]
    fields = []
    for _ in range(2):
        field = rng.uniform(-1, 1, (height, width))
        field = cv2.GaussianBlur(field, (0, 0), max(length(pixels, smooth), 0.5))
        fields.append(field * length(pixels, shift) / max(np.abs(field).max(), 1e-12))
    rows, columns = np.mgrid[:height, :width]
    return cv2.remap(
        pixels,
        (columns + fields[0]).astype(np.float32),
        (rows + fields[1]).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
