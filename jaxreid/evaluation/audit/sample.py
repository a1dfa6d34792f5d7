"""The queries that an audit looks at closely, and programs over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxreid.constants import Distance
from jaxreid.data.loader import decode_all
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import as_pytree
from jaxreid.evaluation.features import Subset
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import evenly_spaced
from jaxreid.sharding import over_rows, replicated, row_mesh, whole_batch
from jaxreid.types import Embed

__all__ = ["Sample", "sample_of"]


class Sample(NamedTuple):
    """S queries, decoded; every process has the whole sample and works on it alone.

    Attributes:
        embed: what is attacked, on the devices.
        images: uint8 [S,H,W,3].
        cameras: int32 [S], that took them.
        positions: int64 [S], in the query split.
        mesh: the devices of this process.
        batch: rows at a time.
    """

    embed: Embed
    images: np.ndarray
    cameras: np.ndarray
    positions: np.ndarray
    mesh: Mesh
    batch: int

    def over(self, function: Callable[[Any, Any], Any], shared: Any, rows: Any) -> Any:
        """Runs a program over rows in batches of one shape.

        Args:
            function: (shared, rows) -> rows, for `over_rows`.
            shared: pytree of arrays.
            rows: pytree of arrays [S,...].

        Returns:
            The function's pytree, arrays of NumPy [S,...].
        """
        run, shared = over_rows(function, self.mesh), replicated(shared, self.mesh)
        count = len(self.positions)
        parts = []
        for first in range(0, count, self.batch):
            # The last batch is filled up with its own last row.
            at = np.minimum(np.arange(first, first + self.batch), count - 1)
            parts.append(run(shared, jax.tree.map(lambda leaf, at=at: leaf[at], rows)))
        host = [jax.tree.map(np.asarray, part) for part in parts]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *host)


def sample_of(test: RetrievalTest, distance: Distance, count: int) -> Sample:
    """Evenly spaced queries among those that are ranked, attackable and have a match.

    Args:
        test: the retrieval test.
        distance: "euclidean" or "cosine".
        count: queries wanted, at least 1; fewer where there are fewer.

    Returns:
        Sample.

    Raises:
        InputError: there is none, or an image cannot be decoded.
    """
    candidates = test.attackable("query")
    candidates = candidates[test.matched[candidates]]
    if not len(candidates):
        raise InputError("nothing to audit: no query of a person has a match in the gallery")
    positions = candidates[evenly_spaced(len(candidates), count)]
    loader, mesh = test.loader, row_mesh(test.loader.devices)
    queries = Subset(test.source("query"), positions)
    images = decode_all(
        queries,
        size=loader.size,
        filter=loader.filter,
        workers=loader.workers,
    )
    # One process works on its sample alone: its devices share a batch, not those of the others.
    batch = whole_batch(-(-loader.batch_size // jax.process_count()), len(positions), mesh)
    embed = replicated(as_pytree(test.clean(distance).embed), mesh)
    return Sample(embed, images, queries.cameras.astype(np.int32), positions, mesh, batch)
