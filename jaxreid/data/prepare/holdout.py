"""Which training people become the validation split, and which label everyone gets."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxreid.data.prepare.checks import Checked
from jaxreid.data.read.index import SplitIndex

__all__ = ["hold_out_validation", "index_splits"]

_FRACTION = 0.1


def _rank(identity: int) -> bytes:
    # A hash instead of a random generator: whether a person is drawn does not depend on NumPy's
    # version, and hardly on who else is in the dataset.
    return hashlib.sha256(f"jaxreid validation {identity}".encode()).digest()


def _by_camera(images: Sequence[Checked]) -> dict[int, list[Checked]]:
    cameras: dict[int, list[Checked]] = {}
    for image in images:
        cameras.setdefault(image.file.name.camera, []).append(image)
    return cameras


def _query_of(images: Sequence[Checked]) -> list[Checked]:
    """One query per camera that keeps an image for the gallery, or else one query in all."""
    cameras = _by_camera(images)
    firsts = [shots[0] for _, shots in sorted(cameras.items()) if len(shots) > 1]
    return firsts or [cameras[min(cameras)][0]]


def hold_out_validation(
    train: Sequence[Checked], *, fraction: float = _FRACTION
) -> dict[str, list[Checked]]:
    """Sets some training people aside, as a small query and gallery of their own.

    A tenth of the people (at least one, and never all) is drawn by a hash of their number among
    those seen by two cameras or more. Each of their cameras with two images or more gives its
    first image as a query; if there is none, their first camera does. So every query has a match
    from another camera, and the choice depends on nothing but the file names.

    Returns `train`, `validation_query` and `validation_gallery`, each sorted by file name as the
    images were; the latter two are empty if nobody is seen by two cameras.
    """
    people: dict[int, list[Checked]] = {}
    for image in train:
        people.setdefault(image.file.name.identity, []).append(image)
    eligible = [i for i, images in people.items() if len(_by_camera(images)) > 1]
    wanted = min(max(1, round(fraction * len(people))), len(people) - 1)
    drawn = set(sorted(eligible, key=_rank)[:wanted])
    query = {image.file for i in sorted(drawn) for image in _query_of(people[i])}
    held_out = [image for image in train if image.file.name.identity in drawn]
    return {
        "train": [image for image in train if image.file.name.identity not in drawn],
        "validation_query": [image for image in held_out if image.file in query],
        "validation_gallery": [image for image in held_out if image.file not in query],
    }


def _contiguous(images: Sequence[Checked]) -> dict[int, int]:
    identities = sorted({image.file.name.identity for image in images})
    return {identity: label for label, identity in enumerate(identities)}


def index_splits(splits: Mapping[str, Sequence[Checked]]) -> dict[str, SplitIndex]:
    """The columns of every split, in the order of its images; `train` must be there.

    `label` counts the people of `train` from 0 by ascending identity and is -1 elsewhere;
    `label_all` does the same over all training people.
    """
    held_out = (*splits.get("validation_query", ()), *splits.get("validation_gallery", ()))
    label = _contiguous(splits["train"])
    label_all = _contiguous((*splits["train"], *held_out))

    def column(values: Sequence[int]) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    return {
        split: SplitIndex(
            identity=column([image.file.name.identity for image in images]),
            label=column([label.get(image.file.name.identity, -1) for image in images]),
            label_all=column([label_all.get(image.file.name.identity, -1) for image in images]),
            camera=column([image.file.name.camera for image in images]),
            sequence=column([image.file.name.sequence for image in images]),
            frame=column([image.file.name.frame for image in images]),
            checksum=column([image.checksum for image in images]),
            file_name=np.array([image.file.file_name for image in images], dtype=np.str_),
        )
        for split, images in splits.items()
    }
