"""The adaptive ascent: its schedule, its optimum, and the best of all images met."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import SHAPE, THREATS, leads_to_an_allowed_image
from toy import inner_product, random_images

from jaxreid import attacks
from jaxreid.attacks import Judged, Threat, adaptive_ascent, checkpoints, l2, linf
from jaxreid.errors import InputError


def climbed(objective, images, **options):
    """One compiled program: outside of one, every operation of the preparation is compiled."""
    climb = attacks.unchecked(lambda x: adaptive_ascent(objective, x, **options))
    return jax.jit(climb)(images)


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(1000) == (220, 410, 570, 700, 800, 870, 930, 990)
    assert checkpoints(20) == (5, 9, 12, 14, 16, 18, 19)
    assert checkpoints(2) == (1,)
    assert checkpoints(1) == checkpoints(0) == ()


def test_a_trace_by_hand():
    """One pixel, budget 0.1 about 0.5, and the distance to 0.53 to be made small."""
    found = climbed(
        lambda x: -jnp.abs(x[:, 0, 0, 0] - 0.53),
        jnp.full((1, 1, 1, 1), 0.5),
        threat=linf(0.1),
        steps=10,
    )
    pixels = [
        0.5,
        0.6,  # 0.5 + 0.2, cut
        0.475,  # 0.6 + 0.75 (0.4 - 0.6) + 0.25 (0.6 - 0.5)
        0.5375,  # 0.475 + 0.75 (0.6 - 0.475) + 0.25 (0.475 - 0.6)
        # Of 3 steps 2 rose: the step is halved, from the best image, which is this one.
        0.478125,  # 0.5375 - 0.75 * 0.1 + 0.25 (0.5375 - 0.475)
        0.53828125,  # 0.478125 + 0.75 * 0.1 + 0.25 (0.478125 - 0.5375)
        # Of 2 steps 1 rose: halved again, and back to 0.5375.
        0.51484375,  # 0.5375 - 0.75 * 0.05 + 0.25 (0.5375 - 0.478125)
    ]
    values = -np.abs(np.array(pixels) - 0.53)
    np.testing.assert_allclose(found.values[:7, 0], values, rtol=0, atol=1e-6)


def wiggly(images, phase):
    """Many hills, each image its own."""
    waves = jnp.sin(9 * images + phase) + 0.5 * jnp.cos(23 * images + 2 * phase)
    return waves.sum((1, 2, 3)) + 3 * jnp.prod(images, axis=(1, 2, 3))


def by_the_paper(gradient_of, clean, start, norm, eps, steps):
    """Algorithm 1 of Croce and Hein for one image, in NumPy: values, step at the end."""

    def project(x):
        if norm == "linf":
            return np.clip(x, np.maximum(clean - eps, 0), np.minimum(clean + eps, 1))
        change = x - clean
        return np.clip(clean + change * min(1, eps / max(np.linalg.norm(change), 1e-300)), 0, 1)

    def direction(g):
        return np.sign(g) if norm == "linf" else g / np.linalg.norm(g)

    marks, step = checkpoints(steps), 2 * eps
    x, last = start, start
    value, gradient = gradient_of(x)
    values, best = [value], (value, x, gradient)
    begun, halved, at_mark = 0, False, value
    for k in range(1, steps + 1):
        z = project(x + step * direction(gradient))
        share = 1 if k == 1 else 0.75
        x, last = project(x + share * (z - x) + (1 - share) * (x - last)), x
        value, gradient = gradient_of(x)
        values.append(value)
        if value > best[0]:
            best = (value, x, gradient)
        if k in marks:
            rises = sum(values[i] > values[i - 1] for i in range(begun + 1, k + 1))
            seldom = rises < 0.75 * (k - begun)
            stuck = not halved and best[0] == at_mark
            halved = seldom or stuck
            if halved:
                step, x, gradient = step / 2, best[1], best[2]
            begun, at_mark = k, best[0]
    return np.array(values), step


@pytest.mark.parametrize("norm", THREATS)
def test_every_step_is_that_of_the_paper(norm):
    eps = {"linf": 0.3, "l2": 0.8}[norm]
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        images, phase = rng.uniform(size=(4, 3, 2, 1)), rng.uniform(0, 6, (4, 3, 2, 1))
        threat = {"linf": linf, "l2": l2}[norm](eps)
        start = threat.project(images + rng.uniform(-0.2, 0.2, images.shape), images)
        found = climbed(lambda x: wiggly(x, phase), images, threat=threat, steps=40, start=start)
        one = jax.jit(jax.value_and_grad(lambda x, p: wiggly(x[None], p[None])[0]))
        halvings = set()
        for row in range(len(images)):
            values, step = by_the_paper(
                lambda x, row=row: jax.tree.map(np.asarray, one(x, phase[row])),
                *(images[row], np.asarray(start[row]), norm, eps, 40),
            )
            # Steps over many hills multiply the last digit of a sine, which versions round as they
            # like; another step would differ by tenths.
            np.testing.assert_allclose(found.values[:, row], values, rtol=0, atol=1e-3)
            np.testing.assert_allclose(found.step_size[row] * eps, step, rtol=1e-12)
            assert found.value[row] == found.values[:, row].max()
            halvings.add(step)
    assert len(halvings) > 1  # images go their own ways


@pytest.mark.parametrize("norm", THREATS)
def test_it_finds_the_nearest_image_to_a_target(norm):
    images = 0.2 + 0.6 * random_images(3)
    target = random_images(3, seed=1)
    threat = {"linf": linf(0.1), "l2": l2(0.15)}[norm]
    found = climbed(
        lambda x: -jnp.sum((x - target) ** 2, (1, 2, 3)),
        images,
        threat=threat,
        key=jax.random.key(0),
    )
    way = target - images
    if norm == "linf":
        expected = jnp.clip(target, images - 0.1, images + 0.1)
    else:
        length = jnp.sqrt(jnp.sum(way**2, (1, 2, 3), keepdims=True))
        expected = images + way * 0.15 / length
        assert (length > 0.15).all()
        assert ((expected >= 0) & (expected <= 1)).all()
    # The last steps are 0.2 / 2**7 long, or less.
    np.testing.assert_allclose(found.images, expected, rtol=0, atol=5e-3)
    np.testing.assert_array_equal(found.nonfinite_steps + found.zero_steps, 0)


def test_a_budget_of_each_pixel_bounds_and_scales_its_step():
    budget = np.zeros((2, 4, 1, 3), np.float32)
    budget[:, 1:] = 0.05
    budget[:, 2:, :, 1] = 0.1
    images = jnp.full((2, 4, 2, 3), 0.5)
    found = climbed(
        lambda x: x.sum((1, 2, 3)), images, threat=linf(budget), steps=3, key=jax.random.key(0)
    )
    np.testing.assert_allclose(found.images, np.broadcast_to(0.5 + budget, images.shape), atol=1e-6)


def judged(images):
    """A value with hills, and scores with ties in their first column."""
    phase = jnp.arange(len(images))[:, None, None, None] * 1.0
    value = wiggly(images, phase)
    level = jnp.round(4 * jnp.sin(40 * images.mean((1, 2, 3))))
    same = jnp.ones((len(images), 1), jnp.int32)
    return Judged(value, (jnp.stack([level, -value], 1), same))


def test_the_best_of_all_images_is_kept_by_value_and_by_each_score():
    images, start = random_images(4), random_images(4, seed=2)
    found = climbed(judged, images, threat=linf(0.2), steps=25, start=start)
    start, seen = np.clip(start, images - 0.2, images + 0.2), jax.jit(judged)
    scores, constant = (np.asarray(h) for h in found.history)
    assert found.values.shape == (26, 4)
    assert scores.shape == (26, 4, 2)
    assert constant.shape == (26, 4, 1)
    np.testing.assert_array_equal(found.value, found.values.max(0))
    np.testing.assert_allclose(seen(found.images).value, found.value, rtol=1e-5)
    best, first = found.kept
    for row in range(4):
        expected = max(map(tuple, scores[:, row]))
        assert tuple(np.asarray(best.score[row])) == expected
    np.testing.assert_allclose(seen(best.images).deciding[0], best.score, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(first.images, start)  # the earlier one where all are equal
    assert first.score.dtype == jnp.int32
    # The last image is not the best everywhere, or this would show nothing.
    assert (found.values[-1] < found.value).any()
    assert (best.score[:, 1] != -found.value).any()


def test_an_image_that_the_last_step_reaches_is_judged():
    images = jnp.full((1, 2, 2, 1), 0.5)
    found = climbed(lambda x: x.sum((1, 2, 3)), images, threat=linf(0.1), steps=1)
    np.testing.assert_allclose(found.images, 0.6, rtol=1e-6)
    np.testing.assert_allclose(found.values[:, 0], [2.0, 2.4], rtol=1e-6)
    still = climbed(lambda x: x.sum((1, 2, 3)), images, threat=linf(0.1), steps=0)
    np.testing.assert_array_equal(still.images, images)
    assert still.values.shape == (1, 1)


@cache
def compiled(norm):
    def climb(field, images, start):
        objective = inner_product(field)
        return adaptive_ascent(objective, images, threat=THREATS[norm], steps=6, start=start)

    return jax.jit(attacks.unchecked(climb))


@pytest.mark.parametrize("norm", THREATS)
def test_any_gradient_leads_to_an_allowed_image(norm):
    leads_to_an_allowed_image(compiled(norm), norm, steps=6)


@pytest.mark.parametrize("norm", THREATS)
def test_pixels_without_a_finite_gradient_stay_and_batch_mates_do_not_notice(norm):
    """A slope that is steep enough to be the best image's at the end."""

    def climb(field, spoilt):
        def objective(x):
            slope = inner_product(jnp.where(spoilt, jnp.nan, field))
            # The value rises, so that the last image is the one returned.
            return slope(x) + jax.lax.stop_gradient(jnp.where(spoilt, 0, field * x).sum((1, 2, 3)))

        images = jnp.full(SHAPE, 0.5)
        return adaptive_ascent(objective, images, threat=THREATS[norm], steps=6).images - images

    field = np.random.default_rng(0).choice([-1.0, 1.0], SHAPE).astype(np.float32)
    still = np.zeros(SHAPE, bool)
    still[1, 0, 1, 2] = still[1, 1, 0, 0] = True
    climb = jax.jit(attacks.unchecked(climb))
    change, expected = climb(field, still), climb(field, np.zeros(SHAPE, bool))
    np.testing.assert_array_equal(change[still], 0)
    np.testing.assert_array_equal(change[::2], expected[::2])
    assert (change[1] * field[1] > 0)[~still[1]].all()


