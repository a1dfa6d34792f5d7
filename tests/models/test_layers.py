"""Layers have PyTorch's geometry; their forms on CPUs are in tests/models/cpu."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.models.layers import average_pool, convolve, max_pool


def test_wrong_channels_and_sizes_are_named():
    with pytest.raises(InputError, match=r"3 channels.*\(1, 8, 8, 4\)"):
        convolve(jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 3, 2)))
    with pytest.raises(InputError, match="1x8 pixels are smaller than the 3x3 kernel"):
        convolve(jnp.zeros((1, 1, 8, 3)), jnp.zeros((3, 3, 3, 2)))
    with pytest.raises(InputError, match=r"8 channels.*\(1, 8, 8, 4\)"):
        convolve(jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 2, 8)), groups=4)
    with pytest.raises(InputError, match="6 outputs do not fall into 4 groups"):
        convolve(jnp.zeros((1, 8, 8, 8)), jnp.zeros((3, 3, 2, 6)), groups=4)
    with pytest.raises(InputError, match="1x8 pixels are too small"):
        average_pool(jnp.zeros((1, 1, 8, 3)))
    with pytest.raises(InputError, match="too small"):
        max_pool(jnp.zeros((1, 1, 8, 3)), padded=False)


def test_pooling_lets_nan_through():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(jnp.nan)
    assert np.isnan(max_pool(x)).ravel().tolist() == [True, False, False, False]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [((8, 6), 3, 2, 1), ((9, 7), 7, 2, 3), ((9, 7), 1, 2, 0), ((9, 7), 4, 4, 0)],
)
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


def test_groups_are_convolutions_side_by_side():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 6)).astype(np.float32)
    got = convolve(jnp.asarray(x), jnp.asarray(kernel), padding=1, groups=2)
    halves = [
        convolve(
            jnp.asarray(x[..., 2 * half : 2 * half + 2]),
            jnp.asarray(kernel[..., 3 * half : 3 * half + 3]),
            padding=1,
        )
        for half in range(2)
    ]
    np.testing.assert_allclose(got, jnp.concatenate(halves, -1), atol=1e-5)


def test_average_pooling_leaves_a_last_odd_row_out():
    x = np.arange(15, dtype=np.float32).reshape(1, 5, 3, 1)
    np.testing.assert_array_equal(average_pool(jnp.asarray(x))[0, :, :, 0], [[2], [8]])


@pytest.mark.torch
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("shape", [(8, 6), (9, 7), (2, 5)])
@pytest.mark.parametrize("lost", [None, -2])
def test_pooling_and_its_gradient_are_pytorchs(shape, padded, lost):
    import torch

    x = np.random.default_rng(0).integers(-3, 3, size=(2, *shape, 3)).astype(np.float32)
    x[x == lost] = np.nan
    images = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    layer = torch.nn.MaxPool2d(3, 2, 1) if padded else torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    expected = layer(images)
    expected.exp().sum().backward()
    got, pull = jax.vjp(lambda x: max_pool(x, padded=padded), jnp.asarray(x))
    np.testing.assert_array_equal(got, expected.detach().permute(0, 2, 3, 1))
    np.testing.assert_allclose(pull(jnp.exp(got))[0], images.grad.permute(0, 2, 3, 1), rtol=1e-5)
