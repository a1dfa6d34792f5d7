"""Shapes and dtypes in the signatures are those of the arrays that come, at every call inside."""

import importlib
import sys

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import jaxreid.ranking
from jaxreid.types import Embedded

ROOM = "jaxreid.ranking"


def modules():
    return [name for name in sys.modules if name == ROOM or name.startswith(f"{ROOM}.")]


@pytest.fixture(scope="module")
def ranking():
    """The room once more, with every annotation checked; the others keep theirs."""
    before = {name: sys.modules.pop(name) for name in modules()}
    try:
        with jaxtyping.install_import_hook(ROOM, "beartype.beartype"):
            yield importlib.import_module(ROOM)
    finally:
        for name in modules():
            del sys.modules[name]
        sys.modules.update(before)
        jaxreid.ranking = before[ROOM]


def people(seed, size, dtype, kind, offset):
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(size, 6)) + offset).astype(dtype)
    return Embedded(kind(features), rng.integers(-1, 4, size), rng.integers(0, 3, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distance", "dtype", "kind", "offset"),
    [
        ("euclidean", np.float32, jnp.asarray, 0),
        ("cosine", np.float32, np.asarray, 900),
        ("euclidean", np.float64, np.asarray, 0),
    ],
)
def test_every_annotation_holds(ranking, distance, dtype, kind, offset):
    query, gallery = (people(seed, size, dtype, kind, offset) for seed, size in ((0, 9), (1, 70)))
    rerank = ranking.KReciprocal(top=20, k1=4, k2=2)
    settings = {"distance": distance, "rerank": rerank, "devices": jax.local_devices()[:2]}
    found = ranking.evaluate(query, gallery, **settings)
    assert found.valid.any()
    assert ranking.evaluate(query, gallery, protocol="torchreid", distance=distance).rank(5) <= 1
    items, _ = ranking.top_items(query, gallery, count=3, distance=distance)
    assert items.shape == (9, 3)
    nearby = query._replace(features=kind(query.features / 1e4))
    certain = ranking.certified_ranks(nearby, gallery, sigma=0.5, error=0.1, radii=[0.1, 0.2])
    assert certain.radius.shape == (9,)


def test_a_wrong_shape_is_seen(ranking):
    frames = importlib.import_module(f"{ROOM}.frames")
    with pytest.raises(jaxtyping.TypeCheckError, match="n D"):
        frames.framed(np.zeros(3, np.float32), frames.Frame("euclidean", np.dtype(np.float32)))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_every_annotation_of_a_climbed_search_holds(ranking, distance):
    query = people(2, 8, np.float32, np.asarray, 0)
    gallery = people(3, 60, np.float32, np.asarray, 0)
    lists = ranking.search_lists(query, gallery)
    distances = jax.jit(ranking.list_distances, static_argnames="distance")(
        query.features, lists, distance=distance
    )
    size = distances.others.shape[1]
    identities = np.pad(gallery.identities, (0, size - 60), constant_values=-1)
    shown = jax.jit(ranking.person_at)(distances, identities, 1)

    @jax.jit
    def look(features, distances, shown):
        temperature = ranking.temperature_of(distances)
        alone = ranking.toward(distances, shown)
        return (
            ranking.margin(alone),
            ranking.scaled_margin(distances),
            ranking.soft_margin(distances, temperature=temperature),
            ranking.nearest_others(distances, count=3),
            ranking.smooth_ap(distances, temperature=temperature),
            ranking.log_intruders(distances, temperature=0.1),
            ranking.opposite_means(features, lists, distance=distance),
            ranking.standing(distances).first_rank,
        )

    assert all(len(found) == 8 for found in look(query.features, distances, shown))