def test_nan_never_wins():
    images = jnp.full((2, 2, 2, 1), 0.5)

    def objective(x):
        value = x.sum((1, 2, 3))
        bad = jnp.array([False, True]) & (value > 2.1)  # of the second image, beyond a height
        score = jnp.where(bad, jnp.nan, value)[:, None]
        return Judged(jnp.where(bad, jnp.nan, value), (score,))

    found = climbed(objective, images, threat=linf(0.1), steps=8)
    assert np.isnan(found.values[1, 1])
    np.testing.assert_allclose(found.value[0], 2.4, rtol=1e-6)
    assert 2 <= found.value[1] <= 2.1
    np.testing.assert_array_equal(found.kept[0].score[:, 0], found.value)
    np.testing.assert_allclose(found.images.sum((1, 2, 3)), found.value, rtol=1e-6)
    nothing = climbed(lambda x: x.sum((1, 2, 3)) * jnp.nan, images, threat=linf(0.1), steps=2)
    assert np.isnan(nothing.value).all()
    np.testing.assert_array_equal(nothing.images, images)


def test_a_number_wins_over_a_start_of_nan():
    found = climbed(
        lambda x: Judged(x.sum((1, 2, 3)), (jnp.where(x == 0.5, jnp.nan, x).reshape(1, 1),)),
        *(jnp.full((1, 1, 1, 1), 0.5),),
        threat=linf(0.1),
        steps=2,
    )
    np.testing.assert_allclose(found.kept[0].score, 0.6, rtol=1e-6)


