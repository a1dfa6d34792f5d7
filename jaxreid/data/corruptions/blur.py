"""Blur by lens, hand and distance; pixels are float64 [H,W,3] in [0, 1].

Lengths are fractions of the image's diagonal, so that a small image looks as blurred as a large
one.
"""

import math

import cv2
import numpy as np

__all__ = [
    "defocus_blur",
    "gaussian_blur",
    "glass_blur",
    "length",
    "motion_blur",
    "motion_kernel",
    "zoom_blur",
]

# Diagonal in pixels of the images for which the severities of lengths were chosen: 224 x 224.
_REFERENCE = 224 * math.sqrt(2)


def length(pixels: np.ndarray, reference: float) -> float:
    """A length in pixels of this image, given that in an image of 224x224."""
    return reference * math.hypot(*pixels.shape[:2]) / _REFERENCE


def gaussian_blur(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Convolution with a Gaussian."""
    sigma = length(pixels, (1, 2, 3, 4, 6)[level])
    return cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def disk_kernel(radius: float) -> np.ndarray:
    """The image of a point out of focus: a disk of this radius in pixels, which sums to 1.

    Each weight is the share of the pixel that the disk covers, from 16 x 16 places in it.
    """
    reach = math.ceil(radius)
    fine = (np.arange((2 * reach + 1) * 16) + 0.5) / 16 - reach - 0.5
    inside = np.hypot(fine[:, None], fine[None]) <= max(radius, 0.5)
    kernel = inside.reshape(2 * reach + 1, 16, 2 * reach + 1, 16).mean((1, 3))
    return kernel / kernel.sum()


def defocus_blur(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Convolution with a disk."""
    radius = length(pixels, (3, 4, 6, 8, 10)[level])
    return cv2.filter2D(pixels, -1, disk_kernel(radius), borderType=cv2.BORDER_REFLECT)


def glass_blur(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Frosted glass: pixels change places with near ones, between two Gaussian blurs."""
    sigma, reach = ((0.7, 1.5), (0.9, 2.5), (1, 3.5), (1.2, 5), (1.5, 7))[level]
    spread = max(1, round(length(pixels, reach)))
    blurred = cv2.GaussianBlur(pixels, (0, 0), max(0.3, length(pixels, sigma)))
    height, width = pixels.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(2):
        down, across = rng.integers(-spread, spread + 1, (2, height, width))
        blurred = blurred[(rows + down).clip(0, height - 1), (columns + across).clip(0, width - 1)]
    return cv2.GaussianBlur(blurred, (0, 0), max(0.3, length(pixels, sigma)))


def motion_kernel(extent: float, angle: float) -> np.ndarray:
    """A line through the middle, `extent` pixels long, at `angle` radians, which sums to 1."""
    reach = math.ceil(extent / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    # Bilinear weights of points along the line.
    for place in np.linspace(-extent / 2, extent / 2, 16 * reach + 1):
        row, column = reach + place * math.sin(angle), reach + place * math.cos(angle)
        top, left = min(int(row), 2 * reach - 1), min(int(column), 2 * reach - 1)
        down, across = row - top, column - left
        weights = np.outer((1 - down, down), (1 - across, across))
        kernel[top : top + 2, left : left + 2] += weights
    return kernel / kernel.sum()


def motion_blur(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A person or camera that moves within 45 degrees of the horizontal."""
    extent = length(pixels, (10, 15, 20, 25, 35)[level])
    kernel = motion_kernel(max(extent, 1), rng.uniform(-math.pi / 4, math.pi / 4))
    return cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REFLECT)


def zoom_blur(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A camera that zooms while it exposes: the mean of the image at growing scales."""
    largest, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[level]
    height, width = pixels.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    scales = np.arange(1, largest, step)
    seen = [
        cv2.warpAffine(
            pixels,
            cv2.getRotationMatrix2D(middle, 0, scale),
            (width, height),
            borderMode=cv2.BORDER_REFLECT,
        )
        for scale in scales
    ]
    return np.mean(seen, axis=0)
