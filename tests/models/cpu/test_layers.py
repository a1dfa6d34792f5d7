"""The CPU's forms of pooling, sums, means and convolutions give the numbers of the plain ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxreid.models.cpu.layers import METHODS, channel_means, method_for
from jaxreid.models.layers import convolution, max_pool, relu, relu_of_sum

TINY = np.finfo(np.float32).tiny  # the smallest that is not subnormal
NORMAL = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
SMALL = st.floats(-(2.0**-124), 2.0**-124, width=32)


def slopes(function, *arguments):
    """Reverse and forward, which must agree."""
    backward = jax.grad(lambda *x: jnp.sum(function(*x)), tuple(range(len(arguments))))(*arguments)
    ones = tuple(jnp.ones_like(x) for x in arguments)
    return backward, jax.jvp(function, arguments, ones)[1]


@pytest.mark.slow
@given(st.lists(st.tuples(NORMAL, NORMAL), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_sum_is_that_of_an_addition(pairs):
    x, y = np.asarray(pairs, np.float32).T
    expected = np.maximum(x + y, 0)
    # Of two normal numbers that are nearly opposite, the sum may be subnormal.
    sure = (x + y == 0) | (abs(x + y) >= TINY)
    (dx, dy), tangent = slopes(relu_of_sum, jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_array_equal(np.asarray(relu_of_sum(x, y))[sure], expected[sure])
    np.testing.assert_allclose(relu_of_sum(x, y), expected, rtol=0, atol=TINY)
    np.testing.assert_array_equal(dx[sure], expected[sure] > 0)
    np.testing.assert_array_equal(dy[sure], expected[sure] > 0)
    np.testing.assert_array_equal(tangent[sure], 2.0 * (expected[sure] > 0))


@given(st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_processor_may_take_subnormal_numbers_for_zero(pairs):
    x, y = np.asarray(pairs, np.float32).T
    # In float64 these sums are exact, and nothing is subnormal.
    expected = np.maximum(x.astype(np.float64) + y.astype(np.float64), 0)
    for function in (relu_of_sum, jax.jit(relu_of_sum)):
        found = np.asarray(function(x, y), np.float64)
        assert (found >= 0).all()
        assert (abs(found - expected) < 2 * TINY).all()


def test_corners_are_those_of_an_addition():
    largest = np.finfo(np.float32).max
    values = np.asarray([-largest, -1, -TINY, -0.0, 0, TINY, 1, largest, np.inf, np.nan])
    x, y = (v.ravel() for v in np.meshgrid(values.astype(np.float32), [*values, -np.inf]))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.maximum(x + y.astype(np.float32), 0)
    np.testing.assert_array_equal(relu_of_sum(x, y.astype(np.float32)), expected)


def test_an_overflow_downwards_is_not_hidden_on_cpus():
    lowest, ones = jnp.full(2, -jnp.inf), jnp.ones(2)
    assert jnp.isnan(relu_of_sum(lowest, ones)).all()
    np.testing.assert_array_equal(relu_of_sum(ones, lowest), [0, 0])


@pytest.fixture
def elsewhere(monkeypatch):
    """Enters what a program lowered for an accelerator has."""

    def enter():
        monkeypatch.setattr(lax, "platform_dependent", lambda *args, default, **_: default(*args))

    return enter


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accelerators_add_as_cpus_do(elsewhere, dtype):
    x, y = jax.random.normal(jax.random.key(0), (2, 100), dtype)
    here = relu_of_sum(x, y)
    elsewhere()
    np.testing.assert_array_equal(relu_of_sum(x, y), here)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("shape", [(5, 8), (6, 7), (2, 3)])
def test_accelerators_pool_as_cpus_do(elsewhere, shape, padded):
    # Few distinct values, so that windows are full of ties.
    x = jax.random.randint(jax.random.key(0), (2, *shape, 3), -3, 3).astype(jnp.float32)

    def run(x):
        return jax.jit(jax.value_and_grad(lambda x: jnp.exp(max_pool(x, padded=padded)).sum()))(x)

    here = run(x)
    elsewhere()
    for got, expected in zip(run(x), here, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_pooling_has_second_derivatives():
    x = jax.random.permutation(jax.random.key(0), 48).reshape(1, 6, 8, 1) / 48  # no ties
    along = jax.random.normal(jax.random.key(1), x.shape)
    first = jax.grad(lambda x: jnp.exp(max_pool(x)).sum())
    # A sum of exp(x) over the windows' largest pixels: every derivative is that sum's gradient.
    expected = first(x) * along
    found = jax.grad(lambda x: jnp.vdot(first(x), along))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_means_are_those_over_all_axes_but_the_last():
    x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
    np.testing.assert_allclose(channel_means(x), x.mean((0, 1, 2)), atol=1e-6)


def test_relu_is_that_of_flax():
    x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.nan, jnp.inf])
    np.testing.assert_array_equal(relu(x), nnx.relu(x))
    finite = x[:5]
    (ours,), _ = slopes(relu, finite)
    (theirs,), _ = slopes(nnx.relu, finite)
    np.testing.assert_array_equal(ours, theirs)


# (method, kernel size, stride, padding) that the method is defined for
CASES = [
    ("pointwise", 1, 1, 0),
    ("pointwise", 1, 2, 0),
    ("gathered", 3, 2, 1),
    ("gathered", 5, 3, 0),
    ("winograd", 3, 1, 1),
    ("winograd", 3, 1, 0),
    ("winograd", 3, 1, 2),
    ("depthwise", 3, 1, 1),
    ("depthwise", 5, 1, 0),
]


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(("method", "size", "stride", "padding"), CASES)
def test_methods_equal_the_plain_convolution(method, size, stride, padding):
    own = method == "depthwise"
    images, kernel = draw(0, 2, 7, 6, 5), draw(1, size, size, *((1, 5) if own else (5, 7)))
    plain = functools.partial(convolution, groups=5 if own else 1)

    def run(function):
        def loss(x, kernel):
            y = function(x, kernel, stride=stride, padding=padding)
            return jnp.sum(jnp.sin(y)), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(images, kernel)
        return y, *gradients

    for got, expected in zip(run(METHODS[method]), run(plain), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_every_method_is_tested():
    assert {case[0] for case in CASES} == set(METHODS)


@pytest.mark.parametrize("method", ["winograd", "depthwise"])
def test_a_kernel_that_devices_share_has_the_sum_of_their_gradients(method):
    images, kernel = draw(0, 2, 6, 5, 4), draw(1, 3, 3, 1 if method == "depthwise" else 4, 4)

    def loss(kernel, images):
        return jnp.sum(jnp.sin(METHODS[method](images, kernel, stride=1, padding=1)))

    mesh = jax.make_mesh((2,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, all_of_it = jax.sharding.PartitionSpec("devices"), jax.sharding.PartitionSpec()
    specs = {"in_specs": (all_of_it, rows), "out_specs": all_of_it}
    shared = jax.jit(jax.shard_map(jax.grad(loss), mesh=mesh, **specs))(kernel, images)
    np.testing.assert_allclose(shared, jax.grad(loss)(kernel, images), atol=1e-4)


@pytest.mark.parametrize(("size", "channels"), [((16, 8), 64), ((8, 4), 512)])
def test_winograd_is_accurate_at_the_channels_it_is_chosen_for(size, channels):
    x = np.asarray(draw(0, 1, *size, channels), np.float64)
    kernel = np.asarray(draw(1, 3, 3, channels, channels), np.float64) / np.sqrt(9 * channels)
    around = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (1, 2))
    expected = np.einsum("bijcuv,uvck->bijk", windows, kernel)

    def error(convolve):
        single = (jnp.asarray(array, jnp.float32) for array in (x, kernel))
        return np.abs(np.asarray(convolve(*single, stride=1, padding=1)) - expected).max()

    # Results have deviation one.
    assert (quick := error(METHODS["winograd"])) < 6e-6
    assert quick < 4 * error(convolution)


@pytest.mark.parametrize(
    ("shape", "stride", "padding", "options", "method"),
    [
        ((1, 1, 64, 256), 1, 0, {}, "pointwise"),
        ((1, 1, 64, 256), 2, 0, {}, "pointwise"),
        ((16, 16, 3, 384), 16, 0, {}, "plain"),
        ((3, 3, 64, 64), 1, 1, {}, "winograd"),
        ((3, 3, 64, 64), 1, 2, {}, "winograd"),
        # Its gradient has 2 - padding.
        ((3, 3, 64, 64), 1, 3, {}, "plain"),
        ((3, 3, 32, 64), 1, 1, {}, "plain"),
        ((3, 3, 512, 512), 2, 1, {}, "plain"),
        ((7, 7, 3, 64), 2, 3, {}, "plain"),
        # Winograd's sums are not accurate enough in half precision.
        ((3, 3, 512, 512), 1, 1, {"dtype": jnp.dtype("bfloat16")}, "plain"),
        # XLA's gradient to few pixels is slow.
        ((3, 3, 256, 256), 2, 1, {"outputs": (2, 1)}, "gathered"),
        ((3, 3, 256, 256), 2, 1, {"outputs": (16, 2)}, "gathered"),
        ((3, 3, 256, 256), 2, 1, {"outputs": (16, 3)}, "plain"),
        ((3, 3, 1, 64), 1, 1, {"groups": 64}, "depthwise"),
        ((3, 3, 1, 64), 2, 1, {"groups": 64}, "plain"),
        ((3, 3, 1, 64), 1, 3, {"groups": 64}, "plain"),
        ((3, 3, 1, 64), 1, 1, {"groups": 32}, "plain"),
        ((1, 1, 8, 64), 1, 0, {"groups": 8}, "plain"),
        ((3, 3, 128, 256), 1, 1, {"groups": 2}, "plain"),
    ],
)
def test_the_choice_depends_on_geometry_and_type(shape, stride, padding, options, method):
    geometry = {"stride": stride, "padding": padding, "dtype": jnp.dtype("float32"), **options}
    assert method_for(shape, **geometry) == method
