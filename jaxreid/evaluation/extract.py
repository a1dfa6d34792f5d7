"""Features of a split, from all devices of all processes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.augmentation import to_float
from jaxreid.checks import checked_features
from jaxreid.data.read.decode import Filter
from jaxreid.data.read.loader import evaluation_batches
from jaxreid.data.read.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.rows import (
    as_pytree,
    gathered,
    mesh_of,
    on_every_device,
    over_rows,
    whole_batch,
)
from jaxreid.types import Array, Embed, Embedded

__all__ = [
    "extract",
    "features_of_rows",
    "refuse_indistinct",
    "refuse_nonfinite",
]


def features_of_rows(embed: Any, images: Array) -> Array:
    """Features of a batch as a program for `over_rows`: the same one for clean and other images.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].
        images: [B,H,W,3], uint8 in 0 to 255 or floating point in [0, 1].

    Returns:
        [B,D] floating point, float32 at least.
    """
    features = checked_features(embed, to_float(images))
    return features.astype(jnp.promote_types(features.dtype, jnp.float32))


def extract(
    embed: Embed,
    source: ReidSource,
    *,
    size: tuple[int, int],
    batch_size: int = 64,
    filter: Filter = "bilinear",
    workers: int = 0,
    cache: np.ndarray | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Features of every image of a split, ``f_i = embed(x_i)``, in the order of the split.

    One program serves all batches: the last one is padded. Neither the batch size nor the number
    of devices or processes changes a feature (up to rounding). With several processes, each of
    them must call this with the same arguments, and each gets the whole.

    Args:
        embed: images [B,H,W,3] float32 in [0, 1] -> features [B,D]; row i depends on image i only.
            A pytree (`jaxreid.models.embedding`) is compiled once for all its weights.
        source: the split, N images.
        size: (height, width) in pixels to which images are resized.
        batch_size: images at a time over all devices of all processes; rounded up to a multiple
            of their number.
        filter: PIL's kernel.
        workers: processes that decode; 0 decodes in threads of this one.
        cache: uint8 [N,height,width,3] from `decode_all`, in place of decoding.
        devices: of this process; all of them by default.
        progress: called with (images done, all of them) after each batch.

    Returns:
        Embedded: features [N,D] float32 (NumPy), identities and cameras [N].

    Raises:
        InputError: an empty split, an image that cannot be decoded, or features that are no finite
            [B,D] array.
    """
    if len(source) == 0:
        raise InputError("the split is empty; expected at least one image")
    mesh = mesh_of(devices)
    run, shared = over_rows(features_of_rows, mesh), on_every_device(as_pytree(embed), mesh)
    total = whole_batch(batch_size, len(source), mesh)
    batches = evaluation_batches(
        source,
        total,
        size=size,
        filter=filter,
        shard=(jax.process_index(), jax.process_count()),
        workers=workers,
        cache=cache,
    )
    parts: list[np.ndarray | Array] = []
    with batches:
        for number, batch in enumerate(batches, 1):
            parts.append(run(shared, batch.images))
            if len(parts) > 1:
                # One batch behind: the devices have work while the host decodes.
                parts[-2] = np.asarray(parts[-2])
            if progress is not None:
                progress(min(number * total, len(source)), len(source))
    features = gathered(parts, len(source))
    refuse_nonfinite(features, source)
    return Embedded(features, np.asarray(source.identities), np.asarray(source.cameras))


def refuse_nonfinite(features: np.ndarray, source: ReidSource) -> None:
    """Refuses NaN and infinity, with the name of an image.

    Args:
        features: [N,D].
        source: N images.

    Raises:
        InputError: a feature is not finite.
    """
    wrong = ~np.isfinite(features).all(axis=1)
    if wrong.any():
        raise InputError(
            f"the embedding gives NaN or infinity for {int(wrong.sum())} of {len(wrong)} images, "
            f"the first of them {source.file_names[int(wrong.argmax())]}"
        )


def refuse_indistinct(features: np.ndarray) -> None:
    """Refuses a gallery whose features are all one: its order would be that of the files.

    Args:
        features: [N,D].

    Raises:
        InputError: N is above 1, and all rows are equal.
    """
    if len(features) > 1 and not np.any(features != features[0]):
        raise InputError(
            f"the embedding gives all {len(features):,} gallery images the same feature, so there "
            "is nothing to rank by: has it been trained, and did the training collapse?"
        )
