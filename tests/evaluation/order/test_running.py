"""Ranking attacks: the ones that are published, whoever computes them, and done once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid import attacks, ranking
from jaxreid.data.batches import Images
from jaxreid.distances import l2_normalize
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings, RetrievalTest
from jaxreid.evaluation.order import RANKING_ATTACKS, attack_rankings
from jaxreid.evaluation.order import running as runs
from jaxreid.records import Climb, RankingAttacks

CLIMB = Climb(steps=3)
STRONG = Climb(steps=3, random_start=True, best_iterate=True)


def opened(embed=people.embed, batch_size=4, devices=1, **options):
    loader = LoaderSettings(
        people.SIZE, batch_size=batch_size, devices=jax.local_devices()[:devices]
    )
    return RetrievalTest(embed, people.query(), people.gallery(), loader=loader, **options)


def pixels(source):
    read = Images(source, people.SIZE, "bilinear", None)(np.arange(len(source)))
    return jnp.asarray(read, jnp.float32) / 255


def unit(images):
    return l2_normalize(people.embed(images))


class Plain:
    """The search once more, in NumPy: seven queries that have a match, and their lists."""

    def __init__(self):
        query, gallery = people.query(), people.gallery()
        names, eyes = np.asarray(gallery.identities), np.asarray(gallery.cameras)
        self.images, self.items = pixels(query)[:7], pixels(gallery)
        self.gallery = np.asarray(unit(self.items))
        same = names == np.asarray(query.identities)[:7, None]
        own = same & (eyes == np.asarray(query.cameras)[:7, None])
        self.listed = (names != -1) & ~own
        self.matches = same & self.listed

    def distances(self, images):
        gaps = np.asarray(unit(images), np.float64)[:, None] - self.gallery.astype(np.float64)
        return np.sqrt((gaps**2).sum(axis=2))

    def climbed(self, images, objective, steps=3, eps=8 / 255, size=3 / 255):
        threat = attacks.linf(eps)
        rule = attacks.steepest_step(threat.steepest, size)
        found = attacks.projected_ascent(objective, images, threat=threat, rule=rule, steps=steps)
        return found.images

    def found_first(self, images):
        distances = self.distances(images)
        match = np.where(self.matches, distances, np.inf).min(axis=1)
        other = np.where(self.listed & ~self.matches, distances, np.inf).min(axis=1)
        return (match < other).mean()


def pairwise(images, gallery):
    gaps = unit(images)[:, None] - gallery
    # A root has no slope at zero, where a gallery image meets itself.
    return jnp.sqrt(jnp.maximum(jnp.sum(gaps**2, axis=2), 1e-12))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ltm", "gtm", "gtt"])
def test_an_attack_is_the_published_one(name):
    plain = Plain()
    listed, matches, gallery = map(jnp.asarray, (plain.listed, plain.matches, plain.gallery))
    others, rows = listed & ~matches, jnp.arange(7)
    clean = jnp.where(listed, pairwise(plain.images, gallery), jnp.inf)
    first, stranger = clean.argmin(axis=1), jnp.where(others, clean, jnp.inf).argmin(axis=1)

    def ltm(distances):
        nearest = jnp.where(matches, distances, jnp.inf).min(axis=1)
        return -jnp.maximum(jnp.where(others, distances, -jnp.inf).max(axis=1) - nearest, 0)

    def gtt(distances):
        lead = jnp.maximum(distances - distances[rows, first][:, None], 0)
        return -jnp.where(listed, lead, 0).sum(axis=1)

    objective = {"ltm": ltm, "gtm": lambda d: -d[rows, stranger], "gtt": gtt}[name]
    moved = plain.climbed(plain.images, lambda x: objective(pairwise(x, gallery)))
    (found,) = attack_rankings(opened(), CLIMB, attacks=[name])
    if name == "gtt":
        distances = plain.distances(moved)
        nearer = distances <= distances[np.arange(7), np.asarray(first)][:, None]
        kept = (nearer & plain.listed).sum(axis=1) <= 4
        assert found.measured["retained"].before == 1
        assert found.measured["retained"].after == pytest.approx(kept.mean())
        return
    assert found.measured["rank1"].before == pytest.approx(plain.found_first(plain.images))
    assert found.measured["rank1"].after == pytest.approx(plain.found_first(moved))
    assert found.trials == 7


def test_an_embedding_shift_sets_out_towards_larger_features():
    plain = Plain()
    origin = unit(plain.images)
    once = plain.climbed(plain.images, lambda x: unit(x).sum(axis=1), steps=1)
    threat = attacks.linf(8 / 255)

    def away(x):
        return jnp.sqrt(jnp.sum((unit(x) - origin) ** 2, axis=1))

    moved = attacks.projected_ascent(
        away,
        plain.images,
        threat=threat,
        rule=attacks.steepest_step(threat.steepest, 3 / 255),
        steps=2,
        start=once,
    ).images
    (found,) = attack_rankings(opened(), CLIMB, attacks=["es"])
    assert found.measured["shift"].before == pytest.approx(0, abs=1e-5)
    assert found.measured["shift"].after == pytest.approx(float(away(moved).mean()), rel=1e-4)
    assert found.measured["rank1"].after == pytest.approx(plain.found_first(moved))


def test_ranks_of_candidates_are_counted_in_their_lists():
    """Whichever items are drawn: shares of lists whose lengths are known, on the right side."""
    found = {one.attack: one for one in attack_rankings(opened(), CLIMB)}
    assert list(found) == list(RANKING_ATTACKS)[:9]
    lengths = Plain().listed.sum(axis=1)
    for name in ("ca-", "qa-"):
        # Of lists of a dozen the nearest hundredth is the first item.
        assert found[name].measured["rank"].before == 0
        assert found[name].measured["rank"].after > 0.3
    for name in ("ca+", "qa+"):
        before, after = (getattr(found[name].measured["rank"], at) for at in ("before", "after"))
        assert 0 <= after < before <= (1 - 1 / lengths).max()
    cosine = found["tma"].measured["cosine"]
    assert -1 <= cosine.before < cosine.after <= 1


@pytest.mark.slow
def test_neither_batch_size_nor_devices_matter():
    names = ["ca+", "qa-", "es", "spqa+"]
    one, other = (
        attack_rankings(opened(batch_size=size, devices=devices), STRONG, attacks=names)
        for size, devices in ((7, 1), (4, 2))
    )
    for first, second in zip(one, other, strict=True):
        for measure, found in first.measured.items():
            assert second.measured[measure].after == pytest.approx(found.after, abs=1e-4)
            assert second.measured[measure].before == pytest.approx(found.before, abs=1e-6)


@pytest.mark.slow
def test_the_worst_image_met_is_never_better_than_the_last_one():
    names = list(RANKING_ATTACKS)[:9]
    last, best, more = (
        attack_rankings(opened(), dataclasses.replace(CLIMB, **options), attacks=names)
        for options in ({}, {"best_iterate": True}, {"best_iterate": True, "restarts": 2})
    )
    gains = 0
    for one, two, three in zip(last, best, more, strict=True):
        for measure, found in one.measured.items():
            wanted_small = measure in ("rank1", "retained") or one.attack.endswith("+")
            sign = 1 if wanted_small else -1
            ends = [each.measured[measure].after * sign for each in (one, two, three)]
            assert ends == sorted(ends, reverse=True), (one.attack, measure, found)
            gains += ends[0] - ends[2]
    assert gains > 0


def test_a_guarded_attack_spares_the_first_items():
    names = ["qa+", "spqa+"]
    free, spared = attack_rankings(opened(), Climb(steps=8), attacks=names)
    assert set(spared.measured) == {"rank", "guards"}
    rank, guards = spared.measured["rank"], spared.measured["guards"]
    assert rank.after < rank.before
    assert abs(guards.after - guards.before) < 0.1
    assert set(free.measured) == {"rank"}


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    heard, done = [], []
    test = opened(progress=lambda *work: heard.append(work))
    first = attack_rankings(test, CLIMB, attacks=["gtm"], folder=tmp_path, on_attack=done.append)
    assert RankingAttacks.load(tmp_path).attacks == tuple(first) == tuple(done)
    assert ("attacks", 7, 7) in heard
    ran = []
    whole = runs._Run.attacked
    monkeypatch.setattr(
        runs._Run, "attacked", lambda self, name: ran.append(name) or whole(self, name)
    )
    names = ["tma", "gtm", "tma"]
    both = attack_rankings(opened(), CLIMB, attacks=names, folder=tmp_path)
    assert ([one.attack for one in both], ran) == (["tma", "gtm"], ["tma"])
    assert both[1] == first[0]
    # Another climb is another attack, and the record holds both.
    other = dataclasses.replace(CLIMB, seed=1)
    attack_rankings(opened(), other, attacks=["gtm"], folder=tmp_path)
    stored = RankingAttacks.load(tmp_path).attacks
    assert [(one.attack, one.climb.seed) for one in stored] == [("gtm", 0), ("tma", 0), ("gtm", 1)]
    assert attack_rankings(opened(), CLIMB, attacks=["gtm"], folder=tmp_path) == first


@pytest.mark.slow
def test_images_of_one_split_rank_each_other():
    """As robrank has it: eleven of the gallery have another image of the person, by any camera."""
    loader = LoaderSettings(people.SIZE, batch_size=4, devices=jax.local_devices()[:1])
    gallery = people.gallery()
    test = RetrievalTest(people.embed, gallery, gallery, loader=loader, cameras="ignore")
    (found,) = attack_rankings(test, CLIMB, attacks=["gtm"])
    assert found.trials == 11
    features = np.asarray(unit(pixels(gallery)), np.float64)
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    names = np.asarray(gallery.identities)
    distances[:, names == -1] = np.inf
    np.fill_diagonal(distances, np.inf)
    first = names[distances.argmin(axis=1)] == names
    known = (names > 0) & ((names[:, None] == names).sum(axis=1) > 1)
    assert found.measured["rank1"].before == pytest.approx(first[known].mean())


def test_seeds_draw_other_candidates():
    one, other = (
        attack_rankings(opened(), dataclasses.replace(CLIMB, seed=seed), attacks=["qa+"])[0]
        for seed in (0, 1)
    )
    assert one.measured["rank"].before != other.measured["rank"].before


@pytest.mark.parametrize(
    ("climb", "names", "said"),
    [
        (Climb(eps=0), ["es"], "climb.eps must be above 0"),
        (Climb(eps=float("nan")), ["es"], "climb.eps"),
        (Climb(step_size=256), ["es"], "climb.step_size"),
        (Climb(eps=8 / 255), ["es"], "climb.eps is in 1/255 of the pixel range: for 8/255 it is 8"),
        (Climb(steps=0), ["es"], "climb.steps must be at least 1"),
        (Climb(restarts=0), ["es"], "climb.restarts must be at least 1"),
        (Climb(seed=-1), ["es"], "climb.seed"),
        (Climb(best_iterate="yes"), ["es"], "climb.best_iterate"),
        ("fast", ["es"], "climb must be a Climb"),
        (CLIMB, ["qa"], "attacks"),
        (CLIMB, [], "attacks names none"),
        (CLIMB, "es", "attacks must be a list"),
    ],
)
def test_what_cannot_be_asked(climb, names, said):
    with pytest.raises(InputError, match=said):
        attack_rankings(opened(), climb, attacks=names)


@pytest.mark.slow
def test_features_that_break_on_the_way_are_told():
    def brittle(images):
        features = people.embed(images)
        # Fine for clean images, which have 256 levels.
        levels = images.reshape(len(images), -1) * 255
        whole = jnp.all(jnp.abs(levels - jnp.round(levels)) < 1e-2, axis=1)
        return jnp.where(whole[:, None], features, jnp.nan)

    climb = Climb(steps=1, eps=0.5, step_size=0.5)
    with pytest.raises(InputError, match="NaN or infinity for 7 of 7 images that gtm attacked"):
        attack_rankings(opened(brittle), climb, attacks=["gtm"])


def test_objectives_are_at_hand_for_an_attack_of_your_own():
    plain = Plain()
    rivals = jnp.asarray(plain.listed).at[:, 5].set(False)

    def objective(images):
        distances = pairwise(images, jnp.asarray(plain.gallery))
        return ranking.candidates_raised(distances[:, 5:6], distances, rivals)

    before = (plain.distances(plain.images) < plain.distances(plain.images)[:, 5:6]).sum()
    moved = plain.climbed(plain.images, objective)
    after = (plain.distances(moved) < plain.distances(moved)[:, 5:6]).sum()
    assert after < before