@pytest.mark.slow
def test_neither_devices_nor_the_rest_of_a_batch_change_anything():
    weights = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    images = random_images(8)[:, :2, :2]
    target = jnp.ones((8, 5))
    keys = attacks.example_keys(jax.random.key(5), np.arange(8))

    def climb(images, target, keys):
        def objective(x):
            distance = ((jnp.tanh(x.reshape(-1, 12) @ weights) - target) ** 2).sum(1)
            return Judged(distance, (jnp.stack([jnp.round(distance), -distance], 1),))

        found = adaptive_ascent(objective, images, threat=linf(0.05), steps=9, key=keys)
        return found._replace(values=found.values.T, history=found.history[0].swapaxes(0, 1))

    fast = attacks.unchecked(climb)
    run = jax.jit(fast)
    whole, again = run(images, target, keys), run(images, target, keys)
    split = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), (images, target, keys))
    devices = jax.pmap(fast)(*split)
    order = np.array([5, 1, 3, 0, 2, 4, 7, 6])
    permuted = run(images[order], target[order], keys[order])
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    for other in (
        jax.tree.map(lambda x: x.reshape(8, *x.shape[2:]), devices),
        jax.tree.map(lambda x: x[np.argsort(order)], permuted),
    ):
        # Products of other shapes round differently, and a sign may turn where a gradient is tiny.
        np.testing.assert_allclose(other.values, whole.values, rtol=1e-3)
        np.testing.assert_allclose(other.images, whole.images, atol=2e-3)
        np.testing.assert_array_equal(other.step_size, whole.step_size)


