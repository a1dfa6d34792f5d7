"""What it costs to look at the whole gallery in every step of an attack, beside the network."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.attacks import unchecked
from jaxreid.benchmark.ranking import SIZES, random_sets
from jaxreid.benchmark.timing import Timing, interleave, ratio
from jaxreid.models import create, embedding
from jaxreid.ranking import (
    ListDistances,
    SearchLists,
    list_distances,
    opposite_means,
    search_lists,
    standing,
)
from jaxreid.training.bank_adversary import OBJECTIVES
from jaxreid.types import Array, Embedded, PerImage

__all__ = ["DISTANCES", "NETWORK", "STANDING", "SurrogatesBenchmark", "benchmark_surrogates"]

NETWORK, DISTANCES, STANDING = "network", "distances", "standing"
"""The contestant that the others are measured by, and the two that have nothing to climb."""

Surrogate = Callable[[ListDistances], PerImage]
Step = Callable[[Array, SearchLists], Array]

# Steps of a loop of the network, and of the others: enough for what is the same in all of them to
# count little, as in an attack.
_STEPS = (2, 20)


class SurrogatesBenchmark(NamedTuple):
    """Result of `benchmark_surrogates`.

    Attributes:
        size: name of the size of the gallery.
        architecture: of the network.
        batch_size: rows.
        matches: the most of any row, M.
        timings: contestant -> seconds per step of a loop. "network" is a forward pass and the
            gradient to the images, "distances" those to the gallery, "standing" the exact ranks
            beside them, and every other name its value, its gradient to the features, and the
            standing beside these.
        shares: contestant -> median of its seconds / the network's, round by round.
    """

    size: str
    architecture: str
    batch_size: int
    matches: int
    timings: dict[str, Timing]
    shares: dict[str, float]


def _distances(features: Array, lists: SearchLists) -> Array:
    nearest = jnp.min(list_distances(features, lists).other, axis=1)
    return nearest[:, None] * jnp.ones_like(features)


def _standing(features: Array, lists: SearchLists) -> Array:
    found = standing(list_distances(features, lists))
    return jnp.sum(found.average_precision["market1501"]) * jnp.ones_like(features)


def _climbed(surrogate: Surrogate, features: Array, lists: SearchLists) -> Array:
    """One step's gradient, made to depend on the standing so that it is not left out."""

    def value(features: Array) -> tuple[Array, Array]:
        distances = list_distances(features, lists)
        found = standing(distances)
        return jnp.sum(surrogate(distances)), found.average_precision["market1501"]

    gradient, precision = jax.grad(value, has_aux=True)(features)
    return gradient + precision[:, None]


def _opposite(features: Array, lists: SearchLists) -> Array:
    gradient = jax.grad(lambda x: jnp.sum(opposite_means(x, lists)))(features)
    return gradient + _standing(features, lists)


def _looped(step: Callable[..., Array], steps: int) -> Callable[..., Array]:
    """A compiled loop in which every step depends on the one before it, as in an attack."""

    def run(start: Array, *shared: object) -> Array:
        def body(x: Array, _: None) -> tuple[Array, None]:
            return x + 1e-6 * step(x, *shared), None

        return jax.lax.scan(body, start, None, length=steps)[0]

    return jax.jit(unchecked(run))


def _per_step(timing: Timing, steps: int) -> Timing:
    return timing._replace(runs=tuple(run / steps for run in timing.runs))


def benchmark_surrogates(
    name: str,
    *,
    architecture: str = "resnet50",
    size: tuple[int, int] = (256, 128),
    batch_size: int = 64,
    repeats: int = 5,
) -> SurrogatesBenchmark:
    """Times a step's look at a random gallery beside a step of the network, in turns.

    Args:
        name: of `SIZES`: how large the gallery is.
        architecture: of `jaxreid.models.ARCHITECTURES`.
        size: (height, width) of the images in pixels.
        batch_size: rows.
        repeats: timed rounds.
    """
    model = create(architecture, head="none", rngs=nnx.Rngs(0))
    embed = embedding(model).frozen()
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.random((batch_size, *size, 3), np.float32))
    width = model.config.feature_size
    queries, gallery = random_sets(SIZES[name]._replace(dimension=width), seed=0)
    lists = search_lists(Embedded(*(x[:batch_size] for x in queries)), gallery)
    on_device = jax.tree.map(jnp.asarray, lists)
    features = jnp.asarray(queries.features[:batch_size])

    def network(images: Array) -> Array:
        return jax.grad(lambda x: jnp.sum(embed(x) * features))(images)

    steps: dict[str, Step] = {
        DISTANCES: _distances,
        STANDING: _standing,
        "opposite_means": _opposite,
        **{name: partial(_climbed, surrogate) for name, surrogate in OBJECTIVES.items()},
    }
    contestants: dict[str, Callable[[], object]] = {
        NETWORK: partial(_looped(network, _STEPS[0]), images)
    }
    for step, function in steps.items():
        contestants[step] = partial(_looped(function, _STEPS[1]), features, on_device)
    times = {
        contestant: _per_step(timing, _STEPS[contestant != NETWORK])
        for contestant, timing in interleave(contestants, repeats=repeats).items()
    }
    return SurrogatesBenchmark(
        size=name,
        architecture=architecture,
        batch_size=batch_size,
        matches=lists.mask.shape[1],
        timings=times,
        shares={step: ratio(times[step], times[NETWORK]) for step in steps},
    )
