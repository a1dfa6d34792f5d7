"""The work of a network is what its convolutions sum up to."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from jaxreid.benchmark.work import forward_work, step_work
from jaxreid.models import ResNetConfig, create, embedding
from jaxreid.models.resnet import RESNETS


def counted(jaxpr):
    """Multiply-adds of the products and convolutions of a program."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            total += equation.outvars[0].aval.size * kernel[0] * kernel[1] * kernel[2]
        elif equation.primitive.name == "dot_general":
            ((contracted,), _), _ = equation.params["dimension_numbers"]
            total += equation.outvars[0].aval.size * equation.invars[0].aval.shape[contracted]
        inner = [counted(program) for program in jaxprs_in_params(equation.params)]
        # A choice between forms of one layer, by platform: only one of them runs.
        total += max(inner) if equation.primitive.name == "cond" else sum(inner)
    return total


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
    assert forward_work(config, size).flops == 2 * counted(program.jaxpr)


def test_resnet50_of_the_paper():
    flops, values = step_work(RESNETS["resnet50"], (256, 128))
    assert flops == pytest.approx(10.7e9, rel=0.01)
    assert 2 * values == pytest.approx(57e6, rel=0.01)  # bytes in bfloat16
