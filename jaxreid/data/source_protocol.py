"""What the pipeline needs from a dataset's split: random access to encoded images."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["ReidSource"]


@runtime_checkable
class ReidSource(Protocol):
    """A split with random access; everything but the images is known without reading them.

    Attributes:
        identities: int64 [N]; 0 is a distractor, -1 junk.
        labels: int64 [N]; contiguous from 0 in training, -1 elsewhere.
        cameras: int64 [N], 0-based.
        file_names: N names; error messages use them.
    """

    @property
    def identities(self) -> np.ndarray: ...  # noqa: D102
    @property
    def labels(self) -> np.ndarray: ...  # noqa: D102
    @property
    def cameras(self) -> np.ndarray: ...  # noqa: D102
    @property
    def file_names(self) -> Sequence[str]: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The example of an index; its "image" holds the encoded JPEG or PNG as bytes.

        If its "upright" is False, the image is not turned as its Exif orientation says.
        """
        ...
