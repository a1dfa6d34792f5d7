"""The work of a network is what its convolutions sum up to."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxreid.benchmark.work import counted_flops, forward_work, step_work, work_of_step
from jaxreid.models import ResNetConfig, create, embedding
from jaxreid.models.resnet import RESNETS
from jaxreid.models.swin import SwinConfig
from jaxreid.models.vit import ViTConfig


@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig(depths=(1, 2), widths=(8, 16)),
        ResNetConfig(block="basic", depths=(1, 2, 1), widths=(8, 16, 8), last_stride=1),
        ResNetConfig(depths=(1, 1), widths=(8, 16), stem="patch"),
    ],
)
@pytest.mark.parametrize("size", [(64, 32), (36, 20)])
def test_flops_are_those_of_the_program(config, size):
    embed = embedding(create(config, head="none", rngs=nnx.Rngs(0)))
    program = jax.make_jaxpr(embed)(jnp.zeros((1, *size, 3)))
    assert forward_work(config, size).flops == counted_flops(program.jaxpr)


def test_resnet50_of_the_paper():
    flops, values = step_work(RESNETS["resnet50"], (256, 128))
    assert flops == pytest.approx(10.7e9, rel=0.01)
    assert 2 * values == pytest.approx(57e6, rel=0.01)  # bytes in bfloat16


def test_the_small_resnet_twice_as_wide_or_deep():
    """For images of 64x32: 128, 32 and 8 pixels in the stages, 1x1, 3x3, 1x1 and the shortcut."""

    def bottleneck(inputs, width, large, small, shortcut):
        outputs = 2 * width
        own = large * inputs * width + small * (9 * width**2 + width * outputs)
        return own + shortcut * small * inputs * outputs

    def network(widths, again):
        first, second, third = widths
        total = 128 * 48 * 64 + bottleneck(64, first, 128, 128, True)
        total += bottleneck(2 * first, second, 128, 32, True)
        total += bottleneck(2 * second, third, 32, 8, True)
        for width, pixels, count in zip(widths, (128, 32, 8), again, strict=True):
            total += count * bottleneck(2 * width, width, pixels, pixels, False)
        return 2 * total

    expected = {
        "resnet_patch": network((64, 128, 256), (0, 1, 1)),
        "resnet_patch_silu": network((64, 128, 256), (0, 1, 1)),
        "resnet_patch_wide": network((128, 256, 512), (0, 1, 1)),
        "resnet_patch_deep": network((64, 128, 256), (1, 3, 3)),
    }
    for name, flops in expected.items():
        assert forward_work(RESNETS[name], (64, 32)).flops == flops
    assert RESNETS["resnet_patch_wide"].feature_size == 1024


def test_a_program_is_counted_by_its_products():
    def program(a, b, x, kernel):
        def step(carry, _):
            return jnp.einsum("bij,bjk->bik", carry, b), None

        same = jax.lax.cond(a[0, 0, 0] > 0, lambda y: y, lambda y: y @ b, a)
        pixels = jax.lax.conv_general_dilated(
            x,
            kernel,
            (2, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )
        return jax.lax.scan(step, same, length=5)[0], pixels

    shapes = ((3, 4, 4), (3, 4, 4), (2, 6, 5, 8), (3, 3, 4, 10))
    traced = jax.make_jaxpr(program)(*map(jnp.zeros, shapes))
    # Six products of batches of 3; 2x3x5 pixels of 10 channels, each of 3x3x4 numbers.
    assert counted_flops(traced.jaxpr) == 6 * 2 * 3 * 4**3 + 2 * (2 * 3 * 5 * 10) * 36


def of_block(tokens, width):
    """Multiply-adds of a transformer's block whose MLP is four times as wide."""
    return tokens * 12 * width**2 + 2 * tokens**2 * width


@pytest.mark.slow
def test_transformers_are_counted():
    config = ViTConfig(width=32, depth=3, heads=4, image_size=(64, 32))
    tokens = 1 + 4 * 2
    # The last block: keys and values of all tokens, all else of the class token.
    last = tokens * 2 * 32 * 32 + 2 * tokens * 32 + (1 + 1 + 8) * 32 * 32
    forward = 8 * 16 * 16 * 3 * 32 + 2 * of_block(tokens, 32) + last
    model = create(config, head="none", rngs=nnx.Rngs(0))
    assert work_of_step(model, (64, 32)) == (2 * 2 * forward, None)
    config = SwinConfig(width=16, depths=(2,), heads=(2,), window=4)
    model = create(config, head="none", rngs=nnx.Rngs(0))
    # 16x8 tokens in 8 windows of 16.
    forward = 128 * 4 * 4 * 3 * 16 + 2 * 8 * of_block(16, 16)
    assert work_of_step(model, (64, 32)) == (2 * 2 * forward, None)


def test_resnets_are_counted_by_hand_as_far_as_that_goes():
    size = (64, 32)
    shape = ResNetConfig(depths=(1, 1), widths=(8, 16))
    model = create(shape, head="none", rngs=nnx.Rngs(0))
    assert work_of_step(model, size) == step_work(shape, size)
    shape = ResNetConfig(depths=(1, 1), widths=(8, 16), non_local=(1, 0))
    model = create(shape, head="none", rngs=nnx.Rngs(0))
    more = work_of_step(model, size)
    # Three projections to a channel and one back of 16x8 positions; what is between them is a mean,
    # and no product of matrices.
    looks = 4 * 128 * 32
    assert more == (step_work(shape, size).flops + 2 * 2 * looks, None)
