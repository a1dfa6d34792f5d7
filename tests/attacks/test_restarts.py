"""Several starts joined, and means over the draws of a random model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import random_images

from jaxreid import attacks
from jaxreid.attacks import Judged, adaptive_ascent, better_of, linf, mean_over_draws, restarted
from jaxreid.errors import InputError

IMAGES = 0.3 + 0.4 * random_images(4)
KEYS = attacks.example_keys(jax.random.key(0), np.arange(4))
THREAT = linf(0.2)


def hilly(images):
    """Many hills, and scores of which one is another matter than the value."""
    value = jnp.sin(60 * images.mean((1, 2))).sum(1) + jnp.sin(20 * images).mean((1, 2, 3))
    return Judged(value, (jnp.stack([jnp.round(3 * value), -value], 1), value[:, None]))


def climb(keys, images=IMAGES, steps=6):
    return adaptive_ascent(hilly, images, threat=THREAT, steps=steps, key=keys)


@pytest.mark.slow
def test_restarts_are_the_best_of_single_ascents():
    run = jax.jit(
        attacks.unchecked(lambda k, x: restarted(partial(climb, images=x), k, restarts=3))
    )
    joined = run(KEYS, IMAGES)
    one = jax.jit(attacks.unchecked(climb))
    singles = [one(jax.vmap(lambda key, r=r: jax.random.fold_in(key, r))(KEYS)) for r in range(3)]
    winner = np.argmax([found.value for found in singles], axis=0)
    assert len(set(winner.tolist())) > 1
    for row, number in enumerate(winner):
        best = singles[number]
        # A sign may turn where a gradient is rounding.
        assert np.mean(np.abs(joined.images[row] - best.images[row]) < 1e-6) > 0.99
        np.testing.assert_allclose(joined.value[row], best.value[row], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(joined.values[:, row], best.values[:, row], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            joined.history[1][:, row], best.history[1][:, row], rtol=1e-4, atol=1e-4
        )
        assert joined.step_size[row] == best.step_size[row]
        scores = [tuple(np.asarray(found.kept[0].score[row])) for found in singles]
        np.testing.assert_allclose(joined.kept[0].score[row], max(scores), rtol=1e-5, atol=1e-5)
    # The image that is best by its own score is another one than the best by value.
    assert (joined.kept[0].images != joined.images).any()
    np.testing.assert_allclose(joined.kept[1].images, joined.images, atol=1e-6)
    assert joined.values.shape == (7, 4)
    # Rows do not notice each other.
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        run(KEYS[order], IMAGES[order]).images, joined.images[order], atol=1e-6
    )


def test_joining_takes_the_earlier_where_both_are_equal_and_never_nan():
    shapes = jax.eval_shape(climb, KEYS)

    def filled(number, value):
        found = jax.tree.map(lambda leaf: jnp.full(leaf.shape, number, leaf.dtype), shapes)
        kept = tuple(
            k._replace(score=jnp.tile(value[:, None], k.score.shape[1])) for k in found.kept
        )
        return found._replace(value=value, kept=kept)

    first = filled(1, jnp.array([1.0, 2.0, jnp.nan, 4.0]))
    second = filled(2, jnp.array([1.0, 3.0, 0.0, jnp.nan]))
    joined = jax.jit(better_of)(first, second)
    for images in (joined.images, *(kept.images for kept in joined.kept)):
        np.testing.assert_array_equal(images[:, 0, 0, 0], [1, 2, 2, 1])
    np.testing.assert_array_equal(joined.values[3], [1, 2, 2, 1])
    np.testing.assert_array_equal(joined.value, [1, 3, 0, 4])
    np.testing.assert_array_equal(joined.nonfinite_steps, 3)
    longer = second._replace(values=jnp.zeros((9, 4)))
    with pytest.raises(InputError, match="same images, steps"):
        better_of(first, longer)


def noisy_slope(images, keys):
    """<G + N, x> with noise N per image and draw: its mean slope is G + the mean of N."""
    noise = jax.vmap(lambda key, x: jax.random.normal(key, x.shape))(keys, images)
    value = ((1 + noise) * images).sum((1, 2, 3))
    return Judged(value, (jnp.stack([value, -value], 1), jnp.ones((len(images), 1), jnp.int32)))


def test_the_mean_and_its_gradient_are_those_of_the_draws():
    mean = mean_over_draws(noisy_slope, KEYS, draws=5)

    def value(images):
        found = mean(images, 7)
        return found.value, found

    gradient, found = jax.jit(jax.grad(lambda x: (value(x)[0].sum(), value(x)[1]), has_aux=True))(
        IMAGES
    )
    noise = np.mean(
        [
            [
                jax.random.normal(
                    jax.random.fold_in(jax.random.fold_in(KEYS[i], 7), d), IMAGES.shape[1:]
                )
                for i in range(4)
            ]
            for d in range(5)
        ],
        axis=0,
    )
    np.testing.assert_allclose(gradient, 1 + noise, rtol=0, atol=1e-5)
    expected = ((1 + noise) * IMAGES).sum((1, 2, 3))
    np.testing.assert_allclose(found.value, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.deciding[0][:, 1], -expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(found.deciding[1], np.ones((4, 1)))
    assert found.deciding[1].dtype == jnp.float32
    # Without a gradient it is the same mean.
    np.testing.assert_allclose(jax.jit(mean)(IMAGES, 7).value, found.value, rtol=1e-6, atol=1e-4)


def test_more_draws_find_the_way_that_one_draw_misses():
    """The mean slope is 1 everywhere and the noise of a draw three times as large."""

    def objective(images, keys):
        return images.sum((1, 2, 3)) + 3 * (noisy_slope(images, keys).value - images.sum((1, 2, 3)))

    def run(draws):
        mean = mean_over_draws(objective, KEYS, draws=draws)

        def ascent(images, numbers):
            found = adaptive_ascent(mean, images, threat=THREAT, steps=3, per_step=numbers)
            return found.images.mean() - images.mean()

        return jax.jit(attacks.unchecked(ascent))(IMAGES, jnp.arange(4))

    gains = run(1), run(64)
    assert gains[0] < 0.1 < 0.15 < gains[1] < 0.2 + 1e-6


def test_draws_change_with_the_step_and_do_not_depend_on_the_batch():
    mean = jax.jit(
        lambda images, keys, step: mean_over_draws(noisy_slope, keys, draws=2)(images, step)
    )
    first, second = (mean(IMAGES, KEYS, step).value for step in (0, 1))
    assert (jnp.abs(first - second) > 1e-3).all()
    np.testing.assert_array_equal(first, mean(IMAGES, KEYS, 0).value)
    order = np.array([3, 1, 0, 2])
    np.testing.assert_allclose(
        mean(IMAGES[order], KEYS[order], 0).value, first[order], rtol=1e-6, atol=1e-4
    )


def test_a_temperature_of_the_step_can_be_in_the_objective():
    def objective(images, row):
        step, scale = row
        draw = lambda x, keys: scale * noisy_slope(x, keys).value  # noqa: E731
        return mean_over_draws(draw, KEYS, draws=2)(images, step)

    rows = (jnp.arange(3), jnp.array([1.0, 10.0, 100.0]))
    ascent = attacks.unchecked(
        lambda x, rows: adaptive_ascent(objective, x, threat=linf(0.0), steps=2, per_step=rows)
    )
    values = np.asarray(jax.jit(ascent)(IMAGES, rows).values)
    plain = mean_over_draws(noisy_slope, KEYS, draws=2)
    expected = [scale * plain(IMAGES, step).value for step, scale in zip(*rows, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-2)


PARTS = {
    "restarted, ascend": lambda: restarted(None, KEYS, restarts=2),
    "restarted, another result": lambda: restarted(lambda keys: IMAGES, KEYS, restarts=2),
    "restarted, one key": lambda: restarted(climb, jax.random.key(0), restarts=2),
    "restarted, a seed": lambda: restarted(climb, 0, restarts=2),
    "restarted, none": lambda: restarted(climb, KEYS, restarts=0),
    "mean_over_draws, objective": lambda: mean_over_draws(3, KEYS, draws=2),
    "mean_over_draws, one key": lambda: mean_over_draws(hilly, jax.random.key(0), draws=2),
    "mean_over_draws, none": lambda: mean_over_draws(hilly, KEYS, draws=0),
    "mean_over_draws, keys of another batch": lambda: mean_over_draws(hilly, KEYS[:1], draws=2)(
        IMAGES, 0
    ),
    "better_of, images": lambda: better_of(climb(KEYS), IMAGES),
    "mean_over_draws, a sum": lambda: adaptive_ascent(
        mean_over_draws(lambda x, keys: x.sum(), KEYS, draws=2),
        IMAGES,
        threat=THREAT,
        steps=1,
        per_step=np.arange(2),
    ),
}


@pytest.mark.parametrize("call", PARTS.values(), ids=PARTS)
def test_the_parts_refuse(call):
    with pytest.raises(InputError):
        call()
