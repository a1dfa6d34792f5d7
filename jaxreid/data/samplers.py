"""Which examples make which batch: functions of (seed, epoch) alone, NumPy only.

Random choices sort by a hash of (seed, epoch, what is chosen), so that they depend on no
generator's state: any batch can be computed at once, in any process.
"""

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np

from jaxreid.errors import InputError

__all__ = [
    "GuideTable",
    "IdentityBatches",
    "Sampler",
    "ShuffledBatches",
    "evaluation_rows",
]

# Keeps the hashes of different uses apart.
_SHUFFLE, _PEOPLE, _IMAGES, _PUSHES = range(4)


def _hashed(*parts: int | np.ndarray) -> np.ndarray:
    """A uint64 hash of integers, broadcast: the finaliser of SplitMix64 after each part."""
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = state + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


class Sampler(Protocol):
    """Makes batches of the indices of a training split.

    Attributes:
        batch_size: examples per batch.
    """

    @property
    def batch_size(self) -> int: ...  # noqa: D102

    def batches(self, labels: np.ndarray) -> int:
        """Counts an epoch's batches.

        Args:
            labels: [N] integer.

        Returns:
            Batches per epoch.
        """
        ...

    def epoch(self, labels: np.ndarray, epoch: int) -> np.ndarray:
        """Orders an epoch.

        Args:
            labels: [N] integer.
            epoch: 0 or more.

        Returns:
            int64 [batches, batch size] indices.
        """
        ...


@dataclasses.dataclass(frozen=True)
class ShuffledBatches:
    """Every example at most once per epoch; what does not fill a batch waits for another epoch.

    Attributes:
        batch_size: examples per batch.
        seed: of the order.
    """

    batch_size: int
    seed: int = 0

    def batches(self, labels: np.ndarray) -> int:
        """Counts an epoch's batches.

        Args:
            labels: [N] integer.

        Returns:
            N // batch_size.

        Raises:
            InputError: the batch size is not between 1 and N.
        """
        if not 1 <= self.batch_size <= len(labels):
            raise InputError(
                f"batch_size must be 1 to {len(labels)}, the number of images, "
                f"got {self.batch_size}"
            )
        return len(labels) // self.batch_size

    def epoch(self, labels: np.ndarray, epoch: int) -> np.ndarray:
        """Orders an epoch.

        Args:
            labels: [N] integer.
            epoch: 0 or more; every epoch has its own order.

        Returns:
            int64 [batches, batch_size] indices.
        """
        count = self.batches(labels)
        keys = _hashed(_SHUFFLE, self.seed, epoch, np.arange(len(labels)))
        order = np.argsort(keys, kind="stable")
        return order[: count * self.batch_size].reshape(count, self.batch_size)


