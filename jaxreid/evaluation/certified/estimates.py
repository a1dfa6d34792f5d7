"""Smoothed features of images, from all devices of all processes, stored as they come."""

import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from jaxreid.augmentation import to_float
from jaxreid.cameras import seen_by
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation.certified.smoothing import Smoothed
from jaxreid.evaluation.embeds import Shots, features_of_shots
from jaxreid.evaluation.features import LoaderSettings, Subset, refuse_nonfinite
from jaxreid.records import MeanFeatures
from jaxreid.sharding import (
    from_first_process,
    gathered,
    over_rows,
    replicated,
    row_mesh,
    whole_batch,
)
from jaxreid.types import Array

__all__ = ["means_of_images", "means_of_split"]

# Draws in one program, at most: progress is seen after each.
_DRAWS = 16

Progress = Callable[[int, int], None]


def _totals(shared: tuple[Smoothed, np.ndarray], shots: Shots) -> Array:
    """Sums over some draws, for `over_rows`."""
    embed, draws = shared
    seen = seen_by(embed, shots.cameras)
    assert isinstance(seen, Smoothed)
    return seen.total(to_float(shots.images), draws)


def _means(embed: Smoothed, shots: Shots, mesh: Mesh, drawn: Callable[[int], None]) -> np.ndarray:
    """Features [b,D] of a batch; `drawn` is called with the draws done."""
    run, step = over_rows(_totals, mesh), math.gcd(embed.samples, _DRAWS)
    total = np.zeros(())
    for first in range(0, embed.samples, step):
        draws = np.arange(first, first + step, dtype=np.int32)
        # Sums of few draws in single precision, of all in double.
        total = total + np.asarray(run((embed, draws), shots), np.float64)
        drawn(first + step)
    return (total / embed.samples).astype(np.float32)


def means_of_split(
    embed: Smoothed,
    source: Subset,
    folder: Path,
    *,
    name: str,
    loader: LoaderSettings,
    progress: Progress,
) -> np.ndarray:
    """Smoothed features of all images of a split; what an earlier run stored is not done again.

    Neither the batch size nor the devices or processes change a feature (up to rounding). With
    several processes, each must call this alike.

    Args:
        embed: smoothed.
        source: the images, N of them.
        folder: where each batch is stored as soon as it is known.
        name: how the files begin.
        loader: how images are read.
        progress: called with (passes done, all of them): one for every image and draw.

    Returns:
        float32 [N,D].

    Raises:
        InputError: an image that cannot be decoded, or features that are not finite.
        OSError: the folder cannot be written.
    """
    mesh = row_mesh(loader.devices)
    shared = replicated(embed, mesh)
    found, done = _stored(folder, name, _room(embed, len(source), loader))
    todo = np.flatnonzero(~done)
    total = whole_batch(loader.batch_size, len(source), mesh)
    with loader.batches(Subset(source, todo), total) as batches:
        # Nothing is done of nothing: an empty split has no batches.
        for first, batch in zip(range(0, len(todo), total), batches, strict=True):
            rows = todo[first : first + total]
            before = (len(source) - len(todo) + first) * embed.samples

            def drawn(draws: int, before: int = before, count: int = len(rows)) -> None:
                progress(before + draws * count, len(source) * embed.samples)

            means = _means(shared, Shots(batch.images, batch.cameras), mesh, drawn)
            found[rows] = gathered([means], len(rows))
            refuse_nonfinite(found[rows], Subset(source, rows))
            if is_main_process():
                part = MeanFeatures(rows, found[rows])
                part.save(folder / f"{name}-{rows[0]:09d}.npz")
    return found


def _room(embed: Smoothed, count: int, loader: LoaderSettings) -> np.ndarray:
    one = Shots(np.zeros((1, *loader.size, 3), np.float32), np.zeros(1, np.int32))
    shape = jax.eval_shape(features_of_shots, embed, one).shape
    return np.zeros((count, shape[1]), np.float32)


def _stored(folder: Path, name: str, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N,D] that are in the folder already, and which of them are: boolean [N]."""
    done = np.zeros(len(found), bool)
    for file in sorted(folder.glob(f"{name}-*.npz")) if is_main_process() else ():
        try:
            part = MeanFeatures.load(file)
        except InputError:
            # Whatever is wrong with it: what it says can be computed.
            continue
        inside = part.positions[(part.positions >= 0) & (part.positions < len(found))]
        if len(inside) == len(part.positions) and part.features.shape[1] == found.shape[1]:
            found[inside], done[inside] = part.features, True
    found, done = from_first_process((found, done))
    return np.array(found), np.array(done, bool)


def means_of_images(
    embed: Smoothed,
    images: np.ndarray,
    cameras: np.ndarray,
    *,
    loader: LoaderSettings,
    progress: Progress,
) -> np.ndarray:
    """Smoothed features of images that are at hand; every process works on all of them.

    Args:
        embed: smoothed.
        images: float32 [N,H,W,3] in [0, 1].
        cameras: int32 [N], who took them.
        loader: how many at a time, on which devices.
        progress: called with (passes done, all of them).

    Returns:
        float32 [N,D].
    """
    mesh = row_mesh(loader.devices)
    shared, size = replicated(embed, mesh), whole_batch(loader.batch_size, len(images), mesh)
    parts = []
    for first in range(0, len(images), size):
        # The last batch is filled up with its own last row.
        at = np.minimum(np.arange(first, first + size), len(images) - 1)

        def drawn(draws: int, first: int = first) -> None:
            count = min(size, len(images) - first)
            progress(first * embed.samples + draws * count, len(images) * embed.samples)

        parts.append(_means(shared, Shots(images[at], cameras[at]), mesh, drawn))
    return np.concatenate(parts)[: len(images)]
