"""Features of an attacked gallery, kept in a run folder for attacks on its queries.

worst/KEY.npy    of the gallery's attackable images, in their order; KEY is `Condition.key`
"""

from pathlib import Path

import jax
import numpy as np

from jaxreid.distributed import is_main_process
from jaxreid.files import replacing
from jaxreid.records import Condition
from jaxreid.sharding import from_first_process

__all__ = ["gallery_features", "keep_gallery"]


def gallery_features(
    folder: Path | None, condition: Condition, clean: np.ndarray
) -> np.ndarray | None:
    """What was kept, shaped like the clean features [T,D]; None where it was not, or is damaged."""
    features = None
    if folder is not None and is_main_process():
        features = _read(_file(folder, condition), clean)
    if jax.process_count() == 1:
        return features
    # The others may not see the folder.
    known, sent = from_first_process(
        (np.array(features is not None), clean if features is None else features)
    )
    return np.asarray(sent) if bool(known) else None


def keep_gallery(folder: Path, condition: Condition, features: np.ndarray) -> None:
    """Writes features [T,D] of a gallery that was attacked."""
    if not is_main_process():
        return
    path = _file(folder, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features)


def _read(path: Path, clean: np.ndarray) -> np.ndarray | None:
    try:
        features: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    fits = features.shape == clean.shape and features.dtype == clean.dtype
    return features if fits and np.isfinite(features).all() else None


def _file(folder: Path, condition: Condition) -> Path:
    return folder / "worst" / f"{condition.key}.npy"
