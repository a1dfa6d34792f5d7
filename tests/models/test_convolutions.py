import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.models.convolutions import METHODS, convolve, max_pool, method_for

FLOAT = jnp.dtype("float32")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def close(got, expected):
    scale = float(jnp.abs(expected).max()) + 1e-30
    np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)


# (method, kernel size, stride, padding) that the method is defined for
CASES = [
    ("pointwise", 1, 1, 0),
    ("pointwise", 1, 2, 0),
    ("patches", 4, 4, 0),
    ("patches", 3, 3, 0),
    ("gathered", 3, 2, 1),
    ("gathered", 3, 1, 1),
    ("gathered", 5, 3, 0),
    ("winograd", 3, 1, 1),
    ("winograd", 3, 1, 0),
]


@pytest.mark.parametrize(("method", "size", "stride", "padding"), CASES)
@pytest.mark.parametrize("image", [(8, 6), (7, 5)])
def test_methods_equal_the_plain_convolution(method, size, stride, padding, image):
    x, kernel = draw(0, 2, *image, 5), draw(1, size, size, 5, 7)

    def run(method):
        def loss(x, kernel):
            y = convolve(x, kernel, stride=stride, padding=padding, method=method)
            return jnp.sum(jnp.sin(y)), y

        (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, kernel)
        return y, *gradients

    for got, expected in zip(run(method), run("plain"), strict=True):
        close(got, expected)


def test_winograd_is_accurate_at_the_channels_it_is_chosen_for():
    x, kernel = draw(0, 1, 8, 4, 512), draw(1, 3, 3, 512, 512) / np.sqrt(9 * 512)
    got = convolve(x, kernel, padding=1, method="winograd")
    expected = convolve(x, kernel, padding=1, method="plain")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "stride", "padding", "cpu", "other"),
    [
        ((1, 1, 64, 256), 1, 0, "pointwise", "pointwise"),
        ((1, 1, 64, 256), 2, 0, "pointwise", "plain"),
        ((16, 16, 3, 384), 16, 0, "patches", "patches"),
        ((3, 3, 512, 512), 1, 1, "winograd", "plain"),
        ((3, 3, 128, 128), 1, 1, "winograd", "plain"),
        ((3, 3, 64, 64), 1, 1, "plain", "plain"),
        ((3, 3, 512, 512), 2, 1, "plain", "plain"),
        ((7, 7, 3, 64), 2, 3, "plain", "plain"),
    ],
)
def test_choice_depends_on_geometry_and_platform(monkeypatch, shape, stride, padding, cpu, other):
    geometry = {"stride": stride, "padding": padding, "dtype": FLOAT}
    assert method_for(shape, **geometry) == cpu
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert method_for(shape, **geometry) == other
    with jax.default_device(jax.devices("cpu")[0]):
        assert method_for(shape, **geometry) == cpu


@pytest.mark.parametrize(
    ("outputs", "method"), [((4, 2), "gathered"), ((4, 3), "plain"), (None, "plain")]
)
def test_strided_convolutions_to_few_pixels_are_gathered(monkeypatch, outputs, method):
    geometry = {"stride": 2, "padding": 1, "dtype": FLOAT, "outputs": outputs}
    assert method_for((3, 3, 256, 256), **geometry) == method
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert method_for((3, 3, 256, 256), **geometry) == "plain"


def test_bfloat16_is_never_computed_with_winograds_sums():
    geometry = {"stride": 1, "padding": 1, "dtype": jnp.dtype("bfloat16")}
    assert method_for((3, 3, 512, 512), **geometry) == "plain"


def test_every_method_is_tested():
    assert {case[0] for case in CASES} | {"plain"} == set(METHODS)


def test_wrong_channels_and_sizes_are_named():
    with pytest.raises(InputError, match=r"3 channels.*\(1, 8, 8, 4\)"):
        convolve(jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 3, 2)))
    with pytest.raises(InputError, match="1x8 pixels are smaller than the 3x3 kernel"):
        convolve(jnp.zeros((1, 1, 8, 3)), jnp.zeros((3, 3, 3, 2)))
    with pytest.raises(InputError, match="too small"):
        max_pool(jnp.zeros((1, 1, 8, 3)), padded=False)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("shape", [(5, 8), (6, 7), (2, 3)])
def test_pooling_is_the_same_on_every_platform(monkeypatch, shape, padded):
    # Few distinct values, so that windows are full of ties.
    x = jax.random.randint(jax.random.key(0), (2, *shape, 3), -3, 3).astype(jnp.float32)

    def run(x):
        return jax.jit(jax.value_and_grad(lambda x: jnp.exp(max_pool(x, padded=padded)).sum()))(x)

    value, gradient = run(x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    other_value, other_gradient = run(x)
    np.testing.assert_allclose(value, other_value, rtol=1e-6)
    np.testing.assert_allclose(gradient, other_gradient, rtol=1e-6)


def test_pooling_lets_nan_through():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(jnp.nan)
    assert np.isnan(max_pool(x)).ravel().tolist() == [True, False, False, False]


@pytest.mark.torch
@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (1, 2, 0)])
def test_geometry_is_pytorchs(size, kernel, stride, padding):
    import torch

    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    w = np.random.default_rng(1).normal(size=(kernel, kernel, 3, 4)).astype(np.float32)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        torch.from_numpy(w).permute(3, 2, 0, 1),
        stride=stride,
        padding=padding,
    )
    got = convolve(jnp.asarray(x), jnp.asarray(w), stride=stride, padding=padding)
    np.testing.assert_allclose(got, expected.permute(0, 2, 3, 1), atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("shape", [(8, 6), (9, 7), (2, 5)])
def test_pooling_and_its_gradient_are_pytorchs(shape, padded):
    import torch

    x = np.random.default_rng(0).integers(-3, 3, size=(2, *shape, 3)).astype(np.float32)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    layer = torch.nn.MaxPool2d(3, 2, 1) if padded else torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    expected = layer(images)
    expected.exp().sum().backward()
    got, pull = jax.vjp(lambda x: max_pool(x, padded=padded), jnp.asarray(x))
    np.testing.assert_array_equal(got, expected.detach().permute(0, 2, 3, 1))
    np.testing.assert_allclose(pull(jnp.exp(got))[0], images.grad.permute(0, 2, 3, 1), rtol=1e-5)
