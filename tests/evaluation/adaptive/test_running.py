"""Both attackers: the ascents that they are said to be, ranked as always, and done once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.attacks import adaptive_ascent, linf
from jaxreid.data.batches import Images
from jaxreid.distances import l2_normalize
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest, adaptive_attack
from jaxreid.evaluation.adaptive import running as runs
from jaxreid.evaluation.adaptive.outcome import Detector
from jaxreid.evaluation.adaptive.parts import Parts
from jaxreid.evaluation.defended import detection_threshold, inconsistency
from jaxreid.evaluation.guidance import START, key_of
from jaxreid.evaluation.scoring import score
from jaxreid.random import example_keys
from jaxreid.ranking import KReciprocal, soft_k_reciprocal
from jaxreid.records import AdaptiveAttacks, AdaptiveClimb, AttackedFeatures, Detected, Reranked
from jaxreid.types import Embedded

SMALL = KReciprocal(top=10, k1=4, k2=2)
ORDER = AdaptiveClimb(Reranked(8), steps=4)
ALARM = AdaptiveClimb(Detected("median", 0.25), eps=16, steps=12)


def opened(embed=people.embed, batch_size=4, devices=1, **options):
    loader = LoaderSettings(
        people.SIZE, batch_size=batch_size, devices=jax.local_devices()[:devices]
    )
    query, gallery = people.query(), people.gallery()
    return RetrievalTest(embed, query, gallery, loader=loader, **({"rerank": SMALL} | options))


def pixels(source):
    read = Images(source, people.SIZE, "bilinear", None)(np.arange(len(source)))
    return jnp.asarray(read, jnp.float32) / 255


QUERY, GALLERY = people.query(), people.gallery()
# The seven queries that have a match; the others are a distractor and junk.
ATTACKED = pixels(QUERY)[:7]
ITEMS = pixels(GALLERY)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Runs an attack; gives it, and features and scores of the images that were ranked."""
    monkeypatch.setattr(Parts, "remove", lambda self: None)

    def run(test, climb):
        found = adaptive_attack(test, climb, folder=tmp_path)
        parts = [AttackedFeatures.load(file) for file in sorted(tmp_path.glob("*/*/*.npz"))]
        rows = np.concatenate([part.positions for part in parts])
        assert sorted(rows.tolist()) == list(range(7))
        order = np.argsort(rows)
        names = ("features", "scores")
        whole = (np.concatenate([getattr(part, name) for part in parts])[order] for name in names)
        return found, *whole

    return run


def ranked(features, **options):
    """Both sets ranked by the functions of `evaluate`, with features [7,D] of the attacked."""
    whole = np.array(people.embed(pixels(QUERY)))
    whole[:7] = features
    sets = [
        Embedded(part, np.asarray(source.identities), np.asarray(source.cameras))
        for part, source in ((whole, QUERY), (np.asarray(people.embed(ITEMS)), GALLERY))
    ]
    return score(*sets, distance="euclidean", **options)


def relations():
    """Matches and others of each attacked query, and who takes part in re-ranking."""
    names, eyes = np.asarray(GALLERY.identities), np.asarray(GALLERY.cameras)
    same = names == np.asarray(QUERY.identities)[:7, None]
    own = same & (eyes == np.asarray(QUERY.cameras)[:7, None])
    return same & ~own, ~same & (names != -1), names != -1


def apart(images, embed=people.embed):
    """Mean distance of the matches less that of the others, who are fewer than thirty."""
    matches, others, _ = map(jnp.asarray, relations())
    gaps = embed(images)[:, None] - embed(ITEMS)
    distances = jnp.sqrt(jnp.maximum(jnp.sum(gaps**2, axis=2), 1e-12))

    def mean(mask):
        return jnp.sum(distances * mask, axis=1) / jnp.sum(mask, axis=1)

    return mean(matches) - mean(others)


