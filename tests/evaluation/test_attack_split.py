"""Adversarial images: whose guides, which budget, whatever the batches and devices."""

import itertools

import jax
import numpy as np
import people
import pytest
from flax import nnx

from jaxreid.attacks import ATTACKS, AttackInput, nna, signed_guides
from jaxreid.augmentation import to_float
from jaxreid.data.loader import decode_all
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest, canonical, mirrored, unit_length
from jaxreid.evaluation.attack_split import _Attempt, _better, attack_split
from jaxreid.evaluation.guidance import select_guides
from jaxreid.models import ResNetConfig, create, embedding
from jaxreid.records import Condition

LOADER = LoaderSettings(people.SIZE, batch_size=4)


def attacked(condition, *, test=None, loader=LOADER, embed=people.embed):
    """Targets, guidance and their adversarial images [T,H,W,3]."""
    test = test or RetrievalTest(embed, people.query(), people.gallery(), loader=loader)
    condition = canonical(condition)
    plan = test.plan(condition)
    found = {}
    for batch in attack_split(plan):
        rows = zip(batch.rows.tolist(), np.asarray(batch.images), strict=True)
        found.update((row, image) for row, image in rows if row >= 0)
    assert sorted(found) == list(range(len(plan.targets.indices)))
    return plan.targets, plan.guidance, np.stack([found[row] for row in range(len(found))])


def clean_images(source, targets):
    return decode_all(source, size=people.SIZE, filter="bilinear")[targets.indices]


def flat(*levels):
    return [people.png(np.full((*people.SIZE, 3), level)) for level in levels]


@pytest.mark.parametrize(
    ("side", "guides", "changes"),
    [
        # 128 and 140 push each other apart; the lonely 90 has nobody.
        ("query", "query", {0: -5, 1: 5, 2: 0}),
        # 120 and 100 push both up; 90 is pushed down by 95.
        ("query", "gallery", {0: 5, 1: 5, 2: -5}),
        # In the gallery, 1 and 2 push each other apart, 3 is alone; 0 and 4 are nobody's.
        ("gallery", "gallery", {1: 5, 2: -5, 3: 0}),
        ("gallery", "query", {1: -5, 2: -5, 3: 5}),
    ],
)
def test_the_guides_of_all_four_sides(side, guides, changes):
    query = InMemorySplit(flat(128, 140, 90), [1, 1, 2], [0, 1, 0])
    gallery = InMemorySplit(flat(128, 120, 100, 95, 130), [0, 1, 1, 2, -1], [2, 2, 3, 3, 0])
    test = RetrievalTest(lambda x: x.mean((1, 2)), query, gallery, loader=LOADER)
    condition = Condition(
        attack="ifgsm_multi", eps=5, side=side, guides=guides, steps=5, eight_bit=True
    )
    targets, guidance, images = attacked(condition, test=test)
    assert targets.indices.tolist() == list(changes)
    found = images.astype(int) - clean_images(test.source(side), targets)
    for change, expected in zip(found, changes.values(), strict=True):
        assert np.unique(change).tolist() == [expected]
    assert guidance.guided.tolist() == [change != 0 for change in changes.values()]


def test_the_pull_is_the_furthest_mean_of_another_identity():
    query = InMemorySplit(flat(100, 110, 200, 220, 60), [1, 1, 2, 2, 3], [0, 1, 0, 1, 0])
    test = RetrievalTest(lambda x: x.mean((1, 2)), query, query, loader=LOADER)
    condition = Condition(attack="fna_without_push", eps=5, steps=5, eight_bit=True)
    targets, guidance, images = attacked(condition, test=test)
    assert guidance.mean_identities[guidance.pull[:, 0]].tolist() == [2, 2, 3, 3, 2]
    np.testing.assert_allclose(guidance.means[1], 210 / 255, rtol=1e-6)
    change = images.astype(int) - clean_images(query, targets)
    assert change[:, 0, 0, 0].tolist() == [5, 5, -5, -5, 5]