@dataclasses.dataclass(frozen=True)
class IdentityBatches:
    """Batches of `identities` x `images`, every identity seen once per epoch (Hermans et al. 2017).

    An identity's images are drawn without replacement as long as they last; one with fewer
    repeats some. If the identities do not fill the last batch, others are seen again in it.
    https://arxiv.org/abs/1703.07737

    Attributes:
        identities: P, identities per batch.
        images: K, images of each.
        seed: of the order.
    """

    identities: int
    images: int
    seed: int = 0

    @property
    def batch_size(self) -> int:
        """P times K."""
        return self.identities * self.images

    def batches(self, labels: np.ndarray) -> int:
        """Counts an epoch's batches.

        Args:
            labels: [N] integer; those below 0 are left out.

        Returns:
            The number of identities divided by P, rounded up.

        Raises:
            InputError: P or K is less than 1, or there are fewer than P identities.
        """
        known = len(np.unique(labels[labels >= 0]))
        if self.images < 1:
            raise InputError(f"images per identity must be 1 or more, got {self.images}")
        if not 1 <= self.identities <= known:
            raise InputError(
                f"identities per batch must be 1 to {known}, the number of identities, "
                f"got {self.identities}"
            )
        return -(-known // self.identities)

    def epoch(self, labels: np.ndarray, epoch: int) -> np.ndarray:
        """Orders an epoch.

        Args:
            labels: [N] integer.
            epoch: 0 or more; every epoch has its own order.

        Returns:
            int64 [batches, P * K] indices; the K images of an identity are neighbours.
        """
        count = self.batches(labels)
        groups = _Groups.of(labels, _hashed(_IMAGES, self.seed, epoch, np.arange(len(labels))))
        known = len(groups.starts)
        order = np.argsort(_hashed(_PEOPLE, self.seed, epoch, np.arange(known)), kind="stable")
        # The last batch's own identities stand at the end, so the first ones are others; they
        # were seen before in this epoch and go on to their next images.
        order = np.concatenate([order, order[: count * self.identities - known]])
        turn = (np.arange(len(order)) >= known).astype(np.int64)
        places = turn[:, None] * self.images + np.arange(self.images)
        chosen = groups.starts[order][:, None] + places % groups.sizes[order][:, None]
        rows: np.ndarray = groups.members[chosen].reshape(count, self.batch_size)
        return rows


class _Groups(NamedTuple):
    """Examples sorted by label: those of one label are neighbours."""

    members: np.ndarray  # [N'] indices with a label of 0 or more
    starts: np.ndarray  # [K] position of each label's first member
    sizes: np.ndarray  # [K]

    @classmethod
    def of(cls, labels: np.ndarray, keys: np.ndarray) -> "_Groups":
        """Sorts by label, then by key."""
        order = np.lexsort((keys, labels))
        members = order[labels[order] >= 0]
        _, starts, sizes = np.unique(labels[members], return_index=True, return_counts=True)
        return cls(members, starts, sizes)


class GuideTable:
    """Draws pushing images for GOAT: other training images of an example's identity.

    Bouniot et al., "Vulnerability of Person Re-Identification Models to Metric Adversarial
    Attacks", CVPR Workshops 2020.

    Args:
        labels: [N] integer; examples below 0 have no guides.
    """

    def __init__(self, labels: np.ndarray) -> None:
        groups = _Groups.of(labels, np.arange(len(labels)))
        known = len(groups.sizes)
        # [K + 1, images of the largest identity], padded with -1; the last row has no guides.
        column = np.arange(groups.sizes.max(initial=1))
        inside = column < groups.sizes[:, None]
        self._members = np.full((known + 1, len(column)), -1, np.int64)
        self._members[:known][inside] = groups.members
        self._row = np.full(len(labels) + 1, known, np.int64)
        self._row[groups.members] = np.repeat(np.arange(known), groups.sizes)

    def draw(
        self, indices: np.ndarray, *, pushes: int, seed: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws without replacement, keyed by the example: batch-mates change nothing.

        Args:
            indices: [B] integer, the examples; padding is -1.
            pushes: P, guides of each.
            seed: of the choice.
            epoch: 0 or more; every epoch has its own choice.

        Returns:
            int64 [B,P] indices, -1 where there are too few other images, and boolean [B,P],
            True where there is a guide. The only image of an identity is its own guide.
        """
        # Padding, -1, finds the last entry: no guides.
        candidates = self._members[self._row[indices]]
        own = indices[:, None]
        keys = _hashed(_PUSHES, seed, epoch, own, candidates) >> np.uint64(2)
        # Others first, in random order; then the example itself; then padding.
        keys = np.where(candidates == own, np.uint64(1 << 62), keys)
        keys = np.where(candidates < 0, np.uint64(1 << 63), keys)
        order = np.argsort(keys, axis=1, kind="stable")[:, :pushes]
        chosen = np.take_along_axis(candidates, order, axis=1)
        alone = (candidates >= 0).sum(axis=1, keepdims=True) == 1
        mask = (chosen >= 0) & ((chosen != own) | alone)
        chosen = np.where(mask, chosen, -1)
        missing = pushes - chosen.shape[1]
        pad = ((0, 0), (0, missing))
        return np.pad(chosen, pad, constant_values=-1), np.pad(mask, pad)


def evaluation_rows(count: int, batch_size: int) -> np.ndarray:
    """int64 [batches, batch_size]: every example once, in order, the last batch padded with -1."""
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size}")
    batches = -(-count // batch_size)
    rows = np.full(batches * batch_size, -1, np.int64)
    rows[:count] = np.arange(count)
    return rows.reshape(batches, batch_size)
