"""Weather, light and dirt; pixels are float64 [H,W,3] in [0, 1]."""

import math

import cv2
import numpy as np

from jaxreid.data.corruptions.blur import length, motion_kernel

__all__ = ["brightness", "fog", "frost", "plasma", "rain", "snow", "spatter"]


def brightness(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """More light: a constant added to the largest channel, hue and saturation kept (HSV)."""
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[level]
    value = pixels.max(-1, keepdims=True)
    lighter = np.minimum(value + more, 1)
    # Of black, hue and saturation are not defined: it becomes grey.
    return np.where(value > 0, pixels * (lighter / np.maximum(value, 1e-12)), lighter)


def plasma(
    shape: tuple[int, int], roughness: float, rng: np.random.Generator, octaves: int = 6
) -> np.ndarray:
    """A fractal cloud [H,W] in [0, 1]: octaves of smoothed noise, each 1/roughness as strong.

    Fournier et al., Computer rendering of stochastic models, https://doi.org/10.1145/358523.358553,
    describe such surfaces.
    """
    height, width = shape
    cloud = np.zeros(shape)
    for octave in range(octaves):
        cells = 2**octave
        grid = rng.normal(size=(cells + 3, math.ceil(cells * width / height) + 3))
        grown = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cloud += grown / roughness**octave
    low, high = cloud.min(), cloud.max()
    return (cloud - low) / max(high - low, 1e-12)


def fog(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A cloud before the image, whose whites stay below 1: (x + c cloud) max / (max + c)."""
    amount, roughness = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[level]
    brightest = pixels.max()
    clouded = pixels + amount * plasma(pixels.shape[:2], roughness, rng)[..., None]
    return clouded * brightest / max(brightest + amount, 1e-12)


def frost(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Ice on the lens, drawn: ridges of two fractal clouds, bluish white, over a darker image."""
    kept, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[level]
    ridges = [1 - np.abs(2 * plasma(pixels.shape[:2], 1.5, rng) - 1) for _ in range(2)]
    crystals = np.maximum(*ridges) ** 6
    return kept * pixels + ice * crystals[..., None] * np.array([0.82, 0.92, 1.0])


def _streaks(
    shape: tuple[int, ...], share: float, extent: float, angle: float, rng: np.random.Generator
) -> np.ndarray:
    """Falling drops or flakes [H,W] in [0, 1]: a share of the pixels, smeared along a line."""
    drops = (rng.random(shape[:2]) < share).astype(np.float64)
    kernel = motion_kernel(max(extent, 1), angle)
    smeared = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return np.minimum(smeared / kernel.max(), 1)


def snow(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Flakes that fall askew, before an image that snow on the ground has made pale."""
    share, extent, kept = (
        *((0.01, 6, 0.8), (0.02, 8, 0.7), (0.03, 10, 0.7)),
        *((0.05, 12, 0.65), (0.07, 14, 0.55)),
    )[level]
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    pale = np.maximum(pixels, (1.5 * grey + 0.5)[..., None])
    angle = rng.uniform(-3 * math.pi / 4, -math.pi / 4)
    flakes = _streaks(pixels.shape, share, length(pixels, extent), angle, rng)
    return kept * pixels + (1 - kept) * pale + 0.8 * flakes[..., None]


def rain(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Streaks within 15 degrees of the vertical, before an image that is darker and greyer."""
    share, extent, dim = (
        *((0.002, 20, 0.95), (0.004, 25, 0.9), (0.008, 30, 0.85)),
        *((0.012, 35, 0.8), (0.02, 40, 0.7)),
    )[level]
    angle = math.pi / 2 + rng.uniform(-math.pi / 12, math.pi / 12)
    streaks = _streaks(pixels.shape, share, length(pixels, extent), angle, rng)
    return dim * pixels + 0.6 * streaks[..., None]


def spatter(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Drops on the lens where a smooth random field is high: water, and mud from severity 4 on."""
    threshold, opacity = ((0.75, 0.5), (0.68, 0.6), (0.62, 0.7), (0.6, 0.85), (0.52, 0.95))[level]
    field = cv2.GaussianBlur(rng.normal(size=pixels.shape[:2]), (0, 0), max(length(pixels, 4), 0.5))
    # In ranks, so that each severity covers the same share of every image.
    ranks = field.ravel().argsort().argsort().reshape(field.shape) / max(field.size - 1, 1)
    cover = opacity * np.clip((ranks - threshold) / 0.08, 0, 1)[..., None]
    colour = np.array([0.69, 0.93, 0.93]) if level < 3 else np.array([0.25, 0.16, 0.08])
    return (1 - cover) * pixels + cover * colour
