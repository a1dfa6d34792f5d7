"""Makes the arrays of batch k from k alone: which rows, which images, which guides."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreid.constants import Filter
from jaxreid.data.decode import decode_batch
from jaxreid.data.samplers import GuideTable, Sampler
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError

__all__ = ["Batch", "BatchMaker", "Images", "TrainRows", "by_device"]


class Batch(NamedTuple):
    """Examples of one process.

    Attributes:
        images: uint8 [B,H,W,3], RGB in 0 to 255; zero in padding.
        labels: int32 [B], contiguous training labels; -1 outside training and in padding.
        identities: int32 [B]; 0 is a distractor, -1 junk; -1 in padding.
        cameras: int32 [B], 0-based; -1 in padding.
        indices: int32 [B], positions in the split; -1 in padding.
        mask: boolean [B]; False is padding.
        push_images: uint8 [B,P,H,W,3], other images of the same identity; zero in padding; or
            [B,0,H,W,3] where only their indices are wanted.
        push_indices: int32 [B,P], their positions; -1 in padding.
        push_mask: boolean [B,P]; False is padding.
        push_cameras: int32 [B,P], of the pushing images, 0-based; -1 in padding.
    """

    images: np.ndarray
    labels: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    indices: np.ndarray
    mask: np.ndarray
    push_images: np.ndarray
    push_indices: np.ndarray
    push_mask: np.ndarray
    push_cameras: np.ndarray


@dataclasses.dataclass(frozen=True)
class Images:
    """Decoded images of a split by index, from their bytes or from a cache.

    Attributes:
        source: the split, N images.
        size: (height, width) in pixels.
        filter: kernel that resizes them.
        cache: None, or uint8 [N,height,width,3], the images in place of the bytes.
    """

    source: ReidSource
    size: tuple[int, int]
    filter: Filter
    cache: np.ndarray | None

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [..., height, width, 3] of int64 [...] positions in the split.

        -1 is padding, of which the image is zero. An image that is wanted twice is decoded once.
        """
        flat = indices.ravel()
        images: np.ndarray
        if self.cache is not None:
            images = self.cache[flat]
            images[flat < 0] = 0
        else:
            real = flat >= 0
            wanted, where = np.unique(flat[real], return_inverse=True)
            if len(wanted) == len(flat):
                images = self._decoded(flat)
            else:
                images = np.zeros((len(flat), *self.size, 3), np.uint8)
                images[real] = self._decoded(wanted)[where]
        return images.reshape(*indices.shape, *images.shape[1:])

    def _decoded(self, indices: np.ndarray) -> np.ndarray:
        wanted = indices.tolist()
        examples = [self.source[i] for i in wanted]
        return decode_batch(
            [example["image"] for example in examples],
            self.size,
            filter=self.filter,
            names=[self.source.file_names[i] for i in wanted],
            upright=all(example.get("upright", True) for example in examples),
        )


@dataclasses.dataclass
class BatchMaker:
    """Makes the arrays of batch k; sent to the worker processes.

    Attributes:
        images: decodes.
        rows: k -> indices [B] of the global batch and its epoch.
        shard: (index, count) of this process.
        guides: draws pushing images; None for none.
        pushes: P, pushing images of each example.
        seed: of the pushing images.
        push_pixels: whether the pushing images are decoded.
    """

    images: Images
    rows: Callable[[int], tuple[np.ndarray, int]]
    shard: tuple[int, int]
    guides: GuideTable | None = None
    pushes: int = 0
    seed: int = 0
    push_pixels: bool = True

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """This process's part of batch `number`, counted from 0: the fields of Batch."""
        rows, epoch = self.rows(int(number))
        index, count = self.shard
        each = len(rows) // count
        rows = rows[index * each : (index + 1) * each]
        mask = rows >= 0
        source = self.images.source
        if self.guides is None:
            push, push_mask = np.zeros((each, 0), np.int64), np.zeros((each, 0), bool)
        else:
            push, push_mask = self.guides.draw(
                rows, pushes=self.pushes, seed=self.seed, epoch=epoch
            )
        decoded = push if self.push_pixels else push[:, :0]
        pictures = self.images(np.concatenate([rows[:, None], decoded], axis=1))
        return {
            "images": np.ascontiguousarray(pictures[:, 0]),
            "push_images": np.ascontiguousarray(pictures[:, 1:]),
            "push_indices": push.astype(np.int32),
            "push_mask": push_mask,
            "push_cameras": _cameras(source, push),
            "indices": rows.astype(np.int32),
            "mask": mask,
            **{
                name: np.where(mask, getattr(source, name)[rows], -1).astype(np.int32)
                for name in ("labels", "identities")
            },
            "cameras": _cameras(source, rows),
        }


def _cameras(source: ReidSource, indices: np.ndarray) -> np.ndarray:
    """Cameras of images by their positions, int32 of the same shape; -1 in padding."""
    return np.where(indices < 0, -1, source.cameras[indices]).astype(np.int32)


@dataclasses.dataclass
class TrainRows:
    """Rows of batch k of an endless sequence of epochs; keeps the epoch at hand.

    Attributes:
        sampler: orders an epoch.
        labels: int64 [N].
        batches: per epoch.
    """

    sampler: Sampler
    labels: np.ndarray
    batches: int
    _kept: tuple[int, np.ndarray] | None = None

    def __call__(self, number: int) -> tuple[np.ndarray, int]:
        """Indices [B] of batch `number`, counted from 0, and its epoch."""
        epoch, place = divmod(number, self.batches)
        kept = self._kept
        if kept is None or kept[0] != epoch:
            # One assignment: threads may each compute the epoch, but never see half of it.
            kept = self._kept = (epoch, self.sampler.epoch(self.labels, epoch))
        return kept[1][place], epoch


def by_device(batch: Batch, devices: int) -> Batch:
    """Splits a process's batch of B rows for `pmap`, in order: [devices, B / devices, ...].

    InputError if B is no multiple of the number of local devices.
    """
    rows = len(batch.images)
    if devices < 1 or rows % devices:
        raise InputError(f"a batch of {rows} cannot be split over {devices} devices")
    return Batch(*(a.reshape(devices, rows // devices, *a.shape[1:]) for a in batch))
