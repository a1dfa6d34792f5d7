"""Wherever images of a split are embedded, a network is told the cameras of these very images."""

import dataclasses

import jax
import numpy as np
import people
import pytest
import seeing

from jaxreid.augmentation import to_float
from jaxreid.data.loader import decode_all
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    canonical,
    extract,
    mirrored,
    robustness,
    unit_length,
    worst_case,
)
from jaxreid.evaluation.adversarial import attacked_features
from jaxreid.evaluation.attack_split import attack_split
from jaxreid.evaluation.audit.climbs import climb, measured, searched
from jaxreid.evaluation.audit.passes import backward_flags, forward_flags
from jaxreid.evaluation.audit.sample import sample_of
from jaxreid.evaluation.worst import MemberSpec, Stage, members, running
from jaxreid.models import embedding
from jaxreid.ranking import evaluate
from jaxreid.records import Condition, Result
from jaxreid.types import Embedded

LOADER = LoaderSettings(people.SIZE, batch_size=4)
CLEAN = Condition()
FNA = canonical(Condition(attack="fna", eps=4, steps=3))


@pytest.fixture(scope="module")
def embed():
    return embedding(seeing.network())


# One compiled program for each shape.
features = jax.jit(lambda embed, images: embed(images))


def by_image(embed, source, images=None):
    """Features of each image, alone and with its own camera."""
    if images is None:
        images = to_float(decode_all(source, size=people.SIZE, filter="bilinear"))
    cameras = [np.int32(camera) for camera in source.cameras]
    rows = [
        features(embed.seen_by(one), image[None])[0]
        for one, image in zip(cameras, images, strict=True)
    ]
    return np.stack(rows)


def made(embed, **loader):
    sets = people.query(), people.gallery()
    return RetrievalTest(embed, *sets, loader=LOADER._replace(**loader))


@pytest.mark.parametrize(("batch_size", "devices"), [(3, 1), (5, 4), (64, 4)])
def test_features_of_a_split_know_their_cameras(embed, batch_size, devices):
    source = people.gallery()
    expected = by_image(embed, source)
    found = extract(
        embed,
        source,
        size=people.SIZE,
        batch_size=batch_size,
        devices=jax.local_devices()[:devices],
    )
    np.testing.assert_allclose(found.features, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.cameras, source.cameras)
    # Cameras count: these are not the features of any one camera.
    mean = extract(embed.seen_by("mean"), source, size=people.SIZE, batch_size=batch_size)
    assert not np.allclose(expected, mean.features, atol=0.1)


class _Plain:
    """A function of the user's that is no pytree, and wants cameras."""

    wanted_cameras = 4

    def __init__(self, embed):
        self.embed = embed

    def seen_by(self, cameras):
        return self.embed.seen_by(cameras)

    def __call__(self, images):
        raise AssertionError("nobody told the cameras")


@pytest.mark.parametrize("form", [unit_length, mirrored, _Plain])
def test_other_forms_of_an_embedding_are_told_as_well(embed, form):
    source = people.query()
    found = extract(form(embed), source, size=people.SIZE, batch_size=4).features
    expected = by_image(embed, source)
    if form is unit_length:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    if form is mirrored:
        expected = by_image(embedding(seeing.network(), flip=True), source)
        one = form(embed).seen_by(np.int32(2))
        other = embedding(seeing.network(), flip=True).seen_by(2)
        images = to_float(decode_all(source, size=people.SIZE, filter="bilinear"))
        np.testing.assert_allclose(one(images), other(images), atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def adversarial(test, condition=FNA):
    """Targets, adversarial images [T,H,W,3] and their features."""
    plan = test.plan(condition)
    found = {}
    for batch in attack_split(plan):
        found.update(zip(batch.rows.tolist(), np.asarray(batch.images), strict=True))
    images = np.stack([found[row] for row in range(len(plan.targets.indices))])
    return plan, images, attacked_features(plan, plan.test, show=np.zeros(0, np.int64)).features


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_attacked_images_know_their_cameras(embed, side):
    """In any batch, on any device, an image is attacked as it is alone."""
    condition = dataclasses.replace(FNA, side=side)
    plan, images, found = adversarial(made(embed), condition)
    source = plan.test.source(side)
    cameras = np.asarray(source.cameras)[plan.targets.indices]
    told = [
        features(embed.seen_by(one), image[None])[0]
        for one, image in zip(cameras, images, strict=True)
    ]
    np.testing.assert_allclose(found, told, rtol=1e-5, atol=1e-5)
    _, alone, _ = adversarial(made(embed, batch_size=1, devices=jax.local_devices()[:1]), condition)
    np.testing.assert_allclose(images, alone, atol=1e-5)
    _, mean, _ = adversarial(made(embed.seen_by("mean")), condition)
    assert np.abs(images - mean).max() > 1 / 255


MEMBERS = (
    MemberSpec("fna", "published", metric="all"),
    MemberSpec("margin", metric="rank", stages=(Stage("margin", 2),)),
)


@pytest.mark.slow
def test_the_worst_case_knows_the_cameras(embed, monkeypatch):
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "gallery"), MEMBERS)
    seen, real = [], running.found_by

    def spy(setting, one, rows, best, progress=None):
        found = real(setting, one, rows, best, progress)
        seen.append((one.name, rows, found))
        return found

    monkeypatch.setattr(running, "found_by", spy)
    test = made(embed)
    worst = worst_case(test, Condition(attack="worst-1-quick", eps=2))
    cameras = np.asarray(test.source("query").cameras)[worst.targets.indices]
    assert {name for name, _, _ in seen} == {one.name for one in MEMBERS}
    for _, rows, found in seen:
        told = embed.seen_by(cameras[rows])
        for images, theirs in zip(found.images, found.features, strict=True):
            np.testing.assert_allclose(theirs, features(told, images), rtol=1e-5, atol=1e-5)
    # The images were kept for the ranking that they have, seen so.
    clean = test.clean("euclidean")
    own = np.where(
        worst.changed[0][:, None],
        features(embed.seen_by(cameras), worst.images[0]),
        np.asarray(clean.query.features)[worst.targets.indices],
    )
    query = test.sets(CLEAN, (worst.targets.indices, own))[0]
    left = evaluate(query, clean.gallery, protocol="market1501").average_precision
    np.testing.assert_allclose(worst.scored.per_query.market1501, left, atol=1e-5)