def test_a_start_is_drawn_on_the_surface_of_the_ball():
    images, key = 0.4 + 0.2 * random_images(3), jax.random.key(2)
    for norm, threat in (("linf", linf(0.1)), ("l2", l2(0.5))):
        start = climbed(lambda x: x.mean((1, 2, 3)), images, threat=threat, steps=0, key=key).images
        change = np.asarray(start - images, np.float64).reshape(3, -1)
        if norm == "linf":
            np.testing.assert_allclose(np.abs(change).max(1), 0.1, rtol=1e-5)
            assert abs(np.abs(change).mean() - 0.05) < 0.005  # and not at its corners
        else:
            np.testing.assert_allclose(np.linalg.norm(change, axis=1), 0.5, rtol=1e-5)
        assert (np.abs(np.corrcoef(change)[np.triu_indices(3, 1)]) < 0.2).all()


def test_it_sets_out_anew_from_the_image_that_decides():
    """First towards the bright, then towards the dark, which is what decides all along."""

    def objective(x, sign):
        bright = x.mean((1, 2, 3))
        return Judged(sign * bright, (-jnp.abs(bright - 0.47)[:, None],))

    images = jnp.full((2, 2, 2, 1), 0.5)
    signs = jnp.where(jnp.arange(13) < 5, 1.0, -1.0)
    run = partial(climbed, objective, images, threat=linf(0.1), steps=12, per_step=signs)
    found = run(stages=(5,))
    # From the start (0.03 from 0.47) to 0.6, and back to the start for the second stage.
    np.testing.assert_allclose(found.values[:5, 0], [0.5, 0.6, 0.6, 0.6, 0.6], rtol=1e-6)
    np.testing.assert_allclose(found.values[5:7, 0], [-0.5, -0.4], rtol=1e-6)
    # Values of the first stage (0.6) do not count: they are of another scale.
    np.testing.assert_allclose(found.value, -0.4, rtol=1e-6)
    np.testing.assert_allclose(found.images, 0.4, rtol=1e-6)
    np.testing.assert_array_equal(found.kept[0].images, images)
    assert (run().step_size < found.step_size).all()  # the second stage began with a long step
    by_value = climbed(
        lambda x, sign: objective(x, sign).value,
        *(images,),
        threat=linf(0.1),
        steps=12,
        per_step=signs,
        stages=(5,),
    )
    np.testing.assert_allclose(by_value.values[5, 0], -0.6, rtol=1e-6)


