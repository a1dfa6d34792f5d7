"""Noise of sensors, of each pixel by itself; pixels are float64 [H,W,3] in [0, 1]."""

import numpy as np

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]


def gaussian_noise(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Of a dark sensor: x + N(0, sigma^2)."""
    sigma = (0.08, 0.12, 0.18, 0.26, 0.38)[level]
    return pixels + rng.normal(0, sigma, pixels.shape)


def shot_noise(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Of few photons: Poisson(x n) / n, n of them where a pixel is white."""
    photons = (60, 25, 12, 5, 3)[level]
    return rng.poisson(pixels * photons) / photons


def impulse_noise(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper: a share of all values is 0 or 1, one as often as the other."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[level]
    struck = rng.random(pixels.shape) < share
    return np.where(struck, rng.random(pixels.shape) < 0.5, pixels)


def speckle_noise(pixels: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Multiplicative: x + x N(0, sigma^2)."""
    sigma = (0.15, 0.2, 0.35, 0.45, 0.6)[level]
    return pixels + pixels * rng.normal(0, sigma, pixels.shape)