def climbed(objective, climb):
    return adaptive_ascent(
        objective,
        ATTACKED,
        threat=linf(climb.eps / 255),
        steps=climb.steps,
        key=example_keys(key_of(climb.seed, START), np.arange(7)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_who_does_not_know_climbs_distances(kept, distance):
    def embed(images):
        features = people.embed(images)
        return l2_normalize(features) if distance == "cosine" else features

    def objective(images):
        if distance == "euclidean":
            return apart(images, embed)
        matches, others, _ = map(jnp.asarray, relations())
        distances = 1 - embed(images) @ embed(ITEMS).T
        parts = (jnp.sum(distances * m, axis=1) / jnp.sum(m, axis=1) for m in (matches, others))
        return next(parts) - next(parts)

    climb = dataclasses.replace(ORDER, distance=distance)
    _, features, scores = kept(opened(), climb)
    found = climbed(objective, climb).images
    np.testing.assert_allclose(features[:, 0], embed(found), atol=2e-3)
    assert not scores.any()


@pytest.mark.slow
def test_who_knows_climbs_the_new_order(kept):
    """And comes out at least as far, by the order of the nearest eight items."""
    test = opened()
    _, features, _ = kept(test, ORDER)
    matches, others, taken = relations()
    embedded = np.asarray(people.embed(ITEMS))
    clean = np.linalg.norm(np.asarray(people.embed(ATTACKED))[:, None] - embedded, axis=2)
    nearest = np.argsort(np.where(taken, clean, np.inf), axis=1)[:, :8]
    each = np.arange(7)[:, None]
    assert (nearest != 0).all()  # junk

    def value(rows):
        order = soft_k_reciprocal(rows, embedded[nearest], settings=SMALL, temperature=0.05)
        parts = (m[each, nearest].astype(np.float32) for m in (matches, others))
        means = [jnp.sum(order * m, axis=1) / np.maximum(m.sum(axis=1), 1) for m in parts]
        both = matches[each, nearest].any(axis=1) & others[each, nearest].any(axis=1)
        return jnp.where(both, means[0] - means[1], 0)

    before, oblivious, adaptive = map(
        value, (people.embed(ATTACKED), features[:, 0], features[:, 1])
    )
    assert (adaptive >= oblivious - 1e-5).all()
    assert (adaptive > before).all()
    assert (adaptive > oblivious + 1e-4).any()
    own = climbed(lambda images: value(people.embed(images)), ORDER)
    np.testing.assert_allclose(adaptive, jnp.maximum(own.value, oblivious), atol=5e-3)


@pytest.mark.slow
def test_both_are_ranked_as_evaluate_ranks(kept):
    found, features, _ = kept(opened(), ORDER)
    assert (found.queries, found.threshold) == (7, None)
    clean = people.embed(ATTACKED)
    lefts = (found.clean, found.oblivious, found.adaptive)
    for left, rows in zip(lefts, (clean, features[:, 0], features[:, 1]), strict=True):
        scored = ranked(rows, rerank=SMALL)
        assert left.alarms is None
        assert (left.scores, left.reranked) == (scored.scores, scored.reranked)
    assert found.oblivious.scores != found.clean.scores


@pytest.mark.slow
def test_a_threshold_is_the_gallery_s_and_alarms_are_counted(kept):
    found, features, scores = kept(opened(), ALARM)
    measure = inconsistency(people.embed, "median")
    _, _, taken = relations()
    threshold = detection_threshold(np.asarray(measure(ITEMS))[taken], 0.25)
    assert found.threshold == pytest.approx(threshold, rel=1e-5)
    clean = ranked(people.embed(ATTACKED)).per_query
    lefts = (found.clean, found.oblivious, found.adaptive)
    measured = (np.asarray(measure(ATTACKED)), scores[:, 0], scores[:, 1])
    rows = (people.embed(ATTACKED), features[:, 0], features[:, 1])
    for left, score_of, each in zip(lefts, measured, rows, strict=True):
        after, raised = ranked(each), score_of > found.threshold
        assert (left.scores, left.reranked) == (after.scores, None)
        assert left.alarms.raised == pytest.approx(raised.mean())
        lost = (clean.first_match_rank == 1) & (after.per_query.first_match_rank != 1)
        assert left.alarms.unnoticed == pytest.approx((lost[:7] & ~raised).mean())
        precision = after.per_query.market1501.copy()
        precision[:7][raised] = clean.market1501[:7][raised]
        assert left.alarms.mean_average_precision == pytest.approx(precision.mean())
    whole = found.clean.scores["market1501"].mean_average_precision
    assert found.clean.alarms.mean_average_precision == pytest.approx(whole)
    assert found.clean.alarms.unnoticed == 0


@pytest.mark.slow
def test_who_knows_of_a_detector_that_sees_the_other_is_not_seen(kept):
    found, features, scores = kept(opened(), ALARM)
    seen, hidden = (scores[:, who] > found.threshold for who in (0, 1))
    assert seen.sum() > hidden.sum()
    assert not (hidden & ~seen).any()
    assert found.adaptive.alarms.unnoticed >= found.oblivious.alarms.unnoticed
    # Hidden, and worse for the defender than the clean image was.
    rows = ~hidden
    matches, others, _ = relations()
    distances = np.linalg.norm(features[:, 1][:, None] - np.asarray(people.embed(ITEMS)), axis=2)
    gain = [np.where(m, distances, 0).sum(1) / m.sum(1) for m in (matches, others)]
    assert (gain[0] - gain[1] > apart(ATTACKED))[rows].all()


def test_where_nothing_is_detected_both_are_one_attack(kept, monkeypatch):
    unseen = Detector(1e30, np.zeros(7, np.float32))
    monkeypatch.setattr(runs, "detector_of", lambda *given: unseen)
    found, features, _ = kept(opened(), ALARM)
    np.testing.assert_array_equal(features[:, 0], features[:, 1])
    assert found.oblivious == found.adaptive
    assert found.adaptive.alarms.raised == 0


@pytest.mark.slow
@pytest.mark.parametrize("climb", [ORDER, ALARM], ids=["order", "alarm"])
def test_neither_batch_size_nor_devices_matter(kept, climb, tmp_path):
    _, one, _ = kept(opened(batch_size=7), climb)
    other = adaptive_attack(opened(batch_size=4, devices=2), climb)
    first = adaptive_attack(opened(), climb, folder=tmp_path)  # read
    for name in ("oblivious", "adaptive"):
        for left in (other, first):
            scores = [getattr(each, name).scores["market1501"] for each in (left, first)]
            assert dataclasses.asdict(scores[0]) == pytest.approx(
                dataclasses.asdict(scores[1]), abs=0.02
            )
    assert one.shape == (7, 2, 12)


@pytest.mark.slow
def test_nothing_is_done_twice(tmp_path, monkeypatch):
    rows, whole = [], runs._Run._rows

    def counted(self, batch, todo):
        made = whole(self, batch, todo)
        rows.extend(made.position[batch.indices >= 0].tolist())
        return made

    monkeypatch.setattr(runs._Run, "_rows", counted)
    heard = []

    def stopped(*work):
        heard.append(work)
        if work[:2] == ("attacks", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adaptive_attack(opened(progress=stopped), ORDER, folder=tmp_path)
    assert rows == [0, 1, 2, 3]
    (part,) = tmp_path.glob("adaptive/*/*.npz")
    # In batches of another size as well.
    goes_on = opened(batch_size=2, progress=lambda *work: heard.append(work))
    done = []
    found = adaptive_attack(goes_on, ORDER, folder=tmp_path, on_attack=done.append)
    assert (rows, done) == (list(range(7)), [found])
    assert heard[-1] == ("attacks", 7, 7)
    assert not part.parent.parent.exists()
    assert AdaptiveAttacks.load(tmp_path).attacks == (found,)
    assert adaptive_attack(opened(), ORDER, folder=tmp_path, on_attack=done.append) == found
    assert (len(rows), len(done)) == (7, 1)
    more = dataclasses.replace(ORDER, seed=1)
    second = adaptive_attack(opened(), more, folder=tmp_path)
    assert AdaptiveAttacks.load(tmp_path).attacks == (found, second)
    assert len(rows) == 14


@pytest.mark.slow
def test_what_was_kept_and_is_damaged_is_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Parts, "remove", lambda self: None)
    found = adaptive_attack(opened(), ORDER, folder=tmp_path)
    files = sorted(tmp_path.glob("adaptive/*/*.npz"))
    files[0].write_bytes(files[0].read_bytes()[:100])
    (tmp_path / "adaptive.json").unlink()
    assert adaptive_attack(opened(), ORDER, folder=tmp_path) == found


@pytest.mark.parametrize(
    ("climb", "said"),
    [
        ("fast", "climb must be an AdaptiveClimb"),
        (AdaptiveClimb("median"), "climb.behind must be Reranked or Detected"),
        (AdaptiveClimb(Reranked(1)), "climb.behind.candidates must be at least 2"),
        (AdaptiveClimb(Detected("noise:8")), "draws at random"),
        (AdaptiveClimb(Detected("blur")), "unknown defense"),
        (AdaptiveClimb(Detected("median", 1.0)), "climb.behind.false_alarms must lie in"),
        (AdaptiveClimb(Reranked(), eps=0), "climb.eps must be above 0"),
        (AdaptiveClimb(Reranked(), eps=float("nan")), "climb.eps"),
        (AdaptiveClimb(Reranked(), eps=5 / 255), "climb.eps is in 1/255 of the pixel range"),
        (AdaptiveClimb(Reranked(), steps=0), "climb.steps must be at least 1"),
        (AdaptiveClimb(Reranked(), seed=-1), "climb.seed"),
        (AdaptiveClimb(Reranked(), distance="manhattan"), "climb.distance"),
    ],
)
def test_what_cannot_be_asked(climb, said):
    with pytest.raises(InputError, match=said):
        adaptive_attack(opened(), climb)


def test_a_test_that_does_not_re_rank():
    with pytest.raises(InputError, match="does not re-rank"):
        adaptive_attack(opened(rerank=None), ORDER)


@pytest.mark.slow
def test_features_that_break_on_the_way_are_told():
    def brittle(images):
        # Fine for clean images, which have 256 levels.
        levels = images.reshape(len(images), -1) * 255
        whole = jnp.all(jnp.abs(levels - jnp.round(levels)) < 1e-2, axis=1)
        return jnp.where(whole[:, None], people.embed(images), jnp.nan)

    climb = AdaptiveClimb(Reranked(8), steps=1, eps=0.5)
    with pytest.raises(InputError, match=r"under the oblivious attack: .*NaN or infinity for 4 of"):
        adaptive_attack(opened(brittle), climb)
