"""The worst case: never above what any attack leaves, by rankings that are sorted here."""

import dataclasses

import jax
import numpy as np
import people
import pytest

from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    canonical,
    open_run,
    provenance_of,
    robustness,
    worst_case,
)
from jaxreid.evaluation.grid import as_published
from jaxreid.evaluation.worst import MemberSpec, Stage, amount_of_work, members, running
from jaxreid.records import Condition, Examples, PerQuery

LOADER = LoaderSettings(people.SIZE, batch_size=4)
WORST = Condition(attack="worst-1-quick", eps=2)
PUBLISHED = ("fna",)
SINGLE = tuple(MemberSpec(name, "published", metric="all") for name in PUBLISHED)
SHORT = (*SINGLE, MemberSpec("smooth ap", stages=(Stage("smooth_ap", 12),), start="best"))
SMALL = (
    MemberSpec("noise draws", "noise", metric="all", draws=2),
    *SINGLE,
    MemberSpec("margin", metric="rank", stages=(Stage("margin", 3),)),
    MemberSpec(
        "annealed",
        stages=(Stage("margin", 2), Stage("smooth_ap", 6, 0.3), Stage("smooth_ap", 4)),
        start="best",
    ),
    MemberSpec("search", "search", draws=3, start="best"),
)
ALONE = MemberSpec("adaptive sma", metric="all", stages=(Stage("away", 3),))
PROVENANCE = provenance_of(title="t", command="c", model={}, dataset={}, settings={})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ensembles of few steps: the real ones take minutes to compile."""
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "gallery"), SMALL)
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "guides"), (SHORT[-1], ALONE))
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "self"), (ALONE,))


@pytest.fixture
def short(monkeypatch):
    """Fewer still, for what compiles anew."""
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "gallery"), SHORT)


def made(*, gallery=None, **loader):
    sets = people.query(), gallery or people.gallery()
    return RetrievalTest(people.embed, *sets, loader=LOADER._replace(**loader))


@pytest.fixture
def met(monkeypatch):
    """Everything that the rounds bring home, by round, as it comes."""
    seen, real = [], running.found_by

    def spy(setting, one, rows, best, progress=None):
        found = real(setting, one, rows, best, progress)
        seen.append((one, rows, best.extremes().first_rank.copy(), found))
        return found

    monkeypatch.setattr(running, "found_by", spy)
    return seen


def brute_force(test, features, position):
    """Ranks of the matches of one query, ties against them: sorted, not counted."""
    query, gallery = test.source("query"), test.source("gallery")
    items = np.asarray(test.clean("euclidean").gallery.features, np.float64)
    distances = np.sqrt(((items - np.asarray(features, np.float64)) ** 2).sum(axis=1))
    person, camera = query.identities[position], query.cameras[position]
    same = np.asarray(gallery.identities) == person
    out = (np.asarray(gallery.identities) == -1) | (same & (np.asarray(gallery.cameras) == camera))
    order = sorted(
        (distance, bool(match))
        for distance, match, gone in zip(distances, same, out, strict=True)
        if not gone
    )
    return [place for place, (_, match) in enumerate(order, 1) if match]


def trapezoid(ranks):
    precision = [(found / rank) for found, rank in enumerate(ranks, 1)]
    before = [1 if rank == 1 else (found - 1) / (rank - 1) for found, rank in enumerate(ranks, 1)]
    return sum((a + b) / 2 for a, b in zip(before, precision, strict=True)) / len(ranks)


def embedded(image):
    return np.asarray(people.embed(jax.numpy.asarray(image[None])))[0]


@pytest.fixture(scope="module")
def shared():
    """The outcome of one run, for the tests that only look at it."""
    return {}


def once(shared, met, name="plain"):
    if name not in shared:
        test = made()
        shared[name] = test, worst_case(test, WORST), list(met)
    return shared[name]


def test_it_is_the_worst_of_every_image_that_came_home(shared, met):
    test, found, seen = once(shared, met)
    clean = test.clean("euclidean").query.features
    per_query = found.scored.per_query
    for row, position in enumerate(found.targets.indices):
        candidates = [clean[position]]
        for _, rows, _, brought in seen:
            for place in np.flatnonzero(rows == row):
                candidates += [embedded(images[place]) for images in brought.images]
        ranks = [brute_force(test, features, position) for features in candidates]
        query = int(np.searchsorted(test.ranked, position))
        assert per_query.market1501[query] == pytest.approx(min(map(trapezoid, ranks)))
        assert per_query.first_match_rank[query] == max(one[0] for one in ranks)
    score = found.scored.scores["market1501"]
    assert score.mean_average_precision == pytest.approx(per_query.market1501.mean())
    assert score.rank1 == pytest.approx((per_query.first_match_rank == 1).mean())


def test_the_images_that_are_kept_show_it(shared, met):
    test, found, _ = once(shared, met)
    clean = test.clean("euclidean").query.features
    worst = []
    for row, position in enumerate(found.targets.indices):
        images = [
            embedded(found.images[kind, row]) if found.changed[kind, row] else clean[position]
            for kind in (0, 1)
        ]
        ranks = [brute_force(test, features, position) for features in images]
        query = int(np.searchsorted(test.ranked, position))
        assert trapezoid(ranks[0]) == pytest.approx(found.scored.per_query.market1501[query])
        assert ranks[1][0] == found.scored.per_query.first_match_rank[query]
        worst.append(trapezoid(ranks[0]))
    one = found.worst.one_image["market1501"].mean_average_precision
    assert one == pytest.approx(sum(worst) / len(test.ranked))
    assert 0 < found.largest_change <= 2 + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("side", ["query", "gallery"])
def test_never_above_a_published_attack(side, tmp_path, short):
    condition = canonical(dataclasses.replace(WORST, side=side))
    singles = [as_published(name, condition) for name in PUBLISHED]
    run = open_run(tmp_path / "run", PROVENANCE)
    results = robustness(made(), [*singles, condition], run=run, examples=2)
    *others, worst = [PerQuery.load(run.arrays_of(one.condition)) for one in results]
    for other in others:
        assert (worst.market1501 <= other.market1501 + 1e-9).all()
        assert (worst.torchreid <= other.torchreid + 1e-9).all()
        assert (worst.first_match_rank >= other.first_match_rank).all()
    members = {member.name: member for member in results[-1].worst.members}
    assert members.keys() == {one.name for one in SHORT}
    assert results[-1].attacked == len(made().attackable(side))
    shown = Examples.load(run.examples_of(condition))
    pictures = shown.adversarial if side == "query" else shown.after_images
    clean = shown.clean / 255 if side == "query" else shown.before_images
    assert pictures.shape == clean.shape
    assert not np.allclose(pictures, clean)
    # Nothing of the search is left but the features of a gallery.
    kept = [f"{condition.key}.npy"] if side == "gallery" else []
    assert [path.name for path in run.path.glob("worst/*")] == kept


def test_members_go_down_and_run_on_survivors(shared, met):
    _, found, seen = once(shared, met)
    precision = [member.mean_average_precision for member in found.worst.members]
    first = [member.rank1 for member in found.worst.members]
    assert precision == sorted(precision, reverse=True)
    assert first == sorted(first, reverse=True)
    for one, rows, ranks_before, _ in seen:
        if one.metric == "rank":
            np.testing.assert_array_equal(rows, np.flatnonzero(ranks_before == 1))
    won = sum(member.won for member in found.worst.members)
    assert won == found.changed[0].sum() > 0


def test_a_budget_of_everything_reaches_the_floor():
    found = worst_case(made(), dataclasses.replace(WORST, eps=255))
    floor = found.worst.floor["market1501"]
    # Seven of nine queries show people; 13 gallery items take part, all but junk.
    matches = {1: 3, 2: 3, 3: 3, 4: 2}
    lowest = np.zeros(9)
    for query, person in enumerate((1, 1, 2, 2, 3, 3, 4)):
        last = range(13 - matches[person] + 1, 14)
        lowest[query] = trapezoid(list(last))
    assert floor == pytest.approx(lowest.mean())
    precision = found.scored.per_query.market1501
    assert (precision >= lowest - 1e-9).all()
    assert precision.mean() < floor + 0.05
    assert found.worst.at_floor == (precision[:7] <= lowest[:7] + 0.01).sum() > 0
    assert found.worst.survivors == 0


def test_a_budget_of_zero_is_clean():
    test = made()
    found = worst_case(test, dataclasses.replace(WORST, eps=0))
    clean = test.clean_score("euclidean")
    assert found.scored.scores == clean.scores
    assert found.worst.members == ()
    assert not found.changed.any()


class KilledError(Exception):
    pass


def test_killed_it_goes_on_after_the_last_whole_round(shared, met, tmp_path):
    _, whole, _ = once(shared, met)
    met.clear()

    def kill(member):
        if member.name == "margin":
            raise KilledError

    with pytest.raises(KilledError):
        worst_case(made(), WORST, folder=tmp_path, on_member=kill)
    state = tmp_path / "worst" / canonical(WORST).key
    assert len(list(state.iterdir())) == 3
    # The last file is damaged: its round is done again.
    last = max(state.iterdir())
    last.write_bytes(last.read_bytes()[:-100])
    met.clear()
    counted = []
    again = worst_case(made(), WORST, folder=tmp_path, progress=counted.append)
    assert {one.name for one, *_ in met} <= {"margin", "annealed", "search"}
    assert "annealed" in {one.name for one, *_ in met}
    assert counted == sorted(counted)
    # What was there already is told first, so that the time left is that of the rest.
    assert 0 < counted[0] < counted[-1]
    assert counted[-1] == amount_of_work(canonical(WORST), 7)
    same(again, whole)


def same(found, expected):
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.scored.scores == expected.scored.scores
    timeless = [
        [dataclasses.replace(member, seconds=0) for member in one.worst.members]
        for one in (found, expected)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_neither_batches_nor_devices_change_anything(monkeypatch):
    monkeypatch.setitem(members._TABLES, ("worst-1-quick", "gallery"), SHORT[-1:])
    expected = worst_case(made(), WORST)
    found = worst_case(made(batch_size=3, devices=jax.devices()[:1]), WORST)
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)
    assert found.scored.scores == expected.scored.scores


def test_eight_bits(shared, met):
    _, plain, _ = once(shared, met)
    found = worst_case(made(), dataclasses.replace(WORST, eight_bit=True))
    levels = 255 * found.images
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert found.largest_change <= 2
    assert found.worst.eight_bit == found.scored.scores
    # What rounding does to images that were made without it is another number.
    assert plain.worst.eight_bit.keys() == plain.scored.scores.keys()


def other_gallery():
    """The same people in other images, and one of them is missing."""
    identities = [-1, 0, 1, 1, 2, 2, 2, 3, 3, 3, 5, 5, 5, 5]
    return people.split(7, identities, [0, 0, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3])


@pytest.mark.slow
@pytest.mark.parametrize("knowledge", ["guides", "self"])
def test_who_does_not_know_the_gallery_does_not_look_at_it(knowledge, met):
    condition = dataclasses.replace(WORST, knowledge=knowledge)
    outcomes = [worst_case(made(gallery=one), condition) for one in (None, other_gallery())]
    if knowledge == "guides":
        # Nor is it asked which of the images to show.
        np.testing.assert_array_equal(outcomes[0].images, outcomes[1].images)
        assert outcomes[0].changed.any()
    half = len(met) // 2
    assert half == len(met) - half > 0
    for (one, rows, _, first), (other, same_rows, _, second) in zip(
        met[:half], met[half:], strict=True
    ):
        assert one == other
        np.testing.assert_array_equal(rows, same_rows)
        np.testing.assert_array_equal(first.images, second.images)


@pytest.mark.slow
def test_both_sides(tmp_path, met, short):
    condition = dataclasses.replace(WORST, attacked_gallery=True)
    test, folder = made(), tmp_path
    gallery = worst_case(test, dataclasses.replace(WORST, side="gallery"), folder=folder)
    rounds_run = len(met)
    found = worst_case(test, condition, folder=folder)
    # The gallery is not attacked again, and queries are ranked in what is left of it.
    assert len(met) - rounds_run <= len(SHORT)
    indices = gallery.targets.indices
    np.testing.assert_array_equal(found.sets[1].features[indices], gallery.features[0])
    alone = gallery.worst.one_image["market1501"].mean_average_precision
    assert found.scored.scores["market1501"].mean_average_precision <= alone + 1e-9
    without_file = worst_case(test, condition)
    assert without_file.scored.scores == found.scored.scores


def test_a_single_attack_is_refused():
    with pytest.raises(InputError, match="fna is no ensemble"):
        worst_case(made(), Condition(attack="fna", eps=2))
