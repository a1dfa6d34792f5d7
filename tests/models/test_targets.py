"""Programs lowered for an accelerator, on a machine without one, have that accelerator's forms."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxreid import attacks
from jaxreid.errors import InputError
from jaxreid.models import ResNetConfig, create, embedding

# In the second stage the 3x3 convolutions are wide enough for Winograd's products.
CONFIG = ResNetConfig(depths=(1, 2), widths=(8, 128), expansion=2, stem_width=8)
STRIDED_1X1 = 1
AS_WRITTEN = 1 + 3 + STRIDED_1X1  # the stem, a 3x3 per block, and a shortcut with a stride
PRODUCTS = 2 * 3 + 1  # the other 1x1 convolutions, the shortcut of the first block included
WINOGRADS = 1  # the 3x3 that is wide and has no stride
# A TPU's maps are laid out for convolutions: 1x1 are among them there.
AS_LOWERED = {"cuda": (AS_WRITTEN, PRODUCTS), "tpu": (AS_WRITTEN + PRODUCTS, 0)}
# JAX writes each operation once per platform, even of a form that is chosen for one of them.
ON_BOTH = 2 * (AS_WRITTEN + PRODUCTS)
IMAGES = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)


@pytest.fixture(scope="module")
def embed():
    """Shapes alone: nothing here is computed."""
    return nnx.eval_shape(lambda: embedding(create(CONFIG, head="none", rngs=nnx.Rngs(0))))


def freeze(embed, target=None):
    return jax.eval_shape(lambda embed: embed.frozen(target=target), embed)


def counts(embed, function=lambda embed, x: embed(x), **options):
    """Convolutions, matrix products and pooling windows of a lowered program."""
    text = jax.jit(function).trace(embed, IMAGES).lower(**options).as_text()
    return tuple(text.count(f"stablehlo.{op}") for op in ("convolution", "dot_general", "reduce_w"))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("frozen", [True, False])
def test_accelerators_get_convolutions_as_written(embed, platform, frozen):
    embed = freeze(embed, platform) if frozen else embed
    lowered = counts(embed, lowering_platforms=(platform,))
    assert lowered == (*AS_LOWERED[platform], 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_cpus_get_products(embed, frozen):
    embed = freeze(embed) if frozen else embed
    convolutions = AS_WRITTEN - STRIDED_1X1 - WINOGRADS
    # One for each of 4 columns of products, and one transforms a kernel that is not frozen.
    products = PRODUCTS + STRIDED_1X1 + (4 if frozen else 5) * WINOGRADS
    assert counts(embed) == (convolutions, products, 0)


def slope(embed, x):
    return jax.grad(lambda x: jnp.sum(embed(x)))(x)


def test_gradients_for_accelerators_are_jaxs_own(embed):
    frozen = counts(freeze(embed, "tpu"), slope, lowering_platforms=("tpu",))
    plain = counts(embed, slope, lowering_platforms=("tpu",))
    assert frozen == plain
    assert frozen[:2] == (2 * (AS_WRITTEN + PRODUCTS), 0)


def test_batch_statistics_for_accelerators_are_sums_where_cpus_have_products(embed):
    embed = dataclasses.replace(embed, batch_norm="batch")
    assert counts(embed, lowering_platforms=("tpu",))[:2] == AS_LOWERED["tpu"]


def test_a_gradient_is_exported_for_two_accelerators_at_once(embed):
    quick = freeze(embed, "gpu")
    exported = jax.export.export(jax.jit(slope), platforms=("cuda", "tpu"))(quick, IMAGES)
    assert exported.mlir_module().count("stablehlo.convolution") == 2 * ON_BOTH


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_every_attack_is_exported_for_two_accelerators_at_once(embed, name, norm):
    spec, quick = attacks.ATTACKS[name], freeze(embed, "gpu")
    guides = jax.ShapeDtypeStruct((2, 3, 256), jnp.float32)

    @attacks.unchecked
    def attack(embed, images, push, pull, key):
        given = attacks.AttackInput(
            push=push[:, 0] if spec.push == "one" else push,
            pull=pull if spec.pull == "nearest" else pull[:, 0],
            key=jax.random.wrap_key_data(key),
            eps=1.0 if norm == "l2" else 5 / 255,
            threat=attacks.THREATS[norm],
        )
        return spec.run(embed, images, given)

    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    exporting = jax.export.export(jax.jit(attack), platforms=("cuda", "tpu"))
    exported = exporting(quick, IMAGES, guides, guides, key)
    assert exported.platforms == ("cuda", "tpu")
    assert exported.out_avals[0].shape == IMAGES.shape
    # Steps are a loop and not written out: one pass and its derivative, and the clean feature.
    convolutions = exported.mlir_module().count("stablehlo.convolution")
    passes = 0 if spec.rule is None else 2 + (spec.own != "none")
    assert convolutions == passes * ON_BOTH


def test_the_target_is_part_of_the_frozen_embedding(embed):
    assert embed.target is None
    here, there = freeze(embed), freeze(embed, "tpu")
    assert (here.target, there.target) == ("cpu", "tpu")
    assert jax.tree.structure(here) != jax.tree.structure(there)
    assert freeze(there).target == "tpu"
    with pytest.raises(InputError, match=r"frozen for 'tpu', not 'cpu'"):
        there.frozen(target="cpu")
    with pytest.raises(InputError, match=r"target: expected one of cpu, gpu, .*, got 'gpus'"):
        embed.frozen(target="gpus")
