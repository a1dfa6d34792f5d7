"""A split in memory, as small as the protocol allows."""

import io

import numpy as np
from PIL import Image


class MemorySource:
    """One encoded image per identity given; image i is a flat grey of i."""

    def __init__(self, identities: list[int], *, size: tuple[int, int] = (8, 4)) -> None:
        self.identities = np.array(identities, np.int64)
        known = sorted({i for i in identities if i > 0})
        rank = {identity: label for label, identity in enumerate(known)}
        self.labels = np.array([rank.get(i, -1) for i in identities], np.int64)
        self.cameras = np.arange(len(identities), dtype=np.int64) % 3
        self.file_names = [f"{i:04d}.png" for i in range(len(identities))]
        self.images = [flat(i, size) for i in range(len(identities))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"image": self.images[index]}


def flat(grey: int, size: tuple[int, int]) -> bytes:
    """A PNG of one grey level."""
    buffer = io.BytesIO()
    Image.new("RGB", (size[1], size[0]), (grey, grey, grey)).save(buffer, format="PNG")
    return buffer.getvalue()
