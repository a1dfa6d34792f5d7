"""Named attacks against golden numbers, by hand, on bad input, and on any embedding."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden_attacks import recomputed, rows_with_a_gradient
from toy import WEIGHTS, features, random_embed, random_images, random_weights

from jaxreid import attacks
from jaxreid.errors import InputError
from jaxreid.models import ResNetConfig, create, embedding

EPS, STEP = 5 / 255, 1 / 255


def test_golden_numbers_are_all_reproduced_in_double_precision(golden):
    z = np.load(golden / "attacks.npz")
    with jax.enable_x64(True):
        ours = recomputed(z, np.float64)
        assert {f"adv_{name}" for name in ours} == {k for k in z if k.startswith("adv_")}
        for name, images in ours.items():
            rows = rows_with_a_gradient(z, name)
            assert rows.sum() >= 5
            np.testing.assert_allclose(
                images[rows], z[f"adv_{name}"][rows], rtol=0, atol=1e-9, err_msg=name
            )


@pytest.mark.slow
@pytest.mark.optimized
def test_golden_numbers_are_reproduced_in_single_precision(golden):
    z = np.load(golden / "attacks.npz")
    for name, images in recomputed(z, np.float32).items():
        rows = rows_with_a_gradient(z, name)
        close = np.abs(np.asarray(images)[rows] - z[f"adv_{name}"][rows]) < 1e-6
        assert close.mean() >= 0.999, name


def test_odfa_follows_its_paper_and_not_the_reference(golden):
    z = np.load(golden / "attacks.npz")
    weights = {name: jnp.asarray(z[name], np.float32) for name in WEIGHTS}
    x = jnp.asarray(z["images"], np.float32)

    def embed(images):
        return features(weights, images)

    def distance_to_opposite(images):
        return jnp.sum((embed(images) + embed(x)) ** 2, axis=1)

    ours, clean = distance_to_opposite(attacks.odfa(embed, x)), distance_to_opposite(x)
    reference = distance_to_opposite(jnp.asarray(z["adv_odfa"], np.float32))
    assert (ours < clean).all()
    assert (reference > clean).all()


def test_first_step_by_hand():
    # f(x) = A x with x of two pixels and two channels: the gradient is 2 A^T (A x - g).
    matrix = np.array([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]], np.float32)
    x = np.full((1, 1, 2, 2), 0.5, np.float32)

    def embed(images):
        return images.reshape(images.shape[0], 4) @ matrix.T

    push = np.array([[1.0, 1.5]], np.float32)
    gradient = 2 * matrix.T @ (matrix @ x.ravel() - push[0])
    expected = x.ravel() + np.sign(gradient) * np.float32(STEP)
    stepped = attacks.ifgsm(embed, x, push, steps=1)
    np.testing.assert_allclose(np.ravel(stepped), expected, rtol=0, atol=1e-7)
    # FGSM takes the whole budget at once, and pulling turns the sign around.
    np.testing.assert_allclose(
        np.ravel(attacks.fgsm(embed, x, push)), x.ravel() + np.sign(gradient) * EPS, atol=1e-7
    )
    np.testing.assert_allclose(
        np.ravel(attacks.fna(embed, x, None, push, steps=1)),
        x.ravel() - np.sign(gradient) * np.float32(STEP),
        atol=1e-7,
    )


def test_masked_guides_change_nothing_even_if_they_are_nan():
    embed, x = random_embed(), random_images(4)
    push = embed(random_images(4, seed=1))
    padded = jnp.stack([push, jnp.full_like(push, jnp.nan)], axis=1)
    mask = jnp.array([[True, False]] * 4)
    np.testing.assert_array_equal(
        attacks.ifgsm(embed, x, push), attacks.ifgsm(embed, x, padded, push_mask=mask)
    )


@pytest.mark.parametrize("key", [None, jax.random.key(0)], ids=["from x", "random start"])
def test_push_only_attack_leaves_an_image_without_guides_as_it_was(key):
    embed, x = random_embed(), random_images(3)
    push = embed(random_images(3, seed=1))[:, None]
    mask = jnp.array([[True], [False], [True]])
    for attack in (attacks.ifgsm, attacks.mifgsm):
        attacked = attack(embed, x, push, push_mask=mask, key=key)
        np.testing.assert_array_equal(attacked[1], x[1])
        assert not np.array_equal(attacked[0], x[0])


def test_fna_falls_back_to_pull_where_there_is_nothing_to_push_from():
    embed, x = random_embed(), random_images(3)
    push = embed(random_images(3, seed=1))[:, None]
    pull = embed(random_images(3, seed=2))
    attacked = attacks.fna(embed, x, push, pull, push_mask=jnp.zeros((3, 1), bool))
    np.testing.assert_array_equal(attacked, attacks.fna(embed, x, None, pull))


def nna_objective(embed, images, push, pull):
    """mean_p ||f - g_p||^2 - mean_n ||f - g_n||^2, [B], from differences."""
    f = embed(images)[:, None]
    away, towards = (((f - guides) ** 2).sum(2).mean(1) for guides in (push, pull))
    return away - towards


def test_nna_climbs_the_difference_of_two_means():
    embed, x = random_embed(), random_images(6)
    drawn = jnp.stack([random_images(6, seed=i) for i in range(1, 8)])

    @jax.jit
    def run(x, drawn):
        guides = jnp.stack([embed(images) for images in drawn], axis=1)
        push, pull = guides[:, :2], guides[:, 2:]

        def objective(images):
            f = embed(images)[:, None]
            return ((f - push) ** 2).sum(2).mean(1) - ((f - pull) ** 2).sum(2).mean(1)

        gradient = jax.grad(lambda images: objective(images).sum())(x)
        attacked, first, sums = (
            attack(embed, x, push, pull, steps=steps)
            for attack, steps in ((attacks.nna, 15), (attacks.nna, 1), (attacks.fna, 15))
        )
        return gradient, first, [nna_objective(embed, i, push, pull) for i in (x, attacked, sums)]

    gradient, first, (before, after, of_sums) = jax.tree.map(np.asarray, run(x, drawn))
    stepped = np.clip(x + np.sign(gradient) * np.float32(STEP), 0, 1)
    # A sign may differ where the gradient is rounding.
    assert np.mean(np.abs(first - stepped) < 1e-6) > 0.999
    assert (after > before).all()
    # Sums, which FNA climbs, of more pulls than pushes end lower on it.
    assert (after > of_sums).all()


def test_one_side_of_nna_alone_is_fna_of_that_side():
    embed, x = random_embed(), random_images(3)
    guides = jnp.stack([embed(random_images(3, seed=i)) for i in range(1, 5)], axis=1)
    # The sign of a gradient does not change with its scale: four guides, a power of two.
    np.testing.assert_array_equal(
        attacks.nna(embed, x, guides, None), attacks.fna(embed, x, guides, None)
    )
    np.testing.assert_array_equal(
        attacks.nna(embed, x, None, guides), attacks.fna(embed, x, None, guides)
    )
    with pytest.raises(InputError, match="push or pull"):
        attacks.nna(embed, x, None, None)


def test_one_mask_entry_per_image_serves_a_single_guide():
    embed, x = random_embed(), random_images(3)
    push = embed(random_images(3, seed=1))
    mask = jnp.array([True, False, True])
    np.testing.assert_array_equal(
        attacks.ifgsm(embed, x, push, push_mask=mask),
        attacks.ifgsm(embed, x, push[:, None], push_mask=mask[:, None]),
    )


def test_shared_clean_features_change_nothing():
    embed, x, key = random_embed(), random_images(3), jax.random.key(0)
    np.testing.assert_array_equal(
        attacks.sma(embed, x, key), attacks.sma(embed, x, key, clean_features=embed(x))
    )
    np.testing.assert_array_equal(
        attacks.odfa(embed, x), attacks.odfa(embed, x, clean_features=embed(x))
    )


def test_attacks_reach_their_aims():
    embed, x, key = random_embed(), random_images(6), jax.random.key(1)
    f = embed(x)
    push, pull = embed(random_images(6, seed=1)), embed(random_images(6, seed=2))

    def distance(images, guide):
        return jnp.sum((embed(images) - guide) ** 2, axis=1)

    baseline = distance(attacks.noise(x, key), f)
    assert (distance(attacks.sma(embed, x, key), f) > 10 * baseline).all()
    assert (distance(attacks.ifgsm(embed, x, push), push) > distance(x, push)).all()
    both = attacks.fna(embed, x, push, pull)
    assert (
        distance(both, push) - distance(both, pull) > distance(x, push) - distance(x, pull)
    ).all()


GOOD = {"images": random_images(2), "push": np.ones((2, 3, 16), np.float32)}
BAD = {
    "rank of images": ({"images": np.ones((16, 8, 3), np.float32)}, "[B,H,W,C], got [16,8,3]"),
    "integers": ({"images": np.ones((2, 16, 8, 3), np.uint8)}, "divide 8-bit images by 255"),
    "half precision": ({"images": jnp.ones((2, 16, 8, 3), jnp.bfloat16)}, "half precision"),
    "above 1": ({"images": np.full((2, 16, 8, 3), 1.5, np.float32)}, "[0, 1]"),
    "below 0": ({"images": np.full((2, 16, 8, 3), -0.5, np.float32)}, "[0, 1]"),
    "NaN images": ({"images": np.full((2, 16, 8, 3), np.nan, np.float32)}, "NaN"),
    "empty batch": (
        {"images": np.ones((0, 16, 8, 3), np.float32), "push": np.ones((0, 3, 16), np.float32)},
        "empty",
    ),
    "rows of guides": ({"push": np.ones((3, 1, 16), np.float32)}, "one row per image: got 3"),
    "rank of guides": ({"push": np.ones(16, np.float32)}, "push must have shape [B,G,D]"),
    "dimension": ({"push": np.ones((2, 3, 15), np.float32)}, "must return [B,D] = [2, 15]"),
    "integer guides": ({"push": np.ones((2, 3, 16), np.int32)}, "floating point"),
    "NaN guides": ({"push": np.full((2, 3, 16), np.nan, np.float32)}, "finite"),
    "shape of mask": ({"push_mask": np.ones((2, 4), bool)}, "push_mask must have shape [B,G]"),
    "NaN behind a mask": (
        {"push": np.full((2, 3, 16), np.nan, np.float32), "push_mask": np.ones((2, 3), bool)},
        "where their mask is set",
    ),
    "negative eps": ({"eps": -1 / 255}, "eps must lie in [0, 1]"),
    "NaN eps": ({"eps": np.nan}, "eps must lie in [0, 1]"),
    "eps in grey levels": ({"eps": 5}, "five grey levels are 5/255"),
    "shape of eps": ({"eps": np.full(2, 0.01)}, "eps must broadcast"),
    "integer guides with a mask": (
        {"push": np.ones((2, 3, 16), np.int32), "push_mask": np.ones((2, 3), bool)},
        "push must be floating point",
    ),
    "list of images": ({"images": [[0.5]]}, "images must be an array of shape [B,H,W,C]"),
    "seed for a key": ({"key": 0}, "key must be a JAX random key"),
    "NaN start": ({"start": np.full((2, 16, 8, 3), np.nan, np.float32)}, "start must be finite"),
    "rows of step": ({"step_size": np.full((3, 1, 1, 1), 0.01)}, "must broadcast to [2, 16, 8, 3]"),
    "rank of step": ({"step_size": np.full((1,) * 5, 0.01)}, "the rule must return a step shaped"),
    "negative step": ({"step_size": -0.1}, "step_size"),
    "NaN step": ({"step_size": np.nan}, "step_size"),
    "negative steps": ({"steps": -1}, "steps must be at least 0"),
    "fractional steps": ({"steps": 1.5}, "steps must be an integer"),
    "shape of start": ({"start": np.ones((2, 8, 8, 3), np.float32)}, "start must be shaped"),
    "start and key": ({"start": GOOD["images"], "key": jax.random.key(0)}, "not both"),
    "number of keys": ({"key": jax.random.split(jax.random.key(0), 3)}, "3 keys for 2 rows"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(change, message):
    arguments = GOOD | change
    with pytest.raises(InputError, match=re.escape(message)):
        attacks.ifgsm(random_embed(), **arguments)


def test_steps_and_decay_may_come_from_numpy():
    embed, x = random_embed(), random_images(2)
    push, decay = embed(random_images(2, seed=1)), np.full((2, 1, 1, 1), 0.5, np.float32)
    np.testing.assert_array_equal(
        attacks.mifgsm(embed, x, push, steps=np.int64(3), decay=decay),
        attacks.mifgsm(embed, x, push, steps=3, decay=0.5),
    )


def test_bad_shapes_are_found_at_trace_time():
    with pytest.raises(InputError, match="one row per image"):
        jax.jit(lambda x, g: attacks.ifgsm(random_embed(), x, g))(
            random_images(2), jnp.ones((3, 1, 16))
        )


def test_missing_guides_and_keys_are_named():
    embed, x = random_embed(), random_images(2)
    with pytest.raises(InputError, match="push or pull"):
        attacks.fna(embed, x, None, None)
    with pytest.raises(InputError, match="needs key"):
        attacks.sma(embed, x)
    with pytest.raises(InputError, match=r"pull must have shape \[B,N,D\]"):
        attacks.fna(embed, x, np.ones((2, 16), np.float32), np.ones((2, 15), np.float32))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(16)(jnp.tanh(nn.Conv(8, (3, 3), 2)(x)).mean((1, 2)))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.dense = nnx.Linear(8, 16, rngs=rngs)

    def __call__(self, x):
        return self.dense(jnp.tanh(self.norm(self.conv(x))).mean((1, 2)))


def linen_embed():
    net = LinenNet()
    variables = net.init(jax.random.key(0), random_images(1))
    return lambda x: net.apply(variables, x)


def nnx_embed():
    return NnxNet(nnx.Rngs(0))


def bfloat16_embed():
    weights = random_weights(0, jnp.bfloat16)
    return lambda x: features(weights, x.astype(jnp.bfloat16))


EMBEDS = {
    "plain": random_embed,
    "linen": linen_embed,
    "nnx": nnx_embed,
    "bfloat16": bfloat16_embed,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EMBEDS)
def test_any_embedding_can_be_attacked(kind):
    embed, x = EMBEDS[kind](), random_images(4)
    push, pull = embed(random_images(4, seed=1)), embed(random_images(4, seed=2))
    before = embed(x)

    @jax.jit
    def attack(x):
        return attacks.fna(embed, x, push, pull), attacks.sma(embed, x, jax.random.key(0))

    for images in attack(x):
        assert images.dtype == jnp.float32
        assert jnp.abs(images - x).max() <= 5 / 255 + 1e-7
        moved = jnp.linalg.norm((embed(images) - before).astype(jnp.float32), axis=1)
        assert (moved > 0).all()
    # The attack left the model as it was.
    np.testing.assert_array_equal(embed(x), before)


def test_nnx_model_in_pieces_can_be_attacked():
    graphdef, state = nnx.split(nnx_embed())
    x = random_images(2)

    def embed(images):
        return nnx.merge(graphdef, state, copy=True)(images)

    attacked = jax.jit(lambda x: attacks.sma(embed, x, jax.random.key(0)))(x)
    np.testing.assert_allclose(
        attacked, attacks.sma(nnx_embed(), x, jax.random.key(0)), rtol=0, atol=1e-6
    )


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        embed, x = random_embed(dtype=np.float64), random_images(2, dtype=np.float64)
        push = embed(random_images(2, seed=1, dtype=np.float64))
        images = attacks.ifgsm(embed, x, push)
        assert images.dtype == jnp.float64
        assert jnp.abs(images - x).max() <= 5 / 255 + 1e-15


def test_features_that_leave_the_dtype_when_they_are_squared_are_refused_for_that_reason():
    small, x = random_embed(), random_images(2)
    push, pull = small(random_images(2, seed=1)), small(random_images(2, seed=2))
    large = 1e25
    with pytest.raises(InputError, match="squares leave the range of their dtype"):
        attacks.fna(lambda z: small(z) * large, x, push * large, pull * large, steps=1)
    # Where squares fit, a scale changes no sign of a gradient: not the attack either.
    large = 2.0**40
    scaled = attacks.fna(lambda z: small(z) * large, x, push * large, pull * large, steps=1)
    np.testing.assert_array_equal(scaled, attacks.fna(small, x, push, pull, steps=1))


SHAPE = ResNetConfig(depths=(1, 1), widths=(4, 8), stem_width=4)


def network(dtype):
    """A small ResNet whose BatchNorm has something to fold."""
    model = create(SHAPE, head="none", rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)

    def drawn(path, leaf):
        name = str(path[-1])
        if leaf.ndim == 1:
            low, high = (0.5, 1.5) if "mean" not in name and "bias" not in name else (-0.1, 0.1)
            leaf = rng.uniform(low, high, leaf.shape)
        return jnp.asarray(leaf, dtype)

    graph, state = nnx.split(model)
    state = jax.tree.map_with_path(drawn, state)
    return embedding(nnx.merge(graph, state))


def unit(embed):
    def normalised(images):
        features = embed(images)
        return features / jnp.linalg.norm(features, axis=1, keepdims=True)

    return normalised


def first_step(embed, images):
    """Signs of the first step from the random start."""
    key = jax.random.key(5)
    start = attacks.noise(images, key)
    stepped = attacks.odfa(unit(embed), images, key=key, steps=1, eps=5 / 255)
    return np.sign(np.round((np.asarray(stepped, np.float64) - np.asarray(start)) * 255, 2))


@pytest.mark.slow
@pytest.mark.optimized
def test_single_double_precision_and_frozen_networks_agree():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (3, 32, 16, 3)).astype(np.float32)
    embed = network(np.float32)
    plain, frozen = first_step(embed, images), first_step(embed.frozen(), images)
    with jax.enable_x64(True):
        double = first_step(network(np.float64), images.astype(np.float64))
    assert (plain != 0).mean() > 0.9
    assert (plain == frozen).mean() > 0.99
    assert (plain == double).mean() > 0.99


def test_without_a_start_it_is_refused_where_its_gradient_is_noise(kind):
    images = np.random.default_rng(0).uniform(size=(3, 8, 4, 3)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(96, 8)).astype(np.float32)

    def embed(x):
        return x.reshape(len(x), -1) @ weights

    with pytest.raises(InputError, match="odfa needs key") as caught:
        attacks.odfa(unit(embed), images)
    kind("odfa on unit-length features without key", f"InputError: {caught.value}")
    attacks.odfa(embed, images)
    attacks.odfa(unit(embed), images, start=images + 0.01)
    found = attacks.odfa(unit(embed), images, key=jax.random.key(0))
    noise = attacks.noise(images, jax.random.key(0))

    def turned(x):
        return 1 - jnp.sum(unit(embed)(x) * unit(embed)(images), axis=1)

    assert (turned(found) > 3 * turned(noise)).all()
