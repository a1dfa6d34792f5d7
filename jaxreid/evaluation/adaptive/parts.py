"""What attacked batches came to, on disk until the whole is written: killed, a run goes on.

    adaptive/KEY/000000064.npz    of the batch that begins with query 64

KEY is made of the climb, so that the files of one are not taken for another's.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from jaxreid.errors import InputError
from jaxreid.records import AdaptiveClimb, AttackedFeatures

__all__ = ["Parts"]

_FOLDER = "adaptive"
_KEY_LENGTH = 16


class Parts:
    """The files of a climb.

    Args:
        folder: of the run; None to keep nothing.
        climb: checked.
    """

    def __init__(self, folder: Path | None, climb: AdaptiveClimb) -> None:
        text = json.dumps(dataclasses.asdict(climb), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]
        self._folder = None if folder is None else folder / _FOLDER / key

    def found(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What earlier runs left.

        Args:
            shape: T queries, D dimensions.

        Returns:
            Features [T,2,D] and scores [T,2], zero where none are known, and boolean [T] where they
            are.
        """
        count, size = shape
        features, scores = np.zeros((count, 2, size), np.float32), np.zeros((count, 2), np.float32)
        done = np.zeros(count, bool)
        for file in () if self._folder is None else sorted(self._folder.glob("*.npz")):
            try:
                part = AttackedFeatures.load(file)
            except InputError:
                # Whatever is wrong with it: what it says can be computed.
                continue
            at = part.positions
            if part.features.shape[2] == size and ((at >= 0) & (at < count)).all():
                features[at], scores[at], done[at] = part.features, part.scores, True
        return features, scores, done

    def add(self, part: AttackedFeatures) -> None:
        """Writes a batch.

        Args:
            part: of n queries, at least one.

        Raises:
            OSError: it cannot be written.
        """
        if self._folder is not None:
            part.save(self._folder / f"{part.positions[0]:09d}.npz")

    def remove(self) -> None:
        """Removes the files: what they were kept for is written."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Where nothing of another climb is kept.
                self._folder.parent.rmdir()