@pytest.mark.slow
def test_an_audit_s_sample_knows_its_cameras(embed):
    test = made(embed)
    sample = sample_of(test, "euclidean", 6)
    assert sample.cameras.tolist() == [0, 1, 0, 1, 0, 1]
    assert not any(flag.raised for flag in [*forward_flags(sample), *backward_flags(sample)])
    clean = test.clean("euclidean")
    one = searched(sample, clean.query, clean.gallery, "euclidean", "linf")
    own = Embedded(*(np.asarray(part)[sample.positions] for part in clean.query))
    expected = evaluate(own, clean.gallery, protocol="market1501").average_precision
    np.testing.assert_allclose(measured(one), expected, rtol=1e-5)
    images = np.asarray(climb(one, eps=4 / 255, steps=2).images)
    found = features(embed.seen_by(sample.cameras), images)
    expected = evaluate(own._replace(features=found), clean.gallery, protocol="market1501")
    np.testing.assert_allclose(measured(one, images), expected.average_precision, atol=1e-5)


def test_a_chosen_camera_is_every_image_s(embed):
    """What is chosen beforehand stays, and is what a function without cameras gives."""
    for choice in ("none", "mean", 3):
        told = embed.seen_by(choice)
        plain = robustness(made(lambda images, told=told: told(images)), [CLEAN], examples=0)
        (found,) = robustness(made(told), [CLEAN], examples=0)
        assert found.scores == plain[0].scores
        assert found.wrong_camera is None


def test_what_a_wrong_camera_changes(embed):
    (found,) = robustness(made(embed), [CLEAN], examples=0)
    query, gallery = people.query(), people.gallery()
    right = by_image(embed, query)
    query.cameras = (query.cameras + 1) % 4
    wrong = by_image(embed, query)
    moved = np.linalg.norm(wrong - right, axis=1) / np.linalg.norm(right, axis=1)
    assert found.wrong_camera.cameras == 4
    assert found.wrong_camera.change == pytest.approx(np.median(moved), rel=1e-4)
    own = people.query()
    sets = (
        Embedded(wrong, own.identities, own.cameras),
        Embedded(by_image(embed, gallery), gallery.identities, gallery.cameras),
    )
    expected = evaluate(*sets, protocol="market1501")
    found = found.wrong_camera
    assert found.mean_average_precision == pytest.approx(expected.mean_average_precision)
    assert found.rank1 == pytest.approx(expected.rank(1))


def test_results_keep_it(embed):
    (found,) = robustness(made(embed), [CLEAN], examples=0)
    assert found.wrong_camera is not None
    assert Result.from_json(found.to_json()) == found


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_cameras_that_the_network_lacks_are_refused(embed, side):
    sets = {"query": people.query(), "gallery": people.gallery()}
    sets[side].cameras = sets[side].cameras + 2
    message = rf"the {side} split has images of \d cameras, . to [35].*has embeddings of 3, 0 to 2"
    small = embedding(seeing.network(3))
    with pytest.raises(InputError, match=message):
        RetrievalTest(small, *sets.values(), loader=LOADER)
    RetrievalTest(small.seen_by("mean"), *sets.values(), loader=LOADER)
    RetrievalTest(people.embed, *sets.values(), loader=LOADER)


def test_unlabelled_images_are_refused(embed):
    source = InMemorySplit([people.png(np.zeros((*people.SIZE, 3)))], [1], [-1])
    with pytest.raises(InputError, match=r"1 cameras, -1 to -1.*--camera mean"):
        extract(embed, source, size=people.SIZE)
