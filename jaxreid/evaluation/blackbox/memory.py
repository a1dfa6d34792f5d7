"""What a black box has answered so far, on disk: nothing is asked twice, not even by a next run."""

import hashlib
import os
from pathlib import Path

import numpy as np

from jaxreid.checks import check_callable, check_count
from jaxreid.errors import InputError
from jaxreid.evaluation.blackbox.ranker import Ranker, ask
from jaxreid.files import append

__all__ = ["Memory", "digests_of"]

_DIGEST = 16  # bytes: no two of 1e15 images share one by chance
_HEAD = 96  # bytes, of a line that says what the records are


def digests_of(images: np.ndarray) -> list[bytes]:
    """What tells images uint8 [B,H,W,3] apart, 16 bytes of each one's pixels and size."""
    size = np.asarray(images.shape[1:], np.int64).tobytes()
    return [
        hashlib.blake2b(size + image.tobytes(), digest_size=_DIGEST).digest() for image in images
    ]


class Memory:
    """A black box that is never asked the same image twice.

    Every answer is appended to a journal before it is used: after a line of text, 96 bytes, one
    record of fixed size each, 16 bytes of digest, `top` int32 and, where scores are seen, `top`
    float32, little-endian. A process that is
    killed loses nothing but the call it was in. One process at a time may use a journal.

    Args:
        ranker: the black box.
        journal: file of the answers, made if it is missing; of the same ranker, gallery, `top` and
            `scored` whenever it is opened.
        gallery: how many items there are.
        top: how many items of a list are seen.
        scored: whether scores are seen, too.
        batch_size: the most images of one call.

    Raises:
        InputError: ranker is not callable, a number is below 1, or the journal is of something
            else.

    Attributes:
        gallery: as given.
        top: as given.
        scored: as given.
        asked: images that the ranker was asked and answered since this was made.
    """

    def __init__(
        self,
        ranker: Ranker,
        journal: Path,
        *,
        gallery: int,
        top: int = 50,
        scored: bool = False,
        batch_size: int = 64,
    ) -> None:
        check_callable("ranker", ranker, "images uint8 [B,H,W,3] -> lists")
        self.gallery = check_count("gallery", gallery, least=1)
        self.top = check_count("top", top, least=1)
        self.scored, self.asked = scored, 0
        self._batch = check_count("batch_size", batch_size, least=1)
        self._ranker, self._journal = ranker, journal
        fields = [("digest", f"V{_DIGEST}"), ("items", "<i4", (top,))]
        self._record = np.dtype([*fields, *([("scores", "<f4", (top,))] if scored else [])])
        self._places: dict[bytes, int] = {}
        self._recall()

    def _recall(self) -> None:
        """Reads which images are known; a record that was cut off is dropped."""
        settings = f"top {self.top}, gallery {self.gallery}, scored {bool(self.scored)}"
        head = f"jaxreid answers: {settings}".ljust(_HEAD - 1).encode() + b"\n"
        self._journal.touch()
        with self._journal.open("rb") as file:
            found = file.read(_HEAD)
        if found != head and head.startswith(found):
            # New, or cut off before anything was answered.
            os.truncate(self._journal, 0)
            append(self._journal, head)
        elif found != head:
            raise InputError(
                f"{self._journal} is no journal of {settings}: it begins with "
                f"{found.decode(errors='replace').strip()!r}; name another file"
            )
        size = self._record.itemsize
        whole = (self._journal.stat().st_size - _HEAD) // size
        os.truncate(self._journal, _HEAD + whole * size)
        known = np.fromfile(self._journal, self._record, offset=_HEAD)
        if known.size and not -1 <= known["items"].min() <= known["items"].max() < self.gallery:
            raise InputError(f"{self._journal} is damaged: it names items that the gallery lacks")
        for place, digest in enumerate(known["digest"].tolist()):
            self._places[bytes(digest)] = place

    def lists(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What the black box shows for images, asked for those that are new.

        Args:
            images: uint8 [B,H,W,3].

        Returns:
            Items int32 [B,top], -1 after the end of a list, and scores float32 [B,top] or None.

        Raises:
            InputError: the ranker failed, or its answer is none; earlier answers are kept.
        """
        digests = digests_of(images)
        new = {d: row for row, d in enumerate(digests) if d not in self._places}
        rows = np.array(list(new.values()), np.int64)
        for start in range(0, len(rows), self._batch):
            self._ask(images[rows[start : start + self._batch]], list(new)[start:])
        with self._journal.open("rb", buffering=0) as file:
            size = self._record.itemsize
            parts = [os.pread(file.fileno(), size, _HEAD + size * self._places[d]) for d in digests]
        found = np.frombuffer(b"".join(parts), self._record)
        return found["items"], found["scores"] if self.scored else None

    def _ask(self, images: np.ndarray, digests: list[bytes]) -> None:
        try:
            items, scores = ask(
                self._ranker, images, top=self.top, gallery=self.gallery, scored=self.scored
            )
        except InputError as error:
            kept = f"{len(self._places):,} answers are kept in {self._journal}"
            raise InputError(f"{error}; {kept}, and what is asked again goes on from there") from (
                error.__cause__
            )
        records = np.zeros(len(images), self._record)
        records["digest"] = np.array(digests[: len(images)], f"V{_DIGEST}")
        records["items"] = items
        if scores is not None:
            records["scores"] = scores
        append(self._journal, records.tobytes())
        for digest in digests[: len(images)]:
            self._places[digest] = len(self._places)
        self.asked += len(images)
