"""What tests of networks share: images, features of a network, relative errors."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid import models
from jaxreid.models.weights.transfer import SameKey


def images(*shape):
    """Float32 images in [0, 1]."""
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def abstract(*shape, **options):
    """A network of `models.create` without values: shapes of its parameters and statistics."""
    rngs = SameKey(jax.random.key(0))
    return nnx.eval_shape(lambda: models.create(*shape, rngs=rngs, **options))


def drawn(*shape, seed=0, **options):
    """A network of `models.create` whose weights and statistics NumPy draws, none of them trivial.

    JAX would compile a program for every one of their shapes.
    """
    model = abstract(*shape, **options)
    rng, values = np.random.default_rng(seed), {}
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        if len(variable.shape) > 1:
            value = rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape)
        else:
            # Factors and variances; the exponent of GeM; shifts, means and tokens.
            ranges = {"var": (0.5, 1.5), "scale": (0.5, 1.5), "p": (3, 3.5)}
            low, high = ranges.get(path[-1], (-0.3, 0.3))
            value = rng.uniform(low, high, variable.shape)
        values[path] = variable.replace(jnp.asarray(value, jnp.float32))
    nnx.update(model, nnx.from_flat_state(values))
    return model


def features(model, x):
    """Features [B,D] of images x, from one compiled program."""
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x).features)(state, jnp.asarray(x))


@jax.jit
def features_and_slope(embed, x):
    """Features of images x, and the gradient of sum (feature - 1)^2 to the pixels."""
    found, slope_of = jax.vjp(embed, x)
    return found, slope_of(2 * (found - 1))[0]


def check_frozen_and_half_precision(model, half, x, *, cameras=None):
    """A frozen network has the network's features and gradient; one of bfloat16 is near.

    Args:
        model: the network.
        half: the same weights, computing in bfloat16.
        x: images [B,H,W,3], float32.
        cameras: int [B], of a network with camera embeddings.
    """
    plain, rough = models.embedding(model), models.embedding(half)
    if cameras is not None:
        plain, rough = plain.seen_by(cameras), rough.seen_by(cameras)
    quick = jax.jit(lambda embed: embed.frozen())(plain)
    expected, got = features_and_slope(plain, x), features_and_slope(quick, x)
    for wanted, found in zip(expected, got, strict=True):
        assert relative(found, wanted) < 1e-5
        assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    near = jax.jit(lambda embed, x: embed(x))(rough, x)
    assert near.dtype == jnp.float32
    assert 0 < relative(near, expected[0]) < 0.05


def relative(got, expected):
    """Norm of the difference over the norm of what was expected."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def unmoved_by_logits(model, x, labels):
    """Paths of the parameters to which the cross-entropy of a batch has no gradient at all."""
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    @jax.grad
    def slope(parameters):
        # BatchNorm on batch statistics writes into this copy.
        network = nnx.merge(graph, parameters, rest, copy=True)
        logits = network(jnp.asarray(x), batch_norm="batch").logits
        return -jnp.mean(jax.nn.log_softmax(logits)[np.arange(len(labels)), labels])

    return [
        path for path, leaf in nnx.to_flat_state(slope(parameters)) if not np.abs(leaf[...]).max()
    ]
