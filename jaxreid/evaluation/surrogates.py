"""What stands in for a network that the attacker has not: others, seen as one embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jaxreid.cameras import seen_by, wanted_cameras
from jaxreid.checks import check_callable
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import unit_length
from jaxreid.evaluation.features import LoaderSettings, Subset, extract
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import evenly_spaced
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike, Embed

__all__ = ["joined", "surrogate_test"]

# Enough to know how far features lie apart.
_MEASURED = 256


@pytree_dataclass
@dataclass(frozen=True)
class _Joined:
    embeds: tuple[Embed, ...]
    scales: tuple[ArrayLike, ...]

    @property
    def wanted_cameras(self) -> int:
        # Whoever knows fewest decides which cameras there can be.
        return min((count for one in self.embeds if (count := wanted_cameras(one))), default=0)

    def seen_by(self, cameras: ArrayLike) -> Embed:
        return _Joined(tuple(seen_by(one, cameras) for one in self.embeds), self.scales)

    def __call__(self, images: Array) -> Array:
        parts = [
            scale * embed(images) for embed, scale in zip(self.embeds, self.scales, strict=True)
        ]
        return jnp.concatenate(parts, axis=1)


def joined(embeds: Sequence[Embed], scales: Sequence[float]) -> Embed:
    """Several embeddings as one, ``f(x) = [s_1 f_1(x), ..., s_n f_n(x)]``.

    ``||f(x') - f(g)||^2 = sum_i s_i^2 ||f_i(x') - f_i(g)||^2``: of metric attacks the ensemble by
    features is the ensemble by losses of Liu et al., "Delving into Transferable Adversarial
    Examples and Black-box Attacks", ICLR 2017, https://arxiv.org/abs/1611.02770.

    Args:
        embeds: of images [B,H,W,3] in [0, 1] -> features [B,D_i].
        scales: of their features, s_i above 0.

    Returns:
        images [B,H,W,3] -> features [B, sum D_i].

    Raises:
        InputError: there is none, one is no function, or there are not as many scales.
    """
    if not embeds or len(embeds) != len(scales):
        raise InputError(
            f"expected at least one embedding and as many scales, got {len(embeds)} and "
            f"{len(scales)}"
        )
    for embed in embeds:
        check_callable("embeds", embed, "images [B,H,W,3] -> features [B,D]")
    if not all(np.isfinite(scale) and scale > 0 for scale in scales):
        raise InputError(f"scales must be above 0 and finite, got {list(scales)}")
    return _Joined(tuple(embeds), tuple(np.asarray(scale, np.float32) for scale in scales))


def surrogate_test(embeds: Sequence[Embed], test: RetrievalTest, *, cosine: bool) -> RetrievalTest:
    """The retrieval test of a stand-in: the same images, guides in the stand-in's own space.

    Several are `joined`, each in units of how far its features of the queries spread about their
    mean, so that none decides by the length of its features. With cosine distance each has unit
    length before.

    Args:
        embeds: of images [B,H,W,3] in [0, 1] of the test's size -> features [B,D_i].
        test: of the network that is ranked.
        cosine: whether attacks see features of unit length.

    Returns:
        What `robustness` takes as a surrogate.

    Raises:
        InputError: there is none, its features are all the same or not finite, or the cameras of
            the splits are unknown to it.
    """
    if cosine:
        embeds = [unit_length(embed) for embed in embeds]
    one = embeds[0] if len(embeds) == 1 else joined(embeds, _scales(embeds, test))
    return RetrievalTest(
        one,
        test.source("query"),
        test.source("gallery"),
        loader=test.loader,
        limit=len(test.ranked),
        cameras=test.cameras,
        progress=test.progress,
    )


def _scales(embeds: Sequence[Embed], test: RetrievalTest) -> list[float]:
    return [1 / _spread(embed, test.source("query"), test.loader) for embed in embeds]


def _spread(embed: Embed, source: ReidSource, loader: LoaderSettings) -> float:
    """The root mean square distance of features from their mean."""
    some = Subset(source, evenly_spaced(len(source), _MEASURED))
    features = np.asarray(extract(embed, some, **loader._asdict()).features, np.float64)
    spread = float(np.sqrt(np.mean(np.sum(np.square(features - features.mean(0)), axis=1))))
    if not spread > 0:
        raise InputError("a surrogate gives all images the same feature")
    return spread
