"""The search without gradients: what it proposes, what it accepts, what it finds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import random_images

from jaxreid import attacks
from jaxreid.attacks import l2, linf, search_at_random
from jaxreid.attacks.random_search import Window, repainted, striped_start, window_schedule
from jaxreid.errors import InputError

EPS = {"linf": 0.1, "l2": 1.0}
THREATS = {"linf": linf(EPS["linf"]), "l2": l2(EPS["l2"])}
IMAGES = 0.3 + 0.4 * random_images(4)
TARGET = random_images(4, seed=1)
KEYS = attacks.example_keys(jax.random.key(0), np.arange(4))
TALL = jnp.full((4, 16, 8, 3), 0.5)


def closeness(images):
    return -jnp.sum((images - TARGET[: len(images)]) ** 2, (1, 2, 3))[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("norm", THREATS)
def test_it_comes_near_the_best_allowed_image_and_stays_in_the_ball(norm):
    search = partial(search_at_random, closeness, threat=THREATS[norm], queries=500)
    found = jax.jit(attacks.unchecked(lambda x, keys: search(x, key=keys)))(IMAGES, KEYS)
    change = np.asarray(found.images - IMAGES, np.float64)
    way = np.asarray(TARGET - IMAGES, np.float64)
    if norm == "linf":
        best = np.clip(way, -0.1, 0.1)
        assert np.abs(change).max() <= 0.1 + 1e-6
    else:
        length = np.linalg.norm(way.reshape(4, -1), axis=1)
        best = way / length[:, None, None, None]  # the ball has radius 1, and lies in [0, 1]
        assert np.linalg.norm(change.reshape(4, -1), axis=1).max() <= 1 + 1e-5
        assert ((IMAGES + best >= 0) & (IMAGES + best <= 1)).all()
    assert ((found.images >= 0) & (found.images <= 1)).all()
    clean, optimum = (-np.sum((way - step) ** 2, (1, 2, 3)) for step in (0, best))
    won = (np.asarray(found.score[:, 0]) - clean) / (optimum - clean)
    assert (won > {"linf": 0.5, "l2": 0.3}[norm]).all()
    np.testing.assert_allclose(closeness(found.images), found.score, rtol=1e-5)
    assert ((found.accepted > 20) & (found.accepted < 500)).all()


def test_windows_have_the_shape_of_the_image_and_shrink_by_schedule():
    number, height, width = (np.asarray(x) for x in window_schedule(5000, 256, 128))
    np.testing.assert_array_equal(number, np.arange(1, 5000))
    # The share is 0.8, halved after 10, 50, 200, ... of 10,000 queries: here 5, 25, 100 ...
    for query, halvings in ((1, 0), (5, 0), (6, 1), (25, 1), (26, 2), (4000, 8), (4001, 9)):
        share = 0.8 / 2**halvings
        assert height[query - 1] == round(np.sqrt(share) * 256)
        assert width[query - 1] == round(np.sqrt(share) * 128)
    assert window_schedule(1, 16, 8).number.shape == (0,)
    assert np.asarray(window_schedule(500, 4, 2).width).min() == 1


def proposed_by(norm):
    """(best, query) -> the proposals, compiled once."""
    run = jax.jit(lambda best, asked: repainted(best, TALL, KEYS, asked, THREATS[norm]))
    return lambda best, *asked: run(best, Window(*(jnp.int32(number) for number in asked)))


@pytest.mark.parametrize("norm", THREATS)
def test_a_proposal_paints_one_window(norm):
    threat = THREATS[norm]
    best = jax.jit(lambda x: threat.project(striped_start(threat)(KEYS, x), x))(TALL)
    proposed = proposed_by(norm)(best, 3, 6, 3)
    changed = np.asarray(proposed != best).any(-1)
    if norm == "linf":
        # Some pixels have their colour already.
        assert (changed.sum((1, 2)) <= 18).all()
        np.testing.assert_allclose(np.abs(proposed - TALL), 0.1, atol=1e-6)
        for row in range(4):
            rows, columns = np.nonzero(changed[row])
            assert np.ptp(rows) < 6
            assert np.ptp(columns) < 3
    else:
        # One window takes what another one gives up.
        assert ((changed.sum((1, 2)) > 18) & (changed.sum((1, 2)) <= 36)).all()
        length = np.linalg.norm(np.asarray(proposed - TALL).reshape(4, -1), axis=1)
        np.testing.assert_allclose(length, 1, rtol=1e-5)
    assert len({tuple(np.flatnonzero(each)) for each in changed}) == 4  # each its own window


def test_it_never_asks_about_the_image_that_it_has():
    """Small windows of one colour: the signs that are there already are turned."""
    best, propose = TALL + 0.1, proposed_by("linf")
    proposed = [propose(best, number, 2, 1) for number in range(12)]
    assert all((np.asarray(each != best).any((1, 2, 3))).all() for each in proposed)


def test_it_accepts_only_what_is_better_in_lexicographic_order():
    """The first column is a step function, the second decides between equals."""

    def score(images):
        red, green, _ = images.mean((1, 2)).T
        return jnp.stack([jnp.round(12 * green), red], 1)

    def trace(images):
        return [
            search_at_random(score, images, threat=linf(0.1), key=KEYS, queries=q).score
            for q in (8, 60)
        ]

    scores = np.asarray(jax.jit(attacks.unchecked(trace))(TALL))
    for row in range(4):
        start, end = (tuple(score[row]) for score in scores)
        assert start <= end
    rose, turned = (scores[-1] > scores[0]).T
    assert rose.any()
    assert (turned & ~rose).any()


def test_nan_never_wins_and_a_number_wins_over_it():
    def score(images):
        bright = images.mean((1, 2, 3))
        return jnp.where(bright > 0.5, jnp.nan, bright)[:, None]

    search = attacks.unchecked(
        lambda start: search_at_random(
            score, TALL, threat=linf(0.1), key=KEYS, queries=40, start=start
        )
    )
    found = jax.jit(search)(TALL + 0.001)
    assert (found.accepted > 1).all()
    assert ((found.score > 0.47) & (found.score <= 0.5)).all()


def test_rows_are_independent_and_done_ones_stay_as_they_are():
    run = jax.jit(
        attacks.unchecked(
            lambda x, target, keys, active, start: search_at_random(
                lambda y: -jnp.sum((y - target) ** 2, (1, 2, 3))[:, None],
                *(x,),
                threat=linf(0.1),
                key=keys,
                queries=30,
                start=start,
                active=active,
            )
        )
    )
    start = THREATS["linf"].project(random_images(4, seed=9), IMAGES)
    everyone = run(IMAGES, TARGET, KEYS, np.ones(4, bool), start)
    order, active = np.array([2, 0, 3, 1]), np.array([True, False, True, True])
    other = run(IMAGES[order], TARGET[order], KEYS[order], active, start[order])
    np.testing.assert_array_equal(other.images[active], everyone.images[order][active])
    np.testing.assert_array_equal(other.accepted[active], everyone.accepted[order][active])
    np.testing.assert_array_equal(other.images[1], start[0])
    assert other.accepted[1] == 0
    # Without a start of one's own a row that is done is the clean image.
    still = search_at_random(
        closeness, IMAGES, threat=linf(0.1), key=KEYS, queries=1, active=np.zeros(4, bool)
    )
    np.testing.assert_array_equal(still.images, IMAGES)


SEARCH = {"score": closeness, "images": IMAGES, "threat": linf(0.1), "key": KEYS, "queries": 3}
BAD = {
    "score": {
        "None": None,
        "one axis": lambda x: x.mean((1, 2, 3)),
        "no columns": lambda x: x.mean((1, 2, 3))[:, None][:, :0],
        "another batch": lambda x: x.mean((1, 2, 3))[:2, None],
        "booleans": lambda x: x.mean((1, 2, 3))[:, None] > 0,
        "complex": lambda x: 1j * x.mean((1, 2, 3))[:, None],
    },
    "images": {"0 to 255": 255 * IMAGES, "None": None},
    "threat": {
        "a function": linf,
        "without repaint": linf(0.1)._replace(repaint=None),
        "without radius": linf(0.1)._replace(radius=None),
    },
    "key": {"a seed": 0, "of another batch": KEYS[:2]},
    "queries": {"none": 0, "a fraction": 2.5},
    "start": {"shape": IMAGES[:2]},
    "active": {"shape": np.ones(3, bool)},
}


@pytest.mark.parametrize(
    ("argument", "what"), [(name, what) for name, bad in BAD.items() for what in bad]
)
def test_bad_arguments_are_named(argument, what):
    with pytest.raises(InputError, match=argument) as caught:
        search_at_random(**(SEARCH | {argument: BAD[argument][what]}))
    assert "\n" not in str(caught.value).split("\n-----")[0]