def test_rows_that_are_done_stay_as_they_are():
    images, active = random_images(3), np.array([True, False, True])
    climb = attacks.unchecked(
        lambda start, active: adaptive_ascent(
            judged, images, threat=linf(0.2), steps=9, start=start, active=active
        )
    )
    run = jax.jit(climb)
    start = linf(0.2).project(random_images(3, seed=4), images)
    all_, some = run(start, np.ones(3, bool)), run(start, active)
    np.testing.assert_array_equal(some.images[1], start[1])
    np.testing.assert_array_equal(some.kept[0].images[1], start[1])
    np.testing.assert_array_equal(some.values[:, 1], np.full(10, some.value[1]))
    np.testing.assert_array_equal(some.images[active], all_.images[active])
    assert (all_.images[1] != start[1]).any()
    # A random start is for those that take part.
    drawn = climbed(
        lambda x: x.sum((1, 2, 3)),
        *(images,),
        threat=linf(0.2),
        steps=0,
        key=jax.random.key(0),
        active=active,
    )
    np.testing.assert_array_equal((drawn.images != images).any((1, 2, 3)), active)


def test_an_objective_of_minus_infinity_wins_nothing():
    images = random_images(2)
    found = climbed(
        lambda x: jnp.where(jnp.array([True, False]), -jnp.inf, x.sum((1, 2, 3))),
        *(images,),
        threat=linf(0.1),
        steps=4,
    )
    np.testing.assert_array_equal(found.images[0], images[0])
    assert found.images[1].sum() > images[1].sum()


def test_a_threat_of_ones_own_says_how_far_it_reaches():
    images = random_images(2)
    darker = Threat(  # pixels may only become darker, by a tenth at most
        random_start=lambda keys, x: x,
        project=lambda c, x: jnp.clip(jnp.nan_to_num(c, nan=0.5), jnp.maximum(x - 0.1, 0), x),
        steepest=jnp.sign,
        radius=lambda x: jnp.float32(0.1),
    )
    climb = partial(climbed, lambda x: -x.sum((1, 2, 3)), images, steps=3)
    found = climb(threat=darker, key=jax.random.key(0))
    np.testing.assert_allclose(found.images, jnp.maximum(images - 0.1, 0), atol=1e-6)
    with pytest.raises(InputError, match="threat must have a radius"):
        climb(threat=darker._replace(radius=None))


ASCENT = {
    "objective": lambda x: x.sum((1, 2, 3)),
    "images": np.full((2, 4, 2, 3), 0.5, np.float32),
    "threat": linf(0.1),
    "steps": 3,
}
BAD = {
    "objective": {
        "None": None,
        "a sum": lambda x: x.sum(),
        "integers": lambda x: x.sum((1, 2, 3)).astype(int),
        "a score of one axis": lambda x: Judged(x.sum((1, 2, 3)), (x.sum((1, 2, 3)),)),
        "no columns": lambda x: Judged(x.sum((1, 2, 3)), (jnp.zeros((2, 0)),)),
        "rows of another batch": lambda x: Judged(x.sum((1, 2, 3)), (jnp.zeros((3, 1)),)),
        "booleans": lambda x: Judged(x.sum((1, 2, 3)), (jnp.zeros((2, 1), bool),)),
        "text": lambda x: Judged(x.sum((1, 2, 3)), (np.array([["a"], ["b"]]),)),
        "no tuple": lambda x: Judged(x.sum((1, 2, 3)), None),
        "no value": lambda x: Judged(None, ()),
    },
    "images": {"0 to 255": np.full((2, 4, 2, 3), 99.0, np.float32), "None": None},
    "threat": {"a function": linf, "None": None},
    "steps": {"negative": -1, "a fraction": 2.5, "none": None},
    "start": {"shape": np.zeros((2, 4, 2, 1), np.float32)},
    "stages": {
        "beyond": (4,),
        "zero": (0,),
        "descending": (2, 1),
        "twice": (2, 2),
        "none": None,
        "one": 2,
    },
    "per_step": {"too few": np.zeros(3), "a number": 1.0},
    "active": {"shape": np.ones(3, bool), "floats": np.ones(2)},
}


@pytest.mark.parametrize(
    ("argument", "what"), [(name, what) for name, bad in BAD.items() for what in bad]
)
def test_bad_arguments_are_named(argument, what):
    with pytest.raises(InputError, match=argument.split("_")[0]) as caught:
        adaptive_ascent(**(ASCENT | {argument: BAD[argument][what]}))
    assert "\n" not in str(caught.value)


def test_a_start_and_a_key_exclude_each_other():
    with pytest.raises(InputError, match="either key"):
        adaptive_ascent(**ASCENT, key=jax.random.key(0), start=ASCENT["images"])
