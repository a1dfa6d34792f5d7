"""Random numbers that are the same on every machine and under every NumPy.

NumPy keeps the raw output of its bit generators and of `SeedSequence` fixed, but not what
`Generator` makes of it. So uniform numbers are made here, with exact float64 operations only.
"""

import numpy as np

__all__ = ["Stream", "wave"]

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
        """Draws a number, every value equally likely.

        Args:
            low: smallest.
            high: upper bound, not reached.

        Returns:
            A number in [low, high).
        """
        if not self._pool:
            self._pool = self._bits.random_raw(_CHUNK).tolist()
        return low + (high - low) * ((self._pool.pop() >> 11) * 2.0**-53)

    def bell(self, deviation: float) -> float:
        """Draws from a bell-shaped distribution of mean 0.

        Args:
            deviation: its standard deviation.

        Returns:
            A number within 3.5 deviations of 0.
        """
        total = self.uniform() + self.uniform() + self.uniform() + self.uniform()
        return (total - 2.0) * 1.7320508075688772 * deviation

    def chance(self, probability: float) -> bool:
        """Tosses a coin.

        Args:
            probability: of True, in [0, 1].

        Returns:
            Whether it happens.
        """
        return self.uniform() < probability

    def index(self, count: int) -> int:
        """Draws an integer, every value equally likely.

        Args:
            count: how many there are.

        Returns:
            An integer from 0 to count - 1.
        """
        return int(self.uniform() * count)

    def shuffled(self, count: int) -> list[int]:
        """Shuffles.

        Args:
            count: how many there are.

        Returns:
            The integers 0 to count - 1 in random order.
        """
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            j = self.index(i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def octets(self, *shape: int) -> np.ndarray:
        """Draws bytes, every value equally likely.

        Args:
            *shape: of the array.

        Returns:
            uint8 array of that shape, 0 to 255.
        """
        size = int(np.prod(shape))
        raw = self._bits.random_raw(-(-size // 8)).astype("<u8")
        return raw.view(np.uint8)[:size].reshape(shape)


def wave(turns: float) -> float:
    """A sine to within 0.002, from exact operations only: libraries differ in `sin`'s last bit.

    Bhaskara's approximation, sin(pi u) = 16 u (1 - u) / (5 - 4 u (1 - u)) for u in [0, 1].

    Args:
        turns: the angle, 1 is a full turn.

    Returns:
        A number in [-1, 1].
    """
    u = 2.0 * (turns - turns // 1.0)
    sign = 1.0
    if u >= 1.0:
        u, sign = u - 1.0, -1.0
    hump = u * (1.0 - u)
    return sign * 16.0 * hump / (5.0 - 4.0 * hump)
