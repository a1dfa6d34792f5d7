"""The arrays of a run: scores per query, rank lists with images, features."""

import dataclasses
import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Self, get_args, get_type_hints

import numpy as np

from jaxreid.errors import InputError
from jaxreid.files import replacing

__all__ = [
    "AttackedFeatures",
    "CertifiedQueries",
    "Examples",
    "FeatureMap",
    "MeanFeatures",
    "PerQuery",
    "VerificationCurve",
]


# Bytes that a file may unpack to; the largest real ones, of examples, are near 10^7.
_LARGEST = 1 << 32


class Form(NamedTuple):
    """What an array has to be.

    Attributes:
        kinds: letters of NumPy's kinds of types.
        axes: sizes, or letters that mean the same size in all arrays of a file.
    """

    kinds: str
    axes: str


# Integers; flags and scores, which may be stored as any numbers; pixels; adversarial pixels; names.
_WHOLE, _NUMBERS, _PIXELS, _CHANGED, _NAMES = "iu", "biuf", "u", "f", "U"


class _Arrays:
    """Dataclasses of arrays that are written as one .npz."""

    def save(self, path: Path) -> None:
        """Writes the .npz, whole or not at all; makes its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **fields)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote; InputError where the file is missing or holds something else."""
        try:
            with zipfile.ZipFile(path) as archive:
                claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > _LARGEST:
                raise InputError(f"it would unpack to {claimed:,} bytes")
            with np.load(path, allow_pickle=False) as stored:
                arrays = cls(**{name: stored[name] for name in stored.files})
            arrays._check()
            return arrays
        except FileNotFoundError:
            raise InputError(f"{path} is missing; evaluate again") from None
        except Exception as error:
            raise InputError(
                f"{path} is not a file of {cls.__name__}: {error}; evaluate again"
            ) from None

    def _check(self) -> None:
        """Checks type, shape and range of each array."""
        sizes: dict[str, int] = {}
        # mypy takes a class with a method of its own for the protocol of hashing.
        for name, (kinds, axes) in _forms(type(self)).items():  # type: ignore[arg-type]
            array, sides = getattr(self, name), axes.split(",")
            if array.dtype.kind not in kinds or array.ndim != len(sides):
                raise InputError(
                    f"{name} is {array.dtype} of shape {array.shape}, expected [{axes}] of "
                    f"NumPy's kind {' or '.join(kinds)}"
                )
            if kinds == _PIXELS and array.dtype.itemsize != 1:
                raise InputError(f"{name} is {array.dtype}, expected uint8")
            if kinds == _CHANGED and not np.isfinite(array).all():
                raise InputError(f"{name} has values that are NaN or infinite")
            for side, size in zip(sides, array.shape, strict=True):
                wanted = int(side) if side.isdecimal() else sizes.setdefault(side, size)
                if size != wanted:
                    raise InputError(f"{name} has shape {array.shape}, where {side} is {wanted}")


