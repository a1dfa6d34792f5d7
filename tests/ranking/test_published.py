"""Objectives of published attacks against their definitions in loops, and the limits they have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.ranking import ListDistances, average_precision_sum, histogram_ap, mis_ranking

ROWS, MATCHES, ITEMS = 6, 4, 11


def lists(seed=0, values=None):
    """Distances in [0, 2]; the last two rows have no match, and no other."""
    rng = np.random.default_rng(seed)
    matched, other = (rng.uniform(0, 2, (ROWS, n)).astype(np.float32) for n in (MATCHES, ITEMS))
    mask, others = (rng.uniform(size=(ROWS, n)) < 0.7 for n in (MATCHES, ITEMS))
    mask[:, 0] = others[:, 0] = True
    mask[-2], others[-1] = False, False
    return ListDistances(*map(jnp.asarray, (matched, mask, other, others)))


def rows_of(distances):
    matched, mask, other, others = map(np.asarray, distances)
    return [
        (matched[row][mask[row]].tolist(), other[row][others[row]].tolist()) for row in range(ROWS)
    ]


def precision_of_histogram(matches, others, bins):
    width = 2 / (bins - 1)
    total = before = everything = 0.0
    for m in range(bins):
        here = [sum(max(0, 1 - abs(d - m * width) / width) for d in x) for x in (matches, others)]
        before += here[0]
        everything += sum(here)
        if everything:
            total += before / everything * here[0]
    return total / len(matches)


@pytest.mark.parametrize("bins", [pytest.param(2, marks=pytest.mark.slow), 5, 10])
def test_histogram_ap_is_its_definition(bins):
    found = np.asarray(histogram_ap(lists(), bins=bins))
    for row, (matches, others) in enumerate(rows_of(lists())):
        expected = 1 - precision_of_histogram(matches, others, bins) if matches and others else 0
        assert found[row] == pytest.approx(expected, abs=1e-6)
    assert found[:-2].min() > 0.01
    assert (found[-2:] == 0).all()


def test_histogram_ap_is_exact_on_centres_of_bins():
    rng, bins = np.random.default_rng(3), 17
    for _ in range(20):
        places = rng.permutation(bins)[: MATCHES + 7]
        centres = np.float32(places * 2 / (bins - 1))
        distances = ListDistances(
            jnp.asarray(centres[None, :MATCHES]),
            jnp.ones((1, MATCHES), bool),
            jnp.asarray(centres[None, MATCHES:]),
            jnp.ones((1, 7), bool),
        )
        ranks = 1 + np.argsort(np.argsort(places))[:MATCHES]
        exact = average_precision_sum(np.sort(ranks)[None], np.ones((1, MATCHES), bool))
        assert histogram_ap(distances, bins=bins)[0] == pytest.approx(1 - exact[0], abs=1e-6)


def test_mis_ranking_is_its_definition():
    found = np.asarray(mis_ranking(lists(), margin=0.3))
    for row, (matches, others) in enumerate(rows_of(lists())):
        gap = max(others) ** 2 - min(matches) ** 2 + 0.3 if matches and others else 0
        assert found[row] == pytest.approx(-max(0, gap), abs=1e-5)
    assert found.min() < -0.3


def test_mis_ranking_ends_where_the_order_is_wrong_by_the_margin():
    one = jnp.ones((1, 1), bool)
    for match, expected in ((1.5, 0), (1.2, 1 - 1.44 + 0.5), (0.2, 1 - 0.04 + 0.5)):
        distances = ListDistances(jnp.full((1, 1), match), one, jnp.ones((1, 1)), one)
        assert mis_ranking(distances)[0] == pytest.approx(-expected, abs=1e-6)


@pytest.mark.parametrize("function", [histogram_ap, mis_ranking])
def test_padding_changes_nothing_and_gradients_are_right(function):
    distances = lists()

    def total(matched, other):
        return jnp.sum(function(distances._replace(matched=matched, other=other)))

    arguments = {"matched": distances.matched, "other": distances.other}
    found = jax.jit(jax.grad(total, (0, 1)))(*arguments.values())
    step = 1e-3
    for name, slope, mask in zip(arguments, found, (distances.mask, distances.others), strict=True):
        slope = np.asarray(slope)
        assert np.isfinite(slope).all()
        assert (slope[~np.asarray(mask)] == 0).all()
        assert (slope[-2:] == 0).all()
        place = np.unravel_index(np.abs(slope).argmax(), slope.shape)
        nudge = np.zeros(slope.shape, np.float32)
        nudge[place] = step
        up, down = (
            float(total(**arguments | {name: arguments[name] + way * nudge})) for way in (1, -1)
        )
        assert abs(slope[place]) > 0.01
        assert (up - down) / (2 * step) == pytest.approx(float(slope[place]), rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: histogram_ap(lists(), bins=1), "bins"),
        (lambda: histogram_ap(lists(), bins=2.5), "bins"),
        (lambda: histogram_ap(None), "distances"),
        (lambda: mis_ranking(lists(), margin=-1), "margin must be 0 or more"),
        (lambda: mis_ranking(lists(), margin=np.nan), "margin must be 0 or more"),
        (lambda: mis_ranking((1, 2, 3, 4)), "distances"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
