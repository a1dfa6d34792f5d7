"""Black boxes that rank by the mean of an image's grey levels: what wins is arithmetic."""

import numpy as np

from jaxreid.evaluation.blackbox import Answer, Memory, People

SIZE = (16, 8)
# Grey levels of the gallery. Each query is found first until its mean has left the nearest match
# by half of the way to the next one of somebody else: by more than one level, and less than two.
LEVELS = np.array([100, 97.8, 100.5, 106, 103.6, 220, 99, 102.2])
IDENTITIES = np.array([1, 2, 1, 3, 2, -1, 1, 3])
CAMERAS = np.array([1, 1, 1, 1, 1, 1, 0, 1])
PEOPLE = People(np.array([1, 1, 3]), np.zeros(3, int), IDENTITIES, CAMERAS)


def queries():
    """Images uint8 [3,16,8,3]: noise whose mean is near 100, 100 and 106."""
    noise = np.random.default_rng(0).integers(-30, 31, (3, *SIZE, 3))
    noise = np.concatenate([noise[:, :8], -noise[:, :8]], axis=1)
    return (np.array([100, 100, 106])[:, None, None, None] + noise).astype(np.uint8)


class MeanRanker:
    """Ranks by the distance of means, and remembers what it was asked."""

    def __init__(self, scored=True, fails_after=None):
        self.seen, self.calls = [], []
        self._scored, self._fails_after = scored, fails_after

    def __call__(self, images):
        assert images.dtype == np.uint8
        if self._fails_after is not None and len(self.calls) >= self._fails_after:
            raise ConnectionError("the service is gone")
        self.seen += [image.tobytes() for image in images]
        self.calls.append(len(images))
        distances = np.abs(images.mean((1, 2, 3))[:, None] - LEVELS)
        items = np.argsort(distances, axis=1, kind="stable")
        scores = -np.take_along_axis(distances, items, axis=1)
        return Answer(items, scores) if self._scored else items.tolist()


def memory(ranker, folder, **settings):
    return Memory(ranker, folder / "answers", gallery=len(LEVELS), **{"top": 5} | settings)
