"""The loop: parts of one's own, and gradients that are NaN, infinite, huge, tiny or zero."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gradients import EPS, SHAPE, THREATS, leads_to_an_allowed_image
from toy import inner_product, random_embed, random_images

from jaxreid import attacks
from jaxreid.attacks import ATTACKS, AttackInput, Threat, l2, linf
from jaxreid.errors import InputError

THREAT = attacks.linf(4 / 255)
RULE = attacks.steepest_step(THREAT.steepest, 1 / 255)


def brightness(images):
    return images.mean((1, 2, 3))


def test_own_objective_rule_and_threat_in_a_few_lines():
    embed, x = random_embed(), random_images(3)
    target = embed(random_images(3, seed=1))

    def similarity(images):
        f = embed(images)
        norms = jnp.linalg.norm(f, axis=1) * jnp.linalg.norm(target, axis=1)
        return (f * target).sum(1) / norms

    rule = optax.chain(optax.scale_by_adam(), attacks.steepest_step(jnp.sign, 1 / 255))
    ascent = attacks.projected_ascent(similarity, x, threat=THREAT, rule=rule, steps=10)
    assert ascent.objective.shape == (10, 3)
    assert (similarity(ascent.images) > ascent.objective[0]).all()
    assert jnp.abs(ascent.images - x).max() <= 4 / 255 + 1e-7


def test_objective_values_are_those_where_each_step_set_out():
    x = random_images(2) * 0.5 + 0.2
    ascent = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=3)
    expected = [brightness(x + step / 255) for step in range(3)]
    np.testing.assert_allclose(ascent.objective, expected, rtol=1e-5)
    np.testing.assert_allclose(ascent.images, x + 3 / 255, atol=1e-6)


def test_projection_stops_at_the_budget():
    x = random_images(2) * 0.5 + 0.2
    ascent = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=9)
    np.testing.assert_allclose(ascent.images, x + 4 / 255, atol=1e-7)


def test_no_steps_return_the_projected_start():
    x = random_images(2) * 0.5 + 0.2
    still = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=0)
    np.testing.assert_array_equal(still.images, x)
    assert still.objective.shape == (0, 2)
    far = attacks.projected_ascent(brightness, x, threat=THREAT, rule=RULE, steps=0, start=x + 1)
    np.testing.assert_allclose(far.images, x + 4 / 255, atol=1e-7)


def test_random_start_depends_on_the_example_and_not_on_the_batch():
    x, key = random_images(6), jax.random.key(0)

    def start(images, keys):
        return attacks.projected_ascent(
            brightness, images, threat=THREAT, rule=RULE, steps=0, key=keys
        ).images

    whole = start(x, key)
    keys = attacks.example_keys(key, np.arange(6))
    np.testing.assert_array_equal(whole, start(x, keys))
    np.testing.assert_array_equal(whole[4:], start(x[4:], keys[4:]))
    order = np.array([3, 0, 5])
    np.testing.assert_array_equal(whole[order], start(x[order], keys[order]))


def test_legacy_keys_work_too():
    x = random_images(2)
    old, new = jax.random.PRNGKey(0), jax.random.key(0)
    np.testing.assert_array_equal(attacks.noise(x, old), attacks.noise(x, new))
    keys = attacks.example_keys(old, np.arange(2))
    np.testing.assert_array_equal(attacks.noise(x, old), attacks.noise(x, keys))


def test_objective_of_the_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"the objective must return \[B\] = \[2\]"):
        attacks.projected_ascent(
            lambda x: x.sum(), random_images(2), threat=THREAT, rule=RULE, steps=1
        )


STEP = 1 / 255


def rule_of(name, threat):
    return {
        "steepest": attacks.steepest_step(threat.steepest, 0.05),
        "momentum": attacks.momentum_step(threat.steepest, 0.05, 1.0),
        "plain": optax.scale(1.0),
        "adam": optax.scale_by_adam(),
        # A rule that does harm of its own.
        "broken": optax.stateless(lambda g, _: jnp.where(g > 0, jnp.nan, jnp.inf * g)),
    }[name]


RULES = ("steepest", "momentum", "plain", "adam", "broken")


@cache
def compiled(norm, rule):
    threat = THREATS[norm]

    def climb(field, images, start):
        return attacks.projected_ascent(
            inner_product(field),
            images,
            threat=threat,
            rule=rule_of(rule, threat),
            steps=3,
            start=start,
        )

    return jax.jit(attacks.unchecked(climb))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", THREATS)
def test_any_gradient_leads_to_an_allowed_image(norm, rule):
    leads_to_an_allowed_image(compiled(norm, rule), norm, steps=3)


@pytest.mark.parametrize("rule", ["steepest", "momentum", "plain", "adam"])
@pytest.mark.parametrize("norm", THREATS)
def test_only_pixels_with_such_a_gradient_stay_and_batch_mates_do_not_notice(norm, rule):
    images = np.full(SHAPE, 0.5, np.float32)
    field = np.random.default_rng(0).choice([-1.0, 1.0], SHAPE).astype(np.float32)
    still = np.zeros(SHAPE, bool)
    still[1, 0, 1, 2] = still[1, 1, 0, 0] = True
    wrong = np.where(still, np.float32(np.nan), field)
    wrong[1, 1, 0, 0] = np.inf
    climb = partial(compiled(norm, rule), images=images, start=images)
    change, expected = (np.asarray(climb(g).images) - images for g in (wrong, field))
    np.testing.assert_array_equal(change[still], 0)
    np.testing.assert_array_equal(change[[0, 2]], expected[[0, 2]])
    assert (change[1] * field[1] > 0)[~still[1]].all()


@pytest.mark.parametrize("size", [3e38, 1e30, 1.0, 1e-30, 2e-38])
def test_the_size_of_a_gradient_does_not_matter_to_a_direction(size):
    field = np.random.default_rng(1).uniform(0.7, 1.1, SHAPE).astype(np.float32)
    field *= np.random.default_rng(2).choice([-1, 1], SHAPE)
    scaled = (np.float64(size) * field / 1.2).astype(np.float32) if size > 1 else size * 2 * field
    direction = field / np.linalg.norm(field.reshape(3, -1), axis=1)[:, None, None, None]
    np.testing.assert_allclose(l2(1.0).steepest(jnp.asarray(scaled)), direction, rtol=1e-5)
    np.testing.assert_array_equal(linf(1.0).steepest(jnp.asarray(scaled)), np.sign(field))
    normalised, _ = attacks.l1_normalize().update(jnp.asarray(scaled), None)
    expected = field / np.abs(field).sum((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(normalised, expected, rtol=1e-5)


@pytest.mark.parametrize("norm", THREATS)
def test_projections_take_any_candidate(norm):
    images = np.full((1, 1, 2, 2), 0.5, np.float32)
    project = THREATS[norm].project
    nothing = np.full_like(images, np.nan)
    np.testing.assert_array_equal(project(nothing, images), images)
    for huge in (np.inf, 3e38, 1e25):
        candidates = np.array([[[[huge, 0.5], [-huge, 0.5]]]], np.float32)
        reach = EPS if norm == "linf" else 0.3 / np.sqrt(2)
        expected = images + np.float32([[[[reach, 0], [-reach, 0]]]])
        np.testing.assert_allclose(project(candidates, images), expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_random_start_is_the_same_in_single_and_double_precision(dtype):
    with jax.enable_x64(True):
        key = jax.random.key(3)
        for norm in (linf, l2):
            images = random_images(3, dtype=dtype)
            found = attacks.noise(images, key, eps=0.02, threat=norm)
            assert found.dtype == dtype
            single = attacks.noise(random_images(3), key, eps=0.02, threat=norm)
            np.testing.assert_allclose(found, single, rtol=0, atol=1e-6)


WEIGHTS = np.random.default_rng(0).normal(size=(16 * 8 * 3, 6)).astype(np.float32)


def divided_by_length(images):
    """Finite at a black image, where the derivative of the length is 0/0."""
    features = images.reshape(len(images), -1) @ WEIGHTS
    return features / (jnp.linalg.norm(features, axis=1, keepdims=True) + 1e-12)


def deviation(images):
    """Standard deviation pooling of a constant image."""
    return jnp.sqrt(jnp.var(images, axis=(1, 2)))


def generalised_mean(images):
    """GeM with p < 1 at a black pixel."""
    return jnp.mean(images**0.5, axis=(1, 2)) ** 2


UNSAFE = {"length": divided_by_length, "deviation": deviation, "GeM": generalised_mean}


def guides_of(embed, batch):
    push = embed(random_images(batch, seed=5))
    return AttackInput(push=push, pull=embed(random_images(batch, seed=6)), steps=3)


@pytest.mark.parametrize("norm", [linf, pytest.param(l2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("unsafe", UNSAFE)
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_survives_a_black_image(name, unsafe, norm, kind):
    embed, attack = UNSAFE[unsafe], ATTACKS[name]
    # From the black image itself, as far as the attack goes from there.
    from_x = name in ("fgsm", "fna", "mifgsm", "fna_without_push")
    if name not in ("sma", "noise", "odfa") and not from_x:
        return
    clean = (0.1 + 0.8 * random_images(3)).at[1].set(0)
    assert np.isfinite(embed(clean)).all()
    given_ = guides_of(embed, 3)._replace(threat=norm, key=jax.random.key(0))
    if attack.starts_at_random(unit_length=True):
        attack = attack._replace(start="random")
    found = jax.jit(attacks.unchecked(lambda x: attack.ascend(embed, x, given_)))(clean)
    result = np.asarray(found.images)
    assert ((result >= 0) & (result <= 1)).all()
    if from_x:
        np.testing.assert_array_equal(found.nonfinite_steps > 0, [False, True, False])
        kind("a NaN gradient at one image, in an attack", "its pixels stay; Ascent counts it")
    if from_x and unsafe != "GeM":
        np.testing.assert_array_equal(result[1], clean[1])
    assert (np.abs(result - clean).max((1, 2, 3)) > 1e-4)[[0, 2]].all()


def test_unguided_images_do_not_count():
    images = random_images(3).at[1].set(0)
    mask = jnp.array([[True], [False], [True]])
    given_ = guides_of(divided_by_length, 3)._replace(pull=None, push_mask=mask)
    given_ = given_._replace(push=given_.push[:, None])
    found = ATTACKS["ifgsm"].ascend(divided_by_length, images, given_)
    np.testing.assert_array_equal(found.nonfinite_steps, 0)
    np.testing.assert_array_equal(found.zero_steps, 0)


def test_a_guide_that_is_the_image_itself_gives_no_gradient_and_is_counted():
    images = random_images(2)

    def embed(x):
        return x.reshape(len(x), -1)[:, :5]

    given_ = AttackInput(push=embed(images), steps=2)
    for name in ("fgsm", "ifgsm", "mifgsm"):
        found = ATTACKS[name].ascend(embed, images, given_)
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.zero_steps, [1, 1] if name == "fgsm" else [2, 2])


def test_a_threat_of_ones_own_is_a_threat():
    threat = Threat(lambda k, x: x, lambda c, x: jnp.clip(c, 0, 1), jnp.sign)
    found = attacks.ifgsm(
        deviation,
        random_images(2),
        np.zeros((2, 3), np.float32),
        steps=1,
        threat=lambda eps: threat,
    )
    assert found.shape == (2, 16, 8, 3)
