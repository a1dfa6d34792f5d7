"""The figures of a run that are arrays: per query, rank lists with images, maps of features."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from jaxreid.errors import InputError
from jaxreid.files import replacing

__all__ = ["Examples", "FeatureMap", "PerQuery"]


class _Arrays:
    """Dataclasses of arrays that are written as one .npz."""

    def save(self, path: Path) -> None:
        """Writes the arrays, whole or not at all.

        Args:
            path: the .npz; its folder is made if it is missing.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **fields)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the arrays.

        Args:
            path: an .npz that `save` wrote.

        Returns:
            The arrays.

        Raises:
            InputError: the file is missing, or is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(**{name: stored[name] for name in stored.files})
        except FileNotFoundError:
            raise InputError(f"{path} is missing; evaluate again") from None
        except Exception as error:
            raise InputError(f"{path} is not a file of {cls.__name__}: {error}") from None


@dataclass(frozen=True, eq=False)
class PerQuery(_Arrays):
    """How each query fared.

    Attributes:
        identities: int [Q].
        cameras: int [Q], 0-based.
        valid: boolean [Q], whether the gallery has a match.
        first_match_rank: int [Q], 1-based; 0 without a match.
        market1501: [Q] average precision in [0, 1], trapezoid.
        torchreid: [Q] average precision in [0, 1], sum of precisions.
    """

    identities: np.ndarray
    cameras: np.ndarray
    valid: np.ndarray
    first_match_rank: np.ndarray
    market1501: np.ndarray
    torchreid: np.ndarray


@dataclass(frozen=True, eq=False)
class Examples(_Arrays):
    """Rank lists of E queries before and after the attack, K items each.

    Attributes:
        names: str [E], file names of the queries.
        identities: int [E].
        cameras: int [E].
        clean: uint8 [E,H,W,3].
        adversarial: float32 [E,H,W,3] in [0, 1]; the clean image where the gallery is attacked.
        before_names: str [E,K], file names of the gallery items.
        before_images: uint8 [E,K,H,W,3].
        before_distances: float [E,K], in the unit of the distance.
        before_correct: boolean [E,K], whether the item shows the query's identity.
        after_names: str [E,K].
        after_images: uint8 [E,K,H,W,3]; adversarial where the gallery is attacked.
        after_distances: float [E,K].
        after_correct: boolean [E,K].
    """

    names: np.ndarray
    identities: np.ndarray
    cameras: np.ndarray
    clean: np.ndarray
    adversarial: np.ndarray
    before_names: np.ndarray
    before_images: np.ndarray
    before_distances: np.ndarray
    before_correct: np.ndarray
    after_names: np.ndarray
    after_images: np.ndarray
    after_distances: np.ndarray
    after_correct: np.ndarray


@dataclass(frozen=True, eq=False)
class FeatureMap(_Arrays):
    """Features of the attacked images of a few people, and of the set they are compared with.

    Attributes:
        identities: int [A], of the attacked images.
        clean: float32 [A,D].
        adversarial: float32 [A,D].
        other_identities: int [N], of the other side's images of the same people.
        other: float32 [N,D].
    """

    identities: np.ndarray
    clean: np.ndarray
    adversarial: np.ndarray
    other_identities: np.ndarray
    other: np.ndarray
