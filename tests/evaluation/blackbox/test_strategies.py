"""What each attack proposes, step by step, as its paper says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.attacks import example_keys
from jaxreid.evaluation.blackbox import STRATEGIES, Given, Told

CLEAN = jnp.full((2, 16, 8, 3), 120 / 255)
GIVEN = Given(
    CLEAN,
    CLEAN,
    example_keys(jax.random.key(1), np.arange(2)),
    levels=4,
    queries=100,
    started=False,
)


def levels(images):
    """The change of each pixel, in grey levels."""
    return np.rint(255 * np.asarray(images - CLEAN)).astype(int)


def told(value=0.0, succeeded=False):
    return Told(jnp.full(2, value, jnp.float32), jnp.full(2, succeeded), CLEAN)


def walked(attack, answers):
    """The images proposed, and what is proposed after the last answer."""
    strategy = STRATEGIES[attack]
    state, proposed = strategy.begin(GIVEN), []
    for step, answer in enumerate(answers):
        proposed.append(levels(strategy.propose(GIVEN, state, CLEAN, jnp.int32(step))))
        state = strategy.tell(GIVEN, state, answer(proposed[-1]), jnp.int32(step))
    after = strategy.propose(GIVEN, state, CLEAN, jnp.int32(len(answers)))
    return proposed, levels(after)


def test_square_paints_stripes_and_then_windows_in_the_shape_of_the_image():
    (stripes,), window = walked("square", [lambda image: told()])
    assert (stripes == stripes[:, :1]).all()
    assert (abs(stripes) == 4).all()
    for image in window:
        painted = image.any(-1)
        rows, columns = painted.any(1), painted.any(0)
        assert (painted == rows[:, None] & columns).all()
        # 0.8 of the image, halved twice by the second of a hundred queries.
        assert (rows.sum(), columns.sum()) == (7, 4)
        assert len({tuple(pixel) for pixel in image[painted]}) == 1


def test_nes_asks_the_centre_and_then_opposite_pairs_and_follows_their_signs():
    weights = np.random.default_rng(0).normal(size=CLEAN.shape[1:])
    sums = []

    def answer(image):
        sums.append((weights * image).sum((1, 2, 3)))
        return told()._replace(value=jnp.asarray(sums[-1], jnp.float32))

    proposed, after = walked("nes", [answer] * 21)
    assert not proposed[0].any()
    # 5 levels of grey at 120 are far from black and white: pairs are opposite to the digit.
    for there, back in zip(proposed[1::2], proposed[2::2], strict=True):
        np.testing.assert_array_equal(there, -back)
        assert 0 < abs(there).max() <= 4
    directions = [there - back for there, back in zip(proposed[1::2], proposed[2::2], strict=True)]
    assert len({one.tobytes() for one in directions}) == 10
    # 0.2 of four levels is one level: each is along the sign of what was estimated.
    assert (abs(after) == 1).all()
    assert (after * weights).sum() > 0


def rays_radius(needed):
    """Answers of a service at which another person is first from a mean change on."""
    return lambda image: told()._replace(
        succeeded=jnp.asarray(np.abs(image).mean((1, 2, 3)) >= needed)
    )


def test_rays_halves_the_radius_of_the_first_direction():
    answers = [rays_radius(37.5)] * 11
    proposed, after = walked("rays", answers)
    # White first, then halves of quarters of levels, down to 15 / 4 at least.
    radii = [abs(image).mean() for image in proposed]
    assert (proposed[0] == 255 - 120).all()
    assert all((image >= 0).all() for image in proposed)
    np.testing.assert_allclose(radii[-1], 37.5, atol=0.3)
    # The next one has all signs turned, and is a little shorter.
    assert (after <= 0).all()
    assert 36 <= abs(after).max() <= 38


def test_rays_turns_halves_as_large_blocks_until_one_is_shorter():
    # Measured in eleven steps; then the first half turned, the second one, quarters.
    answers = [rays_radius(37.5)] * 11 + [lambda image: told()] * 3
    proposed, after = walked("rays", answers)
    negative = [np.moveaxis(image < 0, -1, 1).reshape(2, -1) for image in (*proposed[-3:], after)]
    size = negative[0].shape[1]
    for found, (first, last) in zip(
        negative, [(0, size), (0, size // 2), (size // 2, size), (0, size // 4)], strict=True
    ):
        expected = np.zeros(size, bool)
        expected[first:last] = True
        np.testing.assert_array_equal(found, [expected] * 2)


@pytest.mark.parametrize("attack", STRATEGIES)
def test_rows_draw_their_own_numbers(attack):
    proposed, after = walked(attack, [lambda image: told()] * 2)
    twice = jax.tree.map(lambda x: x[jnp.array([1, 0])], GIVEN)
    strategy = STRATEGIES[attack]
    turned = strategy.propose(twice, strategy.begin(twice), CLEAN, jnp.int32(0))
    np.testing.assert_array_equal(levels(turned), proposed[0][[1, 0]])
    assert after.any()
