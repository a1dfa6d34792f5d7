"""What tests of networks share: images, features of a network, relative errors."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def images(*shape):
    """Float32 images in [0, 1]."""
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def features(model, x):
    """Features [B,D] of images x, from one compiled program."""
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x).features)(state, jnp.asarray(x))


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
