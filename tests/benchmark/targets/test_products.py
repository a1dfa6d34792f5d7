"""Operations of products, counted from a program's text, beside XLA's own count of them."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxreid.benchmark.targets.cost import flops_of
from jaxreid.benchmark.targets.products import product_flops
from jaxreid.benchmark.targets.program_text import runs

IMAGES, KERNEL = (2, 9, 6, 8), (3, 3, 8, 4)


def convolved(x, kernel, **options):
    options = {"window_strides": (1, 1), "padding": "SAME", **options}
    return lax.conv_general_dilated(
        x, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def lowered(function, *shapes):
    """For a GPU: nothing here chooses forms of its own."""
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).trace(*given).lower(lowering_platforms=("cuda",))


def by_text(program):
    return sum(run.times * product_flops(run) for run in runs(program.as_text("hlo")))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window_strides": (2, 1)},
        {"padding": ((2, 0), (1, 3)), "rhs_dilation": (2, 1)},
        {"padding": ((1, 0), (0, 2)), "lhs_dilation": (1, 2)},
    ],
)
def test_convolutions_count_as_xla_counts_them(options):
    program = lowered(lambda x, kernel: convolved(x, kernel, **options), IMAGES, KERNEL)
    assert by_text(program) == program.cost_analysis()["flops"]


def test_so_do_convolutions_of_groups_and_gradients():
    def gradients(x, kernel):
        def of(x, kernel):
            return convolved(x, kernel, window_strides=(2, 2), feature_group_count=2)

        _, back = jax.vjp(of, x, kernel)
        return back(jnp.ones((2, 5, 3, 4)))

    program = lowered(gradients, IMAGES, (3, 3, 4, 4))
    assert by_text(program) == program.cost_analysis()["flops"]


def test_a_matrix_product_is_two_operations_for_each_pair():
    program = lowered(lambda x, y: jnp.einsum("bij,bjk->bik", x, y), (3, 4, 5), (3, 5, 6))
    assert by_text(program) == 2 * 3 * 4 * 5 * 6


def test_loops_count_as_often_as_they_run():
    def steps(x, y):
        def step(x):
            return lax.fori_loop(2, 5, lambda i, x: x + i * (x @ y), x)

        return lax.map(lambda i: i * lax.scan(lambda x, _: (step(x), 0), x, length=7)[0], x[:6])

    program = lowered(steps, (8, 8), (8, 8))
    product = 2 * 8**3
    assert by_text(program) == 6 * 7 * 3 * product
    said, text = program.cost_analysis(), program.as_text("hlo")
    assert flops_of(said, runs(text)) == said["flops"] + (6 * 7 * 3 - 1) * product


def test_a_loop_of_unknown_length_counts_once():
    def until(x):
        return lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, x)

    assert by_text(lowered(until, (8, 8))) == 2 * 8**3
