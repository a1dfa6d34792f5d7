"""The few adversarial images that are kept while all of them pass by."""

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxreid.evaluation.attacking import AttackedBatch
from jaxreid.evaluation.guidance import Targets

__all__ = ["Album"]


class Album:
    """Adversarial images worth keeping, from whichever process has them.

    Args:
        wanted: boolean [T], which of the targets to keep.
        size: (height, width) in pixels.
    """

    def __init__(self, wanted: np.ndarray, size: tuple[int, int]) -> None:
        self._slots = np.where(wanted, np.cumsum(wanted) - 1, -1)
        self._images = np.zeros((int(wanted.sum()), *size, 3), np.float32)

    def add(self, batch: AttackedBatch) -> None:
        """Keeps those of a batch that are wanted.

        Args:
            batch: of this process.
        """
        slots = np.where(batch.rows >= 0, self._slots[batch.rows], -1)
        if (slots >= 0).any():
            images = np.asarray(batch.images)[slots >= 0]
            as_float = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
            self._images[slots[slots >= 0]] = as_float

    def pictures(self, targets: Targets) -> dict[int, np.ndarray]:
        """Puts together what all processes kept; each of them must call this.

        Args:
            targets: T images.

        Returns:
            Position in the split -> float32 [H,W,3] in [0, 1].
        """
        whole = _combined(self._images)
        kept = self._slots >= 0
        return dict(zip(targets.indices[kept].tolist(), whole[self._slots[kept]], strict=True))


def _combined(array: np.ndarray) -> np.ndarray:
    """Sums what each process filled in of an array of zeros, each element at most one of them."""
    if jax.process_count() == 1:
        return array
    return np.asarray(multihost_utils.process_allgather(array)).sum(axis=0, dtype=array.dtype)
