import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import relative

from jaxreid.models import transformer
from jaxreid.models.cpu import attention
from jaxreid.models.transformer import Block, BlockShape


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


# Seven images at once, one by one, and in blocks of three with one left over.
@pytest.mark.parametrize("weights", [10**6, 1, 3 * 2 * 2 * 5 * 4])
@pytest.mark.parametrize("biases", [0, 1, 2])
def test_attention_in_blocks_is_the_definitions_and_so_is_its_gradient(
    monkeypatch, weights, biases
):
    monkeypatch.setattr(attention, "_WEIGHTS", weights)
    rng = np.random.default_rng(0)
    query, key, value, direction = rng.normal(size=(4, 7, 2, 5, 2, 4))
    key, value = key[:, :, :4], value[:, :, :4]
    bias = rng.normal(size=(biases, 2, 5, 4)) if biases else None
    expected, gradient = np.zeros_like(query), np.zeros_like(value)
    for image, group, head in np.ndindex(7, 2, 2):
        at = image, group, slice(None), head
        scores = 0.3 * query[at] @ key[at].T
        if bias is not None:
            scores = scores + bias[group % biases, head]
        expected[at] = softmax(scores) @ value[at]
        gradient[at] = softmax(scores).T @ direction[at]
    with jax.enable_x64(True):
        given = jax.tree.map(jnp.asarray, (query, key))
        own = None if bias is None else jnp.asarray(bias)

        @jax.jit
        def both(value, direction):
            got, back = jax.vjp(
                lambda value: attention.attend_in_blocks(*given, value, own, scale=0.3), value
            )
            return got, back(direction)[0]

        got, back = both(value, direction)
        assert relative(got, expected) < 1e-14
        assert relative(back, gradient) < 1e-14
        # What other platforms compute is the same.
        plain = transformer._attend(*given, value, own, scale=0.3)
        assert relative(plain, expected) < 1e-14


@pytest.mark.parametrize("biases", [0, 1, 2])
def test_gradients_are_those_of_the_definition(monkeypatch, biases):
    monkeypatch.setattr(attention, "_WEIGHTS", 3 * 2 * 2 * 5 * 4)
    rng = np.random.default_rng(1)
    query, key, value, direction = rng.normal(size=(4, 7, 2, 5, 2, 4))
    bias = rng.normal(size=(biases, 2, 5, 4)) if biases else None

    with jax.enable_x64(True):
        given = jax.tree.map(jnp.asarray, (query, key[:, :, :4], value[:, :, :4], bias))

        def slopes(attend):
            towards = lambda *parts: jnp.sum(attend(*parts, scale=0.3) * direction)  # noqa: E731
            return jax.jit(jax.grad(towards, argnums=range(3 + bool(biases))))(*given)

        got, expected = slopes(attention.attend_in_blocks), slopes(transformer._attend)
        assert [relative(g, e) < 1e-13 for g, e in zip(got, expected, strict=True)] == [True] * (
            3 + bool(biases)
        )


@pytest.mark.slow
def test_the_gradient_to_a_bias_is_summed_over_devices():
    rng = np.random.default_rng(2)
    query, key, value = jnp.asarray(rng.normal(size=(3, 4, 1, 5, 2, 4)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=(1, 2, 5, 5)), jnp.float32)
    mesh = jax.make_mesh((2,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))

    def value_of(attend, query, key, value, bias):
        return jnp.sum(jnp.sin(attend(query, key, value, bias, scale=0.3)))

    def on_devices(query, key, value, bias):
        own = value_of(attention.attend_in_blocks, query, key, value, bias)
        return jax.lax.psum(own, "devices")

    parts = jax.sharding.PartitionSpec("devices")
    none = jax.sharding.PartitionSpec()
    sharded = jax.shard_map(on_devices, mesh=mesh, in_specs=(parts,) * 3 + (none,), out_specs=none)
    got = jax.jit(jax.grad(sharded, argnums=3))(query, key, value, bias)
    plain = jax.grad(lambda bias: value_of(transformer._attend, query, key, value, bias))(bias)
    assert relative(got, plain) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
def test_a_block_for_its_first_tokens_gives_what_it_gives_them_among_all(bias):
    shape = BlockShape(width=16, heads=2, hidden=24, qkv_bias=bias, scale=8**-0.5, epsilon=1e-6)
    block = Block(shape, dtype=jnp.float32, rngs=nnx.Rngs(0))
    tokens = jax.random.normal(jax.random.key(1), (3, 7, 16))

    @nnx.jit
    def both(block, tokens):
        def value(tokens, outputs):
            return jnp.sum(jnp.sin(block(tokens, outputs)[:, :2]))

        slopes = [jax.grad(value)(tokens, outputs) for outputs in (2, None)]
        return block(tokens, 2), block(tokens)[:, :2], *slopes

    first, among, slope, expected = both(block, tokens)
    assert relative(first, among) < 1e-6
    assert relative(slope, expected) < 1e-5
