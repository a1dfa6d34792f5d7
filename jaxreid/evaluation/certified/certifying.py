"""A whole certificate: smoothed features, what is certain of their ranking, what attacks reach."""

import dataclasses
import datetime
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.checks import check_count, check_number
from jaxreid.constants import Side
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError
from jaxreid.evaluation.certified.attacking import Attacked
from jaxreid.evaluation.certified.estimates import means_of_split
from jaxreid.evaluation.certified.smoothing import Smoothed, smoothed
from jaxreid.evaluation.features import Subset, refuse_indistinct
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.evaluation.scoring import Scored, scores_of
from jaxreid.ranking import certified_ranks, mean_error
from jaxreid.records import (
    Certificate,
    CertifiedLevel,
    CertifiedQueries,
    RunFolder,
    Score,
)
from jaxreid.sharding import from_first_process
from jaxreid.types import Embedded

__all__ = ["Asked", "certify", "check_asked"]

_FOLDER, _QUERIES = "smoothed", "certificate.npz"
# What a certificate repeats of the run, and of its ranking.
_SAID = ("title", "command", "model", "dataset", "settings", "versions", "devices")
_PER_QUERY = ("identities", "cameras", "valid", "first_match_rank")


class Asked(NamedTuple):
    """What is to be certified.

    Attributes:
        sigma: above 0, standard deviation of the noise in pixel range.
        radii: at least 0 and ascending, L2 lengths of a query's change in pixel range.
        samples: noisy copies of every query, at least 1: the more, the nearer estimates are.
        gallery_samples: of every gallery image, at least 1: whatever their mean is, is searched.
        confidence: in (0, 1), probability with which everything that is certified holds at once.
    """

    sigma: float
    radii: tuple[float, ...]
    samples: int = 1000
    gallery_samples: int = 100
    confidence: float = 0.999


def check_asked(asked: Asked) -> None:
    """Refuses numbers out of range.

    Args:
        asked: what is to be certified.

    Raises:
        InputError: one of them is.
    """
    check_number("sigma", asked.sigma, lambda s: (s > 0) & (s < jnp.inf), "be above 0")
    check_count("samples", asked.samples, least=1)
    check_count("gallery_samples", asked.gallery_samples, least=1)
    check_number("confidence", asked.confidence, lambda c: (c > 0) & (c < 1), "lie in (0, 1)")
    for number, radius in enumerate(asked.radii):
        name = f"radii[{number}]"
        check_number(name, radius, lambda r: (r >= 0) & (r < jnp.inf), "be at least 0")
    if not asked.radii or list(asked.radii) != sorted(set(asked.radii)):
        raise InputError(f"radii must ascend, at least one of them, got {list(asked.radii)}")


def certify(
    test: RetrievalTest,
    run: RunFolder,
    asked: Asked,
    *,
    attack: bool = False,
    on_level: Callable[[CertifiedLevel], None] | None = None,
) -> Certificate:
    """Certifies a ranking by smoothed features against every change of a query of a given length.

    The features are those of `smoothed`, whatever the model is compared by: means over noise of
    features of unit length, ranked by Euclidean distance. For each radius the scores are lower
    bounds, proven by `certified_ranks` of the exactly smoothed queries and of the gallery as it was
    estimated and stored. A query's estimate is off by `mean_error` at most with probability 1 - (1
    - confidence) / Q, so that, by a union bound, with `confidence` all Q queries are at once, and
    with them every score at every radius. Features are stored in the run folder as they come; the
    same call goes on there.

    Args:
        test: of the model that is smoothed; its queries are certified.
        run: the folder.
        asked: sigma, samples, radii, confidence.
        attack: whether to run the quick worst case at each radius above 0, through the noise.
        on_level: called with each level as soon as it is complete.

    Returns:
        Certificate, as it is in certificate.json; per query certificate.npz says more.

    Raises:
        InputError: numbers out of range, nothing to find, images or features that fail.
        OSError: the folder cannot be written.
    """
    check_asked(asked)
    test.refuse_matchless()
    embed = smoothed(test.embed, sigma=asked.sigma, samples=asked.samples, key=jax.random.key(0))
    stored = dataclasses.replace(embed, samples=asked.gallery_samples)
    sets = _estimated(test, run, embed, "query"), _estimated(test, run, stored, "gallery")
    refuse_indistinct(np.asarray(sets[1].features))
    clean = test.score(*sets, "euclidean", ties="pessimistic", rerank=False)
    certificate = _certificate(test, run, asked, sets=sets, clean=clean)
    attacked = Attacked(test, sets, clean, embed=stored, folder=run.path) if attack else None
    for number, level in enumerate(certificate.levels):
        if attacked is not None and level.radius > 0 and not _known(level):
            level = dataclasses.replace(level, attacked=attacked.scores(level.radius))
            levels = [*certificate.levels]
            levels[number] = level
            certificate = dataclasses.replace(certificate, levels=tuple(levels))
            _save(run, certificate)
        if on_level is not None:
            on_level(level)
    return certificate