def test_nna_pulls_towards_the_nearest_images_of_others():
    levels = (100, 110, 200, 220, 60)
    query = InMemorySplit(flat(*levels), [1, 1, 2, 2, 3], [0, 1, 0, 1, 0])
    test = RetrievalTest(lambda x: x.mean((1, 2)), query, query, loader=LOADER)
    targets, guidance, images = attacked(Condition(attack="nna", eps=5, eight_bit=True), test=test)
    assert guidance.pulls_images
    assert guidance.pull.shape == (5, 30)
    chosen = [p[m].tolist() for p, m in zip(guidance.pull, guidance.pull_mask, strict=True)]
    assert chosen == [[4, 2, 3], [4, 2, 3], [1, 0, 4], [1, 0, 4], [0, 1, 2, 3]]
    # By hand: the gradient of mean_p (f - p)^2 - mean_n (f - n)^2 is 2 (mean of n - mean of p).
    means = np.array([(60 + 200 + 220) / 3, 160, 90, 90, (100 + 110 + 200 + 220) / 4])
    own = np.array([110, 100, 220, 200, levels[4]])
    change = images.astype(int) - clean_images(query, targets)
    assert change[:, 0, 0, 0].tolist() == (5 * np.sign(means - own)).tolist()


@pytest.mark.slow
def test_nna_is_the_named_attack_whatever_the_batches_and_devices():
    condition = Condition(attack="nna", eps=5, steps=4)
    loader = LoaderSettings(people.SIZE, batch_size=5, devices=jax.local_devices()[:2])
    targets, guidance, images = attacked(condition, loader=loader)
    features = np.asarray(targets.guide_set.features)
    direct = nna(
        people.embed,
        to_float(clean_images(people.query(), targets)),
        features[guidance.push],
        features[guidance.pull],
        push_mask=guidance.push_mask,
        pull_mask=guidance.pull_mask,
        steps=4,
    )
    np.testing.assert_allclose(images, direct, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ifgsm", "fna_random_pull"])
def test_drawn_guides_depend_on_the_seed_and_are_never_the_image_itself(name):
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=LOADER)
    drawn = set()
    for seed in range(6):
        condition = Condition(attack=name, eps=5, seed=seed, side="gallery", guides="gallery")
        targets = test.targets(condition)
        guidance = select_guides(targets, condition)
        if name == "ifgsm":
            chosen = guidance.push[:, 0][guidance.push_mask[:, 0]]
            own = targets.indices[guidance.push_mask[:, 0]]
            identities = np.asarray(test.source("gallery").identities)
            assert (chosen != own).all()
            np.testing.assert_array_equal(identities[chosen], identities[own])
        else:
            chosen = guidance.mean_identities[guidance.pull[:, 0]]
            assert (chosen != targets.identities).all()
        drawn.add(tuple(chosen.tolist()))
    assert len(drawn) > 1


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("name", ["noise", "mifgsm"])
def test_a_budget_of_zero_leaves_every_pixel(name):
    targets, _, images = attacked(Condition(attack=name, eps=0, steps=3))
    clean = clean_images(people.query(), targets)
    np.testing.assert_array_equal(np.round(255 * images).astype(np.uint8), clean)
    np.testing.assert_allclose(images, to_float(clean), rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("eps", "most"), [(5, 5), (1, 1), (2.5, 2), (0.5, 0), (255, 255)])
def test_rounding_to_8_bits_stays_inside_the_budget(eps, most):
    for name in ("noise", "sma", "fna"):
        condition = Condition(attack=name, eps=eps, steps=3, step_size=eps, eight_bit=True)
        targets, _, images = attacked(condition)
        assert images.dtype == np.uint8
        change = np.abs(images.astype(int) - clean_images(people.query(), targets))
        assert change.max() <= most
        assert change.max() >= min(most, 5)


def test_l2_changes_keep_their_length_after_rounding():
    for eight_bit in (False, True):
        condition = Condition(
            attack="fna", eps=0.5, norm="l2", steps=4, step_size=0.3, eight_bit=eight_bit
        )
        targets, _, images = attacked(condition)
        clean = clean_images(people.query(), targets).astype(np.float64) / 255
        pixels = images.astype(np.float64) / (255 if eight_bit else 1)
        lengths = np.linalg.norm((pixels - clean).reshape(len(clean), -1), axis=1)
        assert lengths.max() <= 0.5 + 1e-5
        assert lengths.min() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sma", "fna_random_pull"])
def test_neither_batch_size_nor_devices_matter(name):
    condition = Condition(attack=name, eps=5, steps=4, restarts=2, seed=3)
    one = LoaderSettings(people.SIZE, batch_size=7, devices=jax.local_devices()[:1])
    *_, expected = attacked(condition, loader=one)
    for batch_size, devices in ((1, 1), (5, 4), (64, 4)):
        loader = LoaderSettings(
            people.SIZE, batch_size=batch_size, devices=jax.local_devices()[:devices]
        )
        *_, found = attacked(condition, loader=loader)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sma", "fna"])
