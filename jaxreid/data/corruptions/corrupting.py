"""One image, or a whole split, through one corruption."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxreid.constants import Filter
from jaxreid.data.corruptions import blur, digital, noise, weather
from jaxreid.data.decode import as_png, decode_batch
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corrupted", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)
"""From barely to badly."""

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(pixels float64 [H,W,3] in [0, 1], severity from 0, randomness) -> pixels, not yet cut off."""

_ALL: tuple[Corruption, ...] = (
    *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise, noise.speckle_noise),
    *(blur.gaussian_blur, blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
    *(weather.snow, weather.frost, weather.fog, weather.rain, weather.spatter),
    *(weather.brightness, digital.contrast, digital.saturate, digital.pixelate),
    *(digital.jpeg_compression, digital.elastic_transform),
)

CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType({one.__name__: one for one in _ALL})
"""name -> Corruption: the twenty kinds of Market-1501-C."""


def corrupt(image: np.ndarray, name: str, severity: int, *, seed: Sequence[int]) -> np.ndarray:
    """Corrupts one image, the same way whenever it is given the same seed.

    The kinds are those of Chen et al., Benchmarks for corruption invariant person
    re-identification, https://arxiv.org/abs/2111.00880, after Hendrycks and Dietterich,
    https://arxiv.org/abs/1903.12261. They are drawn from their definitions: figures are close in
    kind to those of Market-1501-C and not comparable to the digit.

    Args:
        image: uint8 [H,W,3], RGB.
        name: a key of CORRUPTIONS.
        severity: one of SEVERITIES.
        seed: non-negative integers; what is random depends on them, name and severity alone.

    Returns:
        uint8 [H,W,3], RGB.

    Raises:
        InputError: another name or severity, or no such image.
    """
    check_corruption(name, severity)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"expected an image uint8 [H,W,3], got {image.dtype} {image.shape}")
    rng = np.random.default_rng([zlib.crc32(name.encode()), severity, *seed])
    return digital.as_bytes(CORRUPTIONS[name](image / 255, SEVERITIES.index(severity), rng))


def check_corruption(name: str, severity: int) -> None:
    """Raises InputError where there is no such corruption."""
    if name not in CORRUPTIONS:
        raise InputError(f"unknown corruption {name!r}; there are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise InputError(f"severity must be 1 to 5, got {severity!r}")


class Corrupted:
    """A split whose images are corrupted at the size that networks see: a ReidSource itself.

    Each image is decoded and resized, then corrupted by a generator seeded with its own name, and
    given as a PNG of that size: neither order nor batch changes it.

    Args:
        source: the split.
        name: a key of CORRUPTIONS.
        severity: one of SEVERITIES.
        size: (height, width) in pixels.
        filter: kernel of the resizing.
        seed: of what is random.

    Raises:
        InputError: no such corruption.
    """

    def __init__(
        self,
        source: ReidSource,
        name: str,
        severity: int,
        *,
        size: tuple[int, int],
        filter: Filter = "bilinear",
        seed: int = 0,
    ) -> None:
        check_corruption(name, severity)
        self._source, self._name, self._severity = source, name, severity
        self._size, self._filter, self._seed = size, filter, seed
        self.identities, self.labels = source.identities, source.labels
        self.cameras, self.file_names = source.cameras, source.file_names

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        example, name = self._source[index], self.file_names[index]
        image = decode_batch(
            [example["image"]],
            self._size,
            filter=self._filter,
            names=[name],
            upright=example.get("upright", True),
        )[0]
        seed = (self._seed, zlib.crc32(name.encode("utf-8", "surrogateescape")))
        pixels = corrupt(image, self._name, self._severity, seed=seed)
        return {**example, "image": as_png(pixels), "upright": False}
