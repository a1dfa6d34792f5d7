"""Climbs one objective on the ranking of every query, and says what is left: docs/threat-model.md.

    python benchmarks/objectives.py runs/small/goat/last.safetensors \
        --objective smooth_ap --temperatures 0.3,0.1,0.03 --steps 24 --limit 100

One adaptive ascent of `--steps` steps for each temperature, which is in units of the standard
deviation of the clean image's distances; each sets out from the best image of those before. The
attacker knows the gallery. Metrics are worst cases of all images met, by the protocol "market1501"
with ties against the matches: of each query the least average precision, and the last rank that its
first match had.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid import ranking
from jaxreid.attacks import Judged, adaptive_ascent, example_keys, linf, unchecked
from jaxreid.cameras import seen_by
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.data import evaluation_batches, open_split
from jaxreid.evaluation import LoaderSettings, RetrievalTest
from jaxreid.models import embedding, weights
from jaxreid.ranking import ListDistances, SearchLists
from jaxreid.types import Array, Embedded

Climbed = Callable[[Array, SearchLists, ListDistances, Array], Array]

OBJECTIVES: dict[str, Climbed] = {
    "opposite_means": lambda f, lists, d, t: ranking.opposite_means(f, lists),
    "nearest_others": lambda f, lists, d, t: ranking.nearest_others(d, count=30),
    "margin": lambda f, lists, d, t: ranking.margin(d),
    "soft_margin": lambda f, lists, d, t: ranking.soft_margin(d, temperature=t),
    "log_intruders": lambda f, lists, d, t: ranking.log_intruders(d, temperature=t),
    "smooth_ap": lambda f, lists, d, t: ranking.smooth_ap(d, temperature=t),
}
"""(features [B,D], lists, distances, temperature [B]) -> [B], which is maximised."""


class Rows(NamedTuple):
    """A batch: images [B,H,W,3] in [0, 1], the lists of its searches, and who took the images."""

    images: np.ndarray
    keys: Array
    cameras: np.ndarray
    matches: np.ndarray
    mask: np.ndarray
    others: np.ndarray


def worst_of(given: argparse.Namespace) -> Callable[..., tuple[Array, Array]]:
    """(embed, gallery, rows) -> least average precision [B] and latest first match [B]."""
    temperatures = np.asarray(given.temperatures, np.float32)
    stages = [number * (given.steps + 1) for number in range(1, len(temperatures))]
    factors = np.repeat(temperatures, given.steps + 1)

    @jax.jit
    @unchecked
    def run(embed: Callable[[Array], Array], gallery: Array, rows: Rows) -> tuple[Array, Array]:
        lists = SearchLists(gallery, rows.matches, rows.mask, rows.others)
        images = jnp.asarray(rows.images)
        embed = seen_by(embed, rows.cameras)
        clean = ranking.list_distances(embed(images), lists)
        spread = ranking.temperature_of(clean, factor=1.0)

        def judge(met: Array, factor: Array) -> Judged:
            features = embed(met)
            distances = ranking.list_distances(features, lists)
            found = ranking.standing(distances)
            value = OBJECTIVES[given.objective](features, lists, distances, factor * spread)
            precision, rank = -found.average_precision[MAIN_PROTOCOL], found.first_rank
            return Judged(value, (precision[:, None], rank[:, None]))

        ascent = adaptive_ascent(
            judge,
            images,
            threat=linf(given.eps / 255),
            steps=len(factors) - 1,
            key=rows.keys if given.random_start else None,
            per_step=factors,
            stages=stages,
        )
        by_precision, by_rank = ascent.kept
        return -by_precision.score[:, 0], by_rank.score[:, 0]

    return run


def opened(given: argparse.Namespace) -> RetrievalTest:
    """The retrieval test of the command line."""
    model = weights.load(Path(given.network))
    query, gallery = (
        open_split(given.dataset, name, data_dir=given.data_dir) for name in ("query", "gallery")
    )
    loader = LoaderSettings(model.config.size or (64, 32), batch_size=given.batch_size)
    embed = embedding(model).frozen()
    return RetrievalTest(embed, query, gallery, loader=loader, limit=given.limit)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Gives mAP and rank-1 in [0, 1] of the worst images met, and what they took."""
    test = opened(given)
    clean, chosen = test.clean("euclidean"), test.ranked
    queries = Embedded(*(np.asarray(part)[chosen] for part in clean.query))
    lists = ranking.search_lists(queries, clean.gallery)
    batches = evaluation_batches(
        test.source("query"), given.batch_size, size=test.loader.size, filter=test.loader.filter
    )
    with batches:
        pairs = [(part.images, part.cameras, part.indices >= 0) for part in batches]
    images = np.concatenate([images[real] for images, _, real in pairs])
    cameras = np.concatenate([cameras[real] for _, cameras, real in pairs])
    run, start, found = worst_of(given), time.perf_counter(), []
    for first in range(0, len(chosen), given.batch_size):
        # The last batch is filled up with its first row: one program for all.
        rows = np.arange(first, first + given.batch_size)
        rows = np.where(rows < len(chosen), rows, first)
        keys = example_keys(jax.random.key(given.seed), jnp.asarray(chosen[rows]))
        shares = (np.asarray(part)[rows] for part in lists[1:])
        batch = Rows(
            images[chosen[rows]].astype(np.float32) / 255,
            keys,
            cameras[chosen[rows]],
            *shares,
        )
        found.append(jax.device_get(run(clean.embed, lists.gallery, batch)))
    precision, rank = (np.concatenate(part)[: len(chosen)] for part in zip(*found, strict=True))
    return {
        "mean_average_precision": float(precision.mean(dtype=np.float64)),
        "rank1": float((rank == 1).mean()),
        "passes": len(given.temperatures) * (given.steps + 1),
        "seconds": time.perf_counter() - start,
        "images": len(chosen),
    }


def numbers(text: str) -> list[float]:
    """Numbers with commas between."""
    return [float(part) for part in text.split(",")]


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="a .safetensors file")
    parser.add_argument("--dataset", default="synthetic_reid")
    parser.add_argument("--data-dir")
    parser.add_argument("--objective", choices=sorted(OBJECTIVES), default="smooth_ap")
    parser.add_argument("--temperatures", type=numbers, default=[0.1])
    parser.add_argument("--steps", type=int, default=100, help="for each temperature")
    parser.add_argument("--random-start", action="store_true", help="on the surface of the ball")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eps", type=float, default=5.0, help="in 1/255")
    parser.add_argument("--limit", type=int, help="queries, evenly spaced")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> None:
    """Prints what is left."""
    given = arguments().parse_args()
    result = measured(given)
    if given.json:
        print(json.dumps(result))
        return
    print(
        f"{given.objective}: mAP {result['mean_average_precision']:.2%}, rank-1 "
        f"{result['rank1']:.1%}, {result['passes']} passes, {result['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