def _estimated(test: RetrievalTest, run: RunFolder, embed: Smoothed, side: Side) -> Embedded:
    """The ranked queries or the gallery, with smoothed features."""
    source, labels = test.source(side), test.labels[side == "gallery"]
    rows = test.ranked if side == "query" else np.arange(len(source))

    def report(done: int, total: int) -> None:
        if test.progress is not None:
            test.progress(f"smoothed {side}", done, total)

    features = means_of_split(
        embed,
        Subset(source, rows),
        run.path / _FOLDER,
        name=side,
        loader=test.loader,
        progress=report,
    )
    return Embedded(features, np.asarray(source.identities)[rows], np.asarray(labels)[rows])


def _certificate(
    test: RetrievalTest,
    run: RunFolder,
    asked: Asked,
    *,
    sets: tuple[Embedded, Embedded],
    clean: Scored,
) -> Certificate:
    """What is certain, written, with what is known of attacks from earlier runs."""
    per_query, said = clean.per_query, run.provenance
    count = int(per_query.valid.sum())
    lengths = np.linalg.norm(np.asarray(sets[0].features), axis=1)
    # All queries are to be right at once.
    failure = (1 - asked.confidence) / count
    error = mean_error(lengths, samples=asked.samples, failure=failure)
    found = certified_ranks(*sets, sigma=asked.sigma, error=error, radii=asked.radii)
    known = _attacked_before(run)
    uncertain = per_query.valid & (per_query.first_match_rank == 1) & (found.radius <= 0)
    certificate = Certificate(
        **{name: getattr(said, name) for name in _SAID},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        sigma=float(asked.sigma),
        samples=int(asked.samples),
        confidence=float(asked.confidence),
        queries=count,
        abstained=int(uncertain.sum()),
        error=float(error[per_query.valid].max()),
        clean=clean.scores,
        levels=tuple(
            CertifiedLevel(float(radius), scores_of(ranks), known.get(float(radius)))
            for radius, ranks in zip(asked.radii, found.ranks, strict=True)
        ),
    )
    _save(run, certificate)
    if is_main_process():
        names = np.array(test.source("query").file_names, dtype=np.str_)[test.ranked]
        shared = {name: getattr(per_query, name) for name in _PER_QUERY}
        arrays = CertifiedQueries(names, **shared, error=error, radius=found.radius)
        arrays.save(run.path / _QUERIES)
    return certificate


def _save(run: RunFolder, certificate: Certificate) -> None:
    if is_main_process():
        certificate.save(run.path)


def _attacked_before(run: RunFolder) -> dict[float, dict[str, Score]]:
    """Radius -> what attacks left, as the certificate in the folder says; it is of this very run.

    Known to the first process alone.
    """
    if not is_main_process():
        return {}
    try:
        before = Certificate.load(run.path)
    except InputError:
        # None yet, or one that cannot be read: what it says can be computed.
        return {}
    return {one.radius: one.attacked for one in before.levels if one.attacked is not None}


def _known(level: CertifiedLevel) -> bool:
    """Whether an attack was run; every process says the same."""
    return bool(from_first_process(np.array(level.attacked is not None)))
