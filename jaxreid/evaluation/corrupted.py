"""What common corruptions leave of a retrieval: every kind, in every severity."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Literal

from jaxreid.checks import check_choice
from jaxreid.constants import Distance, Side
from jaxreid.data.corruptions import CORRUPTIONS, SEVERITIES, Corrupted
from jaxreid.data.source import ReidSource
from jaxreid.errors import InputError
from jaxreid.evaluation.features import Subset, extract
from jaxreid.evaluation.retrieval import RetrievalTest
from jaxreid.records import (
    Condition,
    CorruptedLevel,
    CorruptionRecord,
    RunFolder,
    Score,
)

__all__ = ["under_corruptions"]

WhoseImages = Literal["query", "gallery", "both"]

_SIDES: Mapping[WhoseImages, tuple[Side, ...]] = {
    "query": ("query",),
    "gallery": ("gallery",),
    "both": ("query", "gallery"),
}


def under_corruptions(
    test: RetrievalTest,
    run: RunFolder,
    *,
    names: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    corrupted: WhoseImages = "query",
    distance: Distance = "euclidean",
    on_level: Callable[[CorruptedLevel], None] | None = None,
) -> CorruptionRecord:
    """Ranks a test under common corruptions, each kind in each severity, on the same images.

    The kinds are those of `jaxreid.data.corruptions`, after Hendrycks and Dietterich,
    https://arxiv.org/abs/1903.12261, and Chen et al., https://arxiv.org/abs/2111.00880. Each image
    is corrupted alike whatever the batch and the order. The record is written after every level:
    the same call goes on where it was interrupted, and a call with other names or severities adds
    to it what is missing. One process runs it, on all of its devices.

    Args:
        test: queries, gallery and embedding.
        run: the folder; its settings name what `corrupted` is.
        names: keys of `jaxreid.data.corruptions.CORRUPTIONS`.
        severities: of 1 to 5.
        corrupted: whose images are corrupted.
        distance: "euclidean" or "cosine".
        on_level: called with each level asked for, as soon as it is known.

    Returns:
        CorruptionRecord of the levels asked for; corruptions.json in the folder has all that were
        ever asked for there.

    Raises:
        InputError: unknown names, severities or sets, nothing to find, images or features that
            fail, or a damaged corruptions.json.
        OSError: the folder cannot be written.
    """
    _check(names, severities, corrupted)
    test.refuse_matchless()
    clean = test.clean_score(distance).scores
    before = CorruptionRecord.found(run.path)
    known = {(one.name, one.severity): one for one in (before.levels if before else ())}
    asked = list(product(dict.fromkeys(names), sorted(set(severities))))
    missing = [level for level in asked if level not in known]
    for level in asked:
        if level not in known:
            passes = missing.index(level), len(missing)
            scores = _scores(test, level, corrupted, distance=distance, passes=passes)
            known[level] = CorruptedLevel(level[0], level[1], scores)
            CorruptionRecord(run.provenance, corrupted, clean, tuple(known.values())).save(run.path)
        if on_level is not None:
            on_level(known[level])
    whole = CorruptionRecord(run.provenance, corrupted, clean, tuple(known.values()))
    return whole.of(names, severities)


def _check(names: Sequence[str], severities: Sequence[int], corrupted: str) -> None:
    for name in names:
        check_choice("names", name, CORRUPTIONS)
    for severity in severities:
        if severity not in SEVERITIES:
            raise InputError(f"severities must be of 1 to 5, got {severity!r}")
    if not names or not severities:
        raise InputError("names and severities must have one at least")
    check_choice("corrupted", corrupted, _SIDES)


def _scores(
    test: RetrievalTest,
    level: tuple[str, int],
    corrupted: WhoseImages,
    *,
    distance: Distance,
    passes: tuple[int, int],
) -> dict[str, Score]:
    """Scores of one level, `passes` being its number and how many there are."""
    clean = test.clean(distance)
    sources = {side: _ranked(test, side) for side in _SIDES[corrupted]}
    images = sum(map(len, sources.values()))
    sets = dict(zip(("query", "gallery"), test.sets(Condition(distance=distance)), strict=True))
    before = passes[0] * images
    for side, source in sources.items():

        def report(done: int, _: int, before: int = before) -> None:
            if test.progress is not None:
                test.progress("corrupted images", before + done, passes[1] * images)

        size, kernel = test.loader.size, test.loader.filter
        seen = Corrupted(source, *level, size=size, filter=kernel)
        found = extract(clean.embed, seen, **test.loader._asdict(), progress=report)
        sets[side] = sets[side]._replace(features=found.features)
        before += len(source)
    return test.score(sets["query"], sets["gallery"], distance, rerank=False).scores


def _ranked(test: RetrievalTest, side: Side) -> ReidSource:
    source = test.source(side)
    return Subset(source, test.ranked) if side == "query" else source
