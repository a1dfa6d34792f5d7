"""Every form of attack under every transformation, from the one table."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import features, random_embed, random_images, random_weights

from jaxreid import attacks
from jaxreid.attacks import (
    ATTACKS,
    AttackInput,
    example_keys,
    l2,
    linf,
    projected_ascent,
    signed_guides,
    steepest_step,
)
from jaxreid.errors import InputError

BATCH, GUIDES = 8, 3
# One for each rule, start, own guide, number of steps and kind of mean; the others differ in who
# guides.
FORMS = ("noise", "fgsm", "mifgsm_multi", "sma", "odfa", "fna", "nna")
MAPPED = ("mifgsm_multi", "sma")
STEPS = 3


def attack_input(batch=BATCH, dtype=np.float32, **changes):
    """Guides with one padded row, keys per example, few steps."""
    rng = np.random.default_rng(3)
    mask = np.ones((batch, GUIDES), bool)
    mask[1, 1:] = False
    base = AttackInput(
        push=jnp.asarray(rng.normal(size=(batch, GUIDES, 16)), dtype),
        push_mask=jnp.asarray(mask),
        pull=jnp.asarray(rng.normal(size=(batch, 1, 16)), dtype),
        key=example_keys(jax.random.key(7), jnp.arange(batch)),
        steps=STEPS,
    )
    return base._replace(**changes)


def rows(given, index):
    """The same input for some of the rows."""
    arrays = {n: getattr(given, n)[index] for n in ("push", "push_mask", "pull", "key")}
    return given._replace(**arrays)


def run(name, x, given, weights=None, **changes):
    """The attack on the toy embedding."""
    embed = partial(features, random_weights(0) if weights is None else weights)
    return ATTACKS[name].run(embed, x, given._replace(**changes))


@cache
def compiled(name):
    """(images, push, push_mask, pull, key, eps, weights) -> images, compiled once per attack."""

    def attack(x, push, push_mask, pull, key, eps, weights):
        given = AttackInput(push, push_mask, pull, None, key, eps, steps=STEPS)
        return run(name, x, given, weights)

    return jax.jit(attack)


def arguments(x, given, eps=5 / 255, seed=0):
    return (x, given.push, given.push_mask, given.pull, given.key, eps, random_weights(seed))


def form(spec):
    return spec.rule, spec.start, spec.own, spec.iterative, spec.averages


def test_every_form_is_tried():
    assert {form(ATTACKS[name]) for name in FORMS} == set(map(form, ATTACKS.values()))
    assert len({form(ATTACKS[name]) for name in FORMS}) == len(FORMS)


@pytest.mark.parametrize("name", FORMS)
class TestEveryForm:
    def test_jit_equals_eager_and_changes_no_input(self, name):
        x, given = random_images(BATCH), attack_input()
        before = np.array(x)
        eager = run(name, x, given)
        np.testing.assert_allclose(compiled(name)(*arguments(x, given)), eager, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(x, before)
        assert not np.array_equal(eager, before)

    @pytest.mark.slow
    def test_ascend_is_run_with_what_happened_on_the_way(self, name):
        x, given, embed = random_images(4), attack_input(4), random_embed()
        for threat in (linf, l2):
            asked = given._replace(threat=threat)
            ascent = ATTACKS[name].ascend(embed, x, asked)
            np.testing.assert_array_equal(ascent.images, ATTACKS[name].run(embed, x, asked))
            steps = {"noise": 0, "fgsm": 1, "fgsm_multi": 1}.get(name, STEPS)
            assert ascent.objective.shape == (steps, 4)
            np.testing.assert_array_equal(ascent.nonfinite_steps, np.zeros(4))
            np.testing.assert_array_equal(ascent.zero_steps, np.zeros(4))

    def test_is_deterministic(self, name):
        once, again = (compiled(name)(*arguments(random_images(4), attack_input(4))) for _ in "12")
        np.testing.assert_array_equal(once, again)

    def test_vmap_over_eps_equals_a_loop(self, name):
        x, given = random_images(BATCH), attack_input()
        budgets = jnp.array([0.0, 0.01, 0.02])
        swept = jax.vmap(lambda eps: compiled(name)(*arguments(x, given, eps)))(budgets)
        for eps, images in zip(budgets, swept, strict=True):
            looped = compiled(name)(*arguments(x, given, eps))
            np.testing.assert_allclose(images, looped, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(swept[0], x)

    def test_rows_are_independent(self, name):
        x, given = random_images(BATCH), attack_input()
        whole = compiled(name)(*arguments(x, given))
        order = np.random.default_rng(0).permutation(BATCH)
        permuted = compiled(name)(*arguments(x[order], rows(given, order)))
        np.testing.assert_allclose(permuted, whole[order], rtol=0, atol=1e-6)
        for part in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH)):
            split = compiled(name)(*arguments(x[part], rows(given, part)))
            np.testing.assert_allclose(split, whole[part], rtol=0, atol=1e-6)

    def test_stays_in_the_l2_ball_and_in_range(self, name):
        x = random_images(BATCH)
        images = run(name, x, attack_input(threat=l2, eps=0.5, step_size=0.2))
        change = (np.asarray(images, np.float64) - x).reshape(BATCH, -1)
        assert images.min() >= 0
        assert images.max() <= 1
        lengths = np.linalg.norm(change, axis=1)
        assert lengths.max() <= 0.5 + 1e-6
        assert lengths.max() > 0.1

    def test_stays_in_budgets_per_image_and_per_channel(self, name):
        x = random_images(BATCH)
        eps = jnp.linspace(0, 0.03, BATCH)[:, None, None, None] * jnp.array([0.0, 0.5, 1.0])
        images = run(name, x, attack_input(eps=eps, step_size=eps / 2))
        change = np.abs(np.asarray(images - x))
        assert (change <= eps + 1e-7).all()
        assert change.max() > 0.009

    def test_one_compilation_serves_a_sweep_over_eps(self, name):
        x, given = random_images(BATCH), attack_input()
        compiled(name)(*arguments(x, given, 0.5))
        before = compiled(name)._cache_size()
        for grey_levels in range(6):
            compiled(name)(*arguments(x, given, grey_levels / 255))
        assert compiled(name)._cache_size() == before


@pytest.mark.parametrize("name", MAPPED)
class TestTransformations:
    def test_vmap_over_restarts_equals_a_loop(self, name):
        x, given = random_images(BATCH), attack_input()
        restarts = jnp.stack([given.key, example_keys(jax.random.key(8), jnp.arange(BATCH))])
        swept = jax.vmap(lambda key: compiled(name)(*arguments(x, given._replace(key=key))))(
            restarts
        )
        for key, images in zip(restarts, swept, strict=True):
            looped = compiled(name)(*arguments(x, given._replace(key=key)))
            np.testing.assert_allclose(images, looped, rtol=0, atol=1e-6)
        assert np.array_equal(swept[0], swept[1]) != (ATTACKS[name].start == "random")

    def test_vmap_over_models_equals_a_loop(self, name):
        x, given = random_images(BATCH), attack_input()
        models = [random_weights(seed) for seed in (0, 1)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
        swept = jax.vmap(lambda weights: compiled(name)(*arguments(x, given)[:-1], weights))(
            stacked
        )
        for seed, images in enumerate(swept):
            looped = compiled(name)(*arguments(x, given, seed=seed))
            np.testing.assert_allclose(images, looped, rtol=0, atol=1e-6)

    def test_gradient_through_it_is_finite(self, name):
        x, given = random_images(BATCH) * 0.8 + 0.1, attack_input()
        embed = random_embed()

        def loss(x):
            return jnp.sum(embed(compiled(name)(*arguments(x, given))) ** 2)

        gradient = jax.grad(loss)(x)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0

    def test_pmap_equals_one_device(self, name):
        devices = jax.local_device_count()
        assert devices >= 4
        x, given = random_images(BATCH), attack_input()

        def shard(array):
            return array.reshape(devices, BATCH // devices, *array.shape[1:])

        *arrays, eps, weights = arguments(x, given)
        spread = jax.pmap(compiled(name), in_axes=(0,) * 5 + (None, None))(
            *map(shard, arrays), eps, weights
        )
        whole = compiled(name)(*arguments(x, given))
        np.testing.assert_allclose(spread.reshape(x.shape), whole, rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FORMS),
    eps=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_budget_is_kept(name, eps, seed):
    x, given_ = (
        random_images(BATCH, seed),
        attack_input(key=jax.random.split(jax.random.key(seed), BATCH)),
    )
    images = compiled(name)(*arguments(x, given_, eps))
    assert images.min() >= 0
    assert images.max() <= 1
    assert np.abs(np.asarray(images, np.float64) - x).max() <= eps + 1e-7


def test_iterative_says_who_takes_steps():
    assert not ATTACKS["fgsm"].iterative
    assert not ATTACKS["noise"].iterative
    assert ATTACKS["fna"].iterative


def test_ablations_ignore_the_guides_they_go_without():
    x, embed, given = random_images(BATCH), random_embed(), attack_input()
    nan = jnp.full_like(given.pull, jnp.nan)
    np.testing.assert_array_equal(
        ATTACKS["fna_without_pull"].run(embed, x, given._replace(pull=nan)),
        ATTACKS["ifgsm_multi"].run(embed, x, given),
    )


@pytest.mark.parametrize(
    "name", ["fgsm", "ifgsm_multi", "sma", "odfa", "fna", "fna_without_push", "nna"]
)
def test_guides_are_those_of_the_objective_it_climbs(name):
    x, embed, attack = random_images(BATCH), random_embed(), ATTACKS[name]
    given = attack_input(clean_features=embed(x))
    eps = given.eps
    rule = steepest_step(jnp.sign, given.step_size if attack.iterative else eps)
    climbed = projected_ascent(
        signed_guides(embed, attack.guides(given)),
        x,
        threat=linf(eps),
        rule=rule,
        steps=STEPS if attack.iterative else 1,
        key=given.key if attack.start == "random" else None,
    )
    np.testing.assert_allclose(climbed.images, attack.run(embed, x, given), rtol=0, atol=1e-6)


def test_nna_weighs_each_side_one_however_many_guides_it_has():
    given = attack_input(4, pull=jnp.ones((4, 5, 16)))
    pull_mask = np.ones((4, 5), bool)
    pull_mask[2, 2:], pull_mask[3] = False, False
    weights = np.asarray(ATTACKS["nna"].guides(given._replace(pull_mask=pull_mask)).weights)
    np.testing.assert_allclose(weights[0], [1 / 3] * 3 + [-1 / 5] * 5, rtol=1e-6)
    np.testing.assert_allclose(weights[1], [1, 0, 0] + [-1 / 5] * 5, rtol=1e-6)
    np.testing.assert_allclose(weights[2], [1 / 3] * 3 + [-1 / 2] * 2 + [0] * 3, rtol=1e-6)
    np.testing.assert_allclose(weights[3], [1 / 3] * 3 + [0] * 5, rtol=1e-6)
    alone = ATTACKS["nna"].guides(given._replace(pull=None)).weights
    np.testing.assert_allclose(alone[1], [1, 0, 0], rtol=1e-6)
    # FNA counts each guide.
    np.testing.assert_array_equal(ATTACKS["fna"].guides(given).weights[0], [1] * 3 + [-1] * 5)


def test_decay_and_a_start_can_be_given_to_every_attack():
    x, embed, given = random_images(BATCH), random_embed(), attack_input()
    start = x + 0.01
    for name in ("noise", "sma", "odfa", "fna"):
        found = ATTACKS[name].run(embed, x, given._replace(start=start, key=None, steps=0))
        np.testing.assert_array_equal(found, linf(given.eps).project(start, x))
    np.testing.assert_array_equal(
        ATTACKS["mifgsm"].run(embed, x, given._replace(decay=0.5)),
        attacks.mifgsm(embed, x, given.push, push_mask=given.push_mask, steps=STEPS, decay=0.5),
    )
    np.testing.assert_array_equal(
        ATTACKS["ifgsm"].run(embed, x, given._replace(start=start)),
        attacks.ifgsm(embed, x, given.push, push_mask=given.push_mask, steps=STEPS, start=start),
    )
    for name in ("sma", "noise"):
        with pytest.raises(InputError, match="not both"):
            ATTACKS[name].run(embed, x, given._replace(start=start))
        with pytest.raises(InputError, match=r"needs key \(or start\)"):
            ATTACKS[name].run(embed, x, given._replace(key=None))


def test_odfa_starts_at_random_on_unit_length_only():
    assert ATTACKS["odfa"].starts_at_random(unit_length=True)
    assert not ATTACKS["odfa"].starts_at_random(unit_length=False)
    assert ATTACKS["sma"].starts_at_random(unit_length=False)
    assert not ATTACKS["fna"].starts_at_random(unit_length=True)


def test_noise_has_no_objective_and_a_missing_own_feature_is_named():
    assert ATTACKS["noise"].guides(attack_input()) is None
    with pytest.raises(InputError, match="clean_features"):
        ATTACKS["sma"].guides(attack_input())
