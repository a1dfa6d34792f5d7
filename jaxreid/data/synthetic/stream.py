"""Random numbers that are the same on every machine and under every NumPy.

NumPy keeps the raw output of its bit generators and of `SeedSequence` fixed, but not what
`Generator` makes of it. So uniform numbers are made here, with exact float64 operations only.
"""

import numpy as np

__all__ = ["CAMERA", "IMAGE", "PEOPLE", "PERSON", "PLAN", "SCENE", "STRANGER", "Stream", "wave"]

PLAN, PERSON, STRANGER, CAMERA, SCENE, IMAGE, PEOPLE = range(7)
"""What a stream decides: the number behind seed and version, so that no two things share one."""

_CHUNK = 128


class Stream:
    """A stream of random numbers named by integers; streams of different names are independent.

    Args:
        key: non-negative integers, for instance (seed, kind of thing, number of the thing).
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))
        self._pool: list[int] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high), every value equally likely."""
        if not self._pool:
            self._pool = self._bits.random_raw(_CHUNK).tolist()
        return low + (high - low) * ((self._pool.pop() >> 11) * 2.0**-53)

    def bell(self, deviation: float) -> float:
        """A number from a bell-shaped distribution of mean 0, within 3.5 deviations of it."""
        total = self.uniform() + self.uniform() + self.uniform() + self.uniform()
        return (total - 2.0) * 1.7320508075688772 * deviation

    def chance(self, probability: float) -> bool:
        """True with a probability in [0, 1]."""
        return self.uniform() < probability

    def index(self, count: int) -> int:
        """An integer from 0 to count - 1, every value equally likely."""
        return int(self.uniform() * count)

    def shuffled(self, count: int) -> list[int]:
        """The integers 0 to count - 1 in random order."""
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            j = self.index(i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def octets(self, *shape: int) -> np.ndarray:
        """uint8 array of a shape, 0 to 255, every value equally likely."""
        size = int(np.prod(shape))
        raw = self._bits.random_raw(-(-size // 8)).astype("<u8")
        return raw.view(np.uint8)[:size].reshape(shape)


def wave(turns: float) -> float:
    """The sine of an angle in turns to within 0.002, from exact operations only.

    Libraries differ in `sin`'s last bit. Bhaskara's approximation,
    sin(pi u) = 16 u (1 - u) / (5 - 4 u (1 - u)) for u in [0, 1].
    """
    u = 2.0 * (turns - turns // 1.0)
    sign = 1.0
    if u >= 1.0:
        u, sign = u - 1.0, -1.0
    hump = u * (1.0 - u)
    return sign * 16.0 * hump / (5.0 - 4.0 * hump)
