"""Attacks on the searches of a test: its own model as the box, kept as they are done."""

import numpy as np
import people
import pytest

from jaxreid import ranking
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest
from jaxreid.evaluation.blackbox import Service, attack_searches, average_precision, ranker_of
from jaxreid.evaluation.features import rows_of
from jaxreid.records import BlackBox

# Distractor and junk are not attacked; the last person's queries have matches, too.
ATTACKED = 7


def made(batch_size=4):
    loader = LoaderSettings(people.SIZE, batch_size=batch_size)
    return RetrievalTest(people.embed, people.query(), people.gallery(), loader=loader)


def service(test, *, scored=True, distance="euclidean", top=6):
    return Service(test, ranker_of(test, distance, top=top), distance, top, scored)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_lists_of_a_model_are_those_of_its_ranking(distance):
    test = made()
    pixels = np.random.default_rng(0).integers(0, 256, (5, *people.SIZE, 3)).astype(np.uint8)
    items, scores = ranker_of(test, distance, top=20)(pixels)
    gallery = np.asarray(test.clean(distance).gallery.features, np.float64)
    features = np.asarray(people.embed(pixels / np.float32(255)), np.float64)
    if distance == "cosine":
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    away = np.linalg.norm(features[:, None] - gallery, axis=2)
    assert items.shape == (5, 14)
    np.testing.assert_array_equal(items, np.argsort(away, axis=1))
    np.testing.assert_allclose(scores, -np.sort(away, axis=1), rtol=1e-4)


def test_few_searches_are_not_computed_as_if_they_were_a_batch():
    seen = set()

    def embed(images):
        seen.add(images.shape[0])
        return people.embed(images)

    loader = LoaderSettings(people.SIZE, batch_size=64)
    test = RetrievalTest(embed, people.query(), people.gallery(), loader=loader, limit=3)
    test.clean("euclidean")
    seen.clear()
    pixels = np.zeros((9, *people.SIZE, 3), np.uint8)
    items, _ = ranker_of(test, "euclidean", top=5)(pixels)
    assert items.shape == (9, 5)
    # On four devices one each, of a search or of nothing.
    assert seen == {1}


def test_average_precision_of_clean_images_is_the_test_s_own():
    test = made()
    rows = np.array([0, 3, 5])
    clean = test.clean("euclidean")
    pixels = np.stack([np.zeros((3, *people.SIZE, 3), np.uint8), _pixels(test, rows)])
    found = average_precision(test, "euclidean", rows, pixels)
    expected = ranking.evaluate(rows_of(clean.query, rows), clean.gallery).average_precision
    np.testing.assert_allclose(found[1], expected)
    assert (found[0] != found[1]).any()


def _pixels(test, rows):
    from jaxreid.data.batches import Images

    return Images(test.source("query"), people.SIZE, "bilinear", None)(rows)


@pytest.mark.slow
def test_what_is_done_is_kept_and_more_goes_into_the_same_folder(tmp_path):
    settings = {"eps": 8, "queries": 25}
    one = attack_searches(service(made()), tmp_path, attacks=["rays"], **settings)
    told, progress = [], []
    both = attack_searches(
        service(made(batch_size=8)),
        tmp_path,
        attacks=["rays", "square"],
        on_attack=told.append,
        progress=lambda *counts: progress.append(counts),
        **settings,
    )
    assert both[0] == one[0]
    assert told == [both[1]]
    assert BlackBox.load(tmp_path).attacks == tuple(both)
    assert len(both[1].asked) == ATTACKED
    assert max(both[1].asked) <= 25
    assert {name for name, _, _ in progress} == {"square"}
    assert progress[-1][1:] == (25 * ATTACKED, 25 * ATTACKED)
    # Other batches, the same attack.
    (tmp_path / "anew").mkdir()
    anew = attack_searches(
        service(made(batch_size=3)), tmp_path / "anew", attacks=["square"], **settings
    )
    assert anew[0].first == both[1].first
    assert anew[0].succeeded_at == both[1].succeeded_at
    np.testing.assert_allclose(anew[0].average_precision, both[1].average_precision)
    assert len(anew[0].checkpoints) == len(anew[0].average_precision) == 2


def test_wrong_names_and_other_queries_are_refused(tmp_path):
    with pytest.raises(InputError, match="attacks"):
        attack_searches(service(made()), tmp_path, attacks=["squares"])
    attack_searches(service(made()), tmp_path, attacks=["rays"], queries=1)
    fewer = RetrievalTest(
        people.embed,
        people.query(),
        people.gallery(),
        loader=LoaderSettings(people.SIZE, batch_size=4),
        limit=3,
    )
    with pytest.raises(InputError, match="attacks on other queries"):
        attack_searches(service(fewer), tmp_path, attacks=["rays"], queries=1)
