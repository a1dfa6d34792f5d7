"""What contestants of a benchmark are given, and what they give back."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreid.models import Embedding, ReID, embedding

__all__ = ["Problem", "Rival"]


class Problem(NamedTuple):
    """What every contestant is given.

    Attributes:
        model: the network, without a classifier.
        images: [B,H,W,3] in [0, 1].
        pull: [B,N,D], whose mean squared distance FNA (N = 1) and NNA descend; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.
        dtype: of the backbone, "float32" or "bfloat16".
    """

    model: ReID
    images: np.ndarray
    pull: np.ndarray | None
    eps: float
    step_size: float
    steps: int
    dtype: str

    @property
    def cameras(self) -> np.ndarray | None:
        """Who took the images: the network's cameras in turn, int32 [B]; None if it has none."""
        known = self.model.cameras
        return np.arange(len(self.images), dtype=np.int32) % known if known else None

    @property
    def embed(self) -> Embedding:
        """The network of these images, whose cameras it has been told."""
        embed, cameras = embedding(self.model), self.cameras
        return embed if cameras is None else embed.seen_by(cameras)


class Rival(NamedTuple):
    """Somebody else's attack.

    Attributes:
        run: attacks one batch.
        features: computes those of the clean images, [B,D], where jaxreid's network does not.
    """

    run: Callable[[], object]
    features: Callable[[], np.ndarray] | None = None