def test_restarts_never_lower_the_objective(name):
    heights = []
    for restarts in (1, 2, 4):
        condition = Condition(attack=name, eps=20, steps=5, step_size=4, restarts=restarts)
        targets, guidance, images = attacked(condition)
        guides = targets.guide_set.features
        given = AttackInput(
            push=None if guidance.push is None else guides[guidance.push],
            push_mask=guidance.push_mask,
            pull=None if guidance.pull is None else guidance.means[guidance.pull],
            pull_mask=guidance.pull_mask,
            clean_features=targets.clean,
        )
        objective = signed_guides(people.embed, ATTACKS[name].guides(given))
        heights.append(np.asarray(objective(images)))
    for before, after in itertools.pairwise(heights):
        assert (after >= before - 1e-5).all()
    assert (heights[-1] > heights[0] + 1e-3).any()


@pytest.mark.slow
def test_one_program_serves_all_budgets_and_batches():
    traces = []

    def counted(images):
        traces.append(images.shape)
        return people.embed(images)

    test = RetrievalTest(counted, people.query(), people.gallery(), loader=LOADER)
    attacked(Condition(attack="fna", eps=1, steps=3), test=test)
    before = len(traces)
    for eps, step_size in ((2, 1), (5, 1), (5, 0.5)):
        condition = Condition(attack="fna", eps=eps, step_size=step_size, steps=3)
        attacked(condition, test=test)
        attacked(Condition(attack="fna_random_pull", eps=eps, steps=3), test=test)
    assert len(traces) == before


def test_cosine_attacks_see_unit_length():
    *_, cosine = attacked(Condition(attack="sma", eps=5, steps=3, distance="cosine"))
    condition = Condition(attack="sma", eps=5, steps=3)
    *_, wrapped = attacked(condition, embed=unit_length(people.embed))
    *_, plain = attacked(condition)
    np.testing.assert_allclose(cosine, wrapped, rtol=0, atol=1e-6)
    assert np.abs(cosine - plain).max() > 1e-3


def test_odfa_starts_at_random_where_features_have_unit_length():
    normalised = unit_length(people.embed)
    for condition, embed in (
        (Condition(attack="odfa", eps=5, steps=1, distance="cosine"), people.embed),
        # A model that normalises by itself.
        (Condition(attack="odfa", eps=5, steps=1), normalised),
    ):
        targets, _, images = attacked(condition, embed=embed)
        clean = clean_images(people.query(), targets)
        change = 255 * np.asarray(images, np.float64) - clean
        # From the image itself, every pixel would have moved by one level, or not at all; from a
        # random start, one in ten ends at the budget.
        assert (np.abs(change - np.round(change)) > 0.01).mean() > 0.75
        assert np.abs(change).max() <= 5 + 1e-3
    *_, plain = attacked(Condition(attack="odfa", eps=5, steps=1))
    change = 255 * np.asarray(plain, np.float64) - clean
    assert (np.abs(change - np.round(change)) < 0.01).all()


def test_nan_never_wins_and_never_keeps_another_from_winning():
    images = np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1)
    nan, none = np.float32(np.nan), np.zeros(3, np.int32)
    best = _Attempt(images, np.array([nan, 1, nan], np.float32), none + 1, none)
    other = _Attempt(-images, np.array([0, nan, nan], np.float32), none, none)
    kept = _better(best, other)  # of two starts
    np.testing.assert_array_equal(kept.images, [-images[0], images[1], images[2]])
    np.testing.assert_array_equal(kept.value, [0, 1, nan])
    np.testing.assert_array_equal(kept.nonfinite, [0, 1, 1])


def test_mirrored_is_what_a_network_does_with_flip():
    shape = ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = create(shape, head="none", rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).uniform(size=(3, 32, 16, 3)).astype(np.float32)
    expected = embedding(model, flip=True)(images)
    np.testing.assert_allclose(mirrored(embedding(model))(images), expected, rtol=1e-4, atol=1e-5)


def test_nobody_to_attack():
    nobody = people.split(5, [0, -1], [0, 1])
    test = RetrievalTest(people.embed, nobody, people.gallery(), loader=LOADER)
    with pytest.raises(InputError, match="query split is a distractor or junk"):
        test.attackable("query")
