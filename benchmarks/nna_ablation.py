"""Prints the ablation of the Nearest-Negatives Attack as a Markdown table.

    python benchmarks/nna_ablation.py --dataset synthetic_reid \
        runs/small/plain/last.safetensors runs/small/goat/last.safetensors

Every line is the attack with one thing changed, beside FNA in the same run: as `jaxreid evaluate`
attacks and ranks, 15 steps of 1/255 within 5/255, guides from the queries; mAP (market1501) and
rank-1 in %. All but one are rows of `ATTACKS` and run as every row does. Plain distances are
another objective, which has no closed form: a step costs as much more as there are guides.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import ATTACKS, AttackSpec, linf, projected_ascent, steepest_step, unchecked
from jaxreid.augmentation import to_float
from jaxreid.cameras import seen_by
from jaxreid.cli.backend import set_up_compiler
from jaxreid.cli.model.loading import default_size, load_model
from jaxreid.constants import EPS, MAIN_PROTOCOL, NEAREST, STEP_SIZE, STEPS
from jaxreid.data.loader import decode_all
from jaxreid.data.source import open_split
from jaxreid.evaluation import LoaderSettings, RetrievalTest, conditions, robustness
from jaxreid.evaluation.embeds import as_pytree, features_of_rows
from jaxreid.records import Condition, Score
from jaxreid.types import Array, ArrayLike, Embed

_NNA = ATTACKS["nna"]
VARIANTS: dict[str, AttackSpec] = {
    "`fna`": ATTACKS["fna"],
    f"`nna`: means, squared distances, k = {NEAREST}, from x": _NNA,
    **{f"k = {k}": _NNA._replace(nearest=k) for k in (5, 10, 60)},
    "sums in place of means": _NNA._replace(averages=False),
    "random start": _NNA._replace(start="random"),
    "push only": _NNA._replace(pull="none"),
    "pull only": _NNA._replace(push="none"),
    "both, to the furthest person as `fna`": _NNA._replace(pull="furthest"),
}
"""What a line of the table says -> the attack."""
PLAIN = "plain distances in place of squared ones"
_ROWS = 64


def ablation(test: RetrievalTest, variants: dict[str, AttackSpec]) -> dict[str, Score]:
    """A score for every line of the table, with that of clean images first."""
    lines = {f"nna_ablation_{i}": spec for i, spec in enumerate(variants.values())}
    ATTACKS.update(lines)
    try:
        results = robustness(test, conditions(list(lines), [255 * EPS]))
    finally:
        for name in lines:
            del ATTACKS[name]
    found = [result.scores[MAIN_PROTOCOL] for result in results]
    plain = _plain(test, conditions(["nna"], [255 * EPS])[-1])
    return {**dict(zip(["clean images", *variants], found, strict=True)), PLAIN: plain}


def _plain(test: RetrievalTest, condition: Condition) -> Score:
    """The attack on mean_p ||f - g_p|| - mean_n ||f - g_n||."""
    _, _, targets, guidance = test.plan(condition)
    source, loader = test.source("query"), test.loader
    images = decode_all(source, size=loader.size, filter=loader.filter)[targets.indices]
    guides = np.asarray(targets.guide_set.features)
    sides = [(guidance.push, guidance.push_mask), (guidance.pull, guidance.pull_mask)]
    embed = as_pytree(test.clean(condition.distance).embed)
    cameras = np.asarray(source.cameras)[targets.indices]
    found = [np.zeros((0, guides.shape[1]), np.float32)]
    for start in range(0, len(images), _ROWS):
        rows = slice(start, start + _ROWS)
        given = [
            (guides[chosen[rows]], mask[rows])
            for chosen, mask in sides
            if chosen is not None and mask is not None
        ]
        found.append(
            np.asarray(_attacked(seen_by(embed, cameras[rows]), to_float(images[rows]), given))
        )
    sets = test.sets(condition, (targets.indices, np.concatenate(found)))
    return test.score(*sets, condition.distance).scores[MAIN_PROTOCOL]


@jax.jit
@unchecked
def _attacked(embed: Embed, images: Array, sides: list[tuple[ArrayLike, ArrayLike]]) -> Array:
    """Features of the attacked images; sides are features [B,G,D] and masks [B,G]."""

    def mean_distance(features: Array, guides: ArrayLike, mask: ArrayLike) -> Array:
        squares = jnp.sum((features[:, None] - guides) ** 2, axis=2)
        distances = jnp.sqrt(jnp.maximum(squares, 1e-12)) * mask
        return jnp.sum(distances, axis=1) / jnp.maximum(jnp.sum(mask, axis=1), 1)

    def objective(images: Array) -> Array:
        push, pull = (mean_distance(features_of_rows(embed, images), *side) for side in sides)
        return push - pull

    threat = linf(EPS)
    rule = steepest_step(threat.steepest, STEP_SIZE)
    adversarial = projected_ascent(objective, images, threat=threat, rule=rule, steps=STEPS).images
    return features_of_rows(embed, adversarial)


def table(columns: dict[str, dict[str, Score]]) -> str:
    """Markdown: a line for each variant, mAP and rank-1 in % for each model."""
    models = " | ".join(f"{name}: mAP / rank-1" for name in columns)
    lines = [f"| | {models} |", f"| --- |{' --- |' * len(columns)}"]
    for line in next(iter(columns.values())):
        scores = [found[line] for found in columns.values()]
        cells = [f"{100 * s.mean_average_precision:.1f} / {100 * s.rank1:.1f}" for s in scores]
        lines.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Opens the dataset and each model, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="as `jaxreid evaluate` takes them")
    parser.add_argument("--dataset", default="synthetic_reid", help="prepared")
    parser.add_argument("--limit", type=int, help="queries to take, evenly spaced")
    given = parser.parse_args()
    query, gallery = (open_split(given.dataset, split) for split in ("query", "gallery"))
    set_up_compiler()
    columns = {}
    for name in given.models:
        model = load_model(name, dtype="float32", flip=False)
        loader = LoaderSettings(default_size(given.dataset, model), batch_size=_ROWS, workers=0)
        test = RetrievalTest(model.embed, query, gallery, loader=loader, limit=given.limit)
        columns[name] = ablation(test, VARIANTS)
    print(table(columns))


if __name__ == "__main__":
    main()