@functools.cache
def _forms(kind: type) -> dict[str, Form]:
    """Form of each field's array."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items()}


@dataclass(frozen=True, eq=False)
class PerQuery(_Arrays):
    """Rank and average precision of each query.

    Attributes:
        identities: int [Q].
        cameras: int [Q], 0-based.
        valid: boolean [Q], whether the gallery has a match.
        first_match_rank: int [Q], 1-based; 0 without a match.
        market1501: [Q] average precision in [0, 1], trapezoid.
        torchreid: [Q] average precision in [0, 1], sum of precisions.
    """

    identities: Annotated[np.ndarray, Form(_WHOLE, "Q")]
    cameras: Annotated[np.ndarray, Form(_WHOLE, "Q")]
    valid: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
    first_match_rank: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
    market1501: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
    torchreid: Annotated[np.ndarray, Form(_NUMBERS, "Q")]


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

    names: Annotated[np.ndarray, Form(_NAMES, "E")]
    identities: Annotated[np.ndarray, Form(_WHOLE, "E")]
    cameras: Annotated[np.ndarray, Form(_WHOLE, "E")]
    clean: Annotated[np.ndarray, Form(_PIXELS, "E,H,W,3")]
    adversarial: Annotated[np.ndarray, Form(_CHANGED, "E,H,W,3")]
    before_names: Annotated[np.ndarray, Form(_NAMES, "E,K")]
    before_images: Annotated[np.ndarray, Form(_PIXELS, "E,K,H,W,3")]
    before_distances: Annotated[np.ndarray, Form(_NUMBERS, "E,K")]
    before_correct: Annotated[np.ndarray, Form(_NUMBERS, "E,K")]
    after_names: Annotated[np.ndarray, Form(_NAMES, "E,K")]
    after_images: Annotated[np.ndarray, Form(_PIXELS, "E,K,H,W,3")]
    after_distances: Annotated[np.ndarray, Form(_NUMBERS, "E,K")]
    after_correct: Annotated[np.ndarray, Form(_NUMBERS, "E,K")]


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

    identities: Annotated[np.ndarray, Form(_WHOLE, "A")]
    clean: Annotated[np.ndarray, Form(_NUMBERS, "A,D")]
    adversarial: Annotated[np.ndarray, Form(_NUMBERS, "A,D")]
    other_identities: Annotated[np.ndarray, Form(_WHOLE, "N")]
    other: Annotated[np.ndarray, Form(_NUMBERS, "N,D")]


@dataclass(frozen=True, eq=False)
class VerificationCurve(_Arrays):
    """Corners of a ROC: the share of pairs whose distance is below a threshold.

    Attributes:
        false_accept: [P] in [0, 1], of pairs of two people; ascending.
        true_accept: [P] in [0, 1], of pairs of the same person; ascending.
        threshold: [P], in the unit of the distance; -inf first, inf last.
    """

    false_accept: Annotated[np.ndarray, Form(_CHANGED, "P")]
    true_accept: Annotated[np.ndarray, Form(_CHANGED, "P")]
    threshold: Annotated[np.ndarray, Form(_NUMBERS, "P")]


@dataclass(frozen=True, eq=False)
class MeanFeatures(_Arrays):
    """Smoothed features of some images of a split.

    Attributes:
        positions: int [n], of the images.
        features: float32 [n,D].
    """

    positions: Annotated[np.ndarray, Form(_WHOLE, "n")]
    features: Annotated[np.ndarray, Form(_CHANGED, "n,D")]


@dataclass(frozen=True, eq=False)
class AttackedFeatures(_Arrays):
    """Features of some queries as two attackers left them: oblivious, then adaptive.

    Attributes:
        positions: int [n], of the queries among all that are attacked.
        features: float32 [n,2,D].
        scores: float32 [n,2], how far a defense moves them; 0 where there is no detector.
    """

    positions: Annotated[np.ndarray, Form(_WHOLE, "n")]
    features: Annotated[np.ndarray, Form(_CHANGED, "n,2,D")]
    scores: Annotated[np.ndarray, Form(_CHANGED, "n,2")]


@dataclass(frozen=True, eq=False)
class CertifiedQueries(_Arrays):
    """What is certain of each query.

    Attributes:
        names: str [Q], file names.
        identities: int [Q].
        cameras: int [Q], 0-based.
        valid: boolean [Q], whether the gallery has a match.
        first_match_rank: int [Q], of the estimated features, 1-based; 0 without a match.
        error: float [Q], how far the estimated feature may be from the smoothed one.
        radius: float [Q], L2 change in pixel range below which a match comes first; below 0 where
            that is not certain of the query as it is.
    """

    names: Annotated[np.ndarray, Form(_NAMES, "Q")]
    identities: Annotated[np.ndarray, Form(_WHOLE, "Q")]
    cameras: Annotated[np.ndarray, Form(_WHOLE, "Q")]
    valid: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
    first_match_rank: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
    error: Annotated[np.ndarray, Form(_CHANGED, "Q")]
    radius: Annotated[np.ndarray, Form(_NUMBERS, "Q")]
