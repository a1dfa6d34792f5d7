from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from jaxreid.errors import InputError
from jaxreid.models import BatchNorm


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)


def test_batch_statistics_normalise_and_move_the_running_ones_unbiased():
    norm, x = BatchNorm(4), values(6, 2, 3, 4)
    y = norm(jnp.asarray(x), "batch")
    flat = x.reshape(-1, 4)
    np.testing.assert_allclose(y, (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5), atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_running_statistics_are_used_and_left_alone():
    norm = BatchNorm(3)
    norm.mean[...], norm.var[...] = jnp.array([1.0, 2, 3]), jnp.array([4.0, 9, 16])
    x = values(5, 3)
    y = norm(jnp.asarray(x), "running")
    np.testing.assert_allclose(y, (x - [1, 2, 3]) / np.sqrt([4, 9, 16]), rtol=1e-4, atol=1e-5)
    assert norm.var[...].tolist() == [4, 9, 16]


def test_variance_survives_a_large_mean():
    x = 1000 + 0.01 * values(64, 1)
    y = BatchNorm(1)(jnp.asarray(x), "batch")
    expected = (x - x.astype(np.float64).mean()) / np.sqrt(x.astype(np.float64).var() + 1e-5)
    np.testing.assert_allclose(y, expected, atol=0.02)


def test_devices_of_an_axis_share_their_statistics():
    x = values(8, 3, 5)
    alone = BatchNorm(5)
    expected = alone(jnp.asarray(x), "batch")
    graph, state = nnx.split(BatchNorm(5, axis_name="devices"))

    def step(x):
        norm = nnx.merge(graph, state, copy=True)
        return norm(x, "batch"), norm.mean[...], norm.var[...]

    y, mean, var = jax.pmap(step, axis_name="devices")(x.reshape(4, 2, 3, 5))
    np.testing.assert_allclose(y.reshape(8, 3, 5), expected, atol=1e-5)
    for device in range(4):
        np.testing.assert_allclose(mean[device], alone.mean[...], rtol=1e-5)
        np.testing.assert_allclose(var[device], alone.var[...], rtol=1e-5)


def shared_by_pmap(gradients, x, weights):
    dx, *rest = jax.pmap(gradients, axis_name="d")(
        *(a.reshape(4, 2, *a.shape[1:]) for a in (x, weights))
    )
    return dx.reshape(x.shape), *(d.sum(0) for d in rest)


def shared_by_shard_map(gradients, x, weights):
    rows, all_of_it = PartitionSpec("d"), PartitionSpec()
    mesh = Mesh(np.array(jax.devices()[:4]), "d")
    specs = {"in_specs": (rows, rows), "out_specs": (rows, all_of_it, all_of_it)}
    return jax.jit(jax.shard_map(gradients, mesh=mesh, **specs))(x, weights)


@pytest.mark.slow
@pytest.mark.parametrize("mapped", [None, shared_by_pmap, shared_by_shard_map])
def test_gradients_are_those_of_the_equation_on_one_device_and_on_four(mapped):
    with jax.enable_x64(True):
        x, weights = (jnp.asarray(values(8, 3, 5, seed=s), jnp.float64) for s in (0, 1))
        scale, bias = (jnp.asarray(values(5, seed=s), jnp.float64) for s in (2, 3))

        def normalized(x, scale, bias):
            norm = BatchNorm(5, axis_name="d" if mapped else None, dtype=jnp.float64)
            norm.scale[...], norm.bias[...] = scale, bias
            return norm(x, "batch")

        def written_out(x, scale, bias):
            flat = x.reshape(-1, 5)
            return (x - flat.mean(0)) / jnp.sqrt(flat.var(0) + 1e-5) * scale + bias

        def gradients(function, x, weights):
            def loss(*given):
                return jnp.sum(jnp.sin(function(*given)) * weights)

            return jax.grad(loss, (0, 1, 2))(x, scale, bias)

        expected = gradients(written_out, x, weights)
        ours = partial(gradients, normalized)
        got = mapped(ours, x, weights) if mapped else ours(x, weights)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_bfloat16_keeps_float32_statistics():
    norm = BatchNorm(4, dtype=jnp.bfloat16)
    assert norm(jnp.asarray(values(6, 4)).astype(jnp.bfloat16), "batch").dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(norm))} == {jnp.dtype("float32")}


def test_one_value_per_channel_is_an_error():
    with pytest.raises(InputError, match="more than one value per channel"):
        BatchNorm(4)(jnp.zeros((1, 4)), "batch")


def test_unknown_statistics_are_named():
    with pytest.raises(InputError, match=r"'running', 'batch'.*'train'"):
        BatchNorm(4)(jnp.zeros((2, 4)), "train")


@pytest.mark.torch
def test_one_training_step_equals_pytorchs():
    import torch

    x, target = values(6, 4), values(6, 4, seed=1)
    theirs = torch.nn.BatchNorm1d(4)
    inputs = torch.from_numpy(x).requires_grad_()
    ((theirs(inputs) - torch.from_numpy(target)) ** 2).sum().backward()
    norm = BatchNorm(4)
    graph, params, stats = nnx.split(norm, nnx.Param, nnx.BatchStat)

    def loss(x, params):
        model = nnx.merge(graph, params, stats, copy=True)
        return jnp.sum((model(x, "batch") - target) ** 2), nnx.state(model, nnx.BatchStat)

    (dx, dparams), after = jax.grad(loss, argnums=(0, 1), has_aux=True)(jnp.asarray(x), params)
    np.testing.assert_allclose(dx, inputs.grad, atol=1e-4)
    np.testing.assert_allclose(dparams["scale"][...], theirs.weight.grad, atol=1e-4)
    np.testing.assert_allclose(dparams["bias"][...], theirs.bias.grad, atol=1e-4)
    np.testing.assert_allclose(after["mean"][...], theirs.running_mean, rtol=1e-5)
    np.testing.assert_allclose(after["var"][...], theirs.running_var, rtol=1e-5)
