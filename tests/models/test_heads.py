"""Each head by its definition, computed with NumPy in float64 from the head's own parameters."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreid.models import BackboneConfig, ModelConfig, Part
from jaxreid.models.heads import make_head

POOLED = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)


@dataclass(frozen=True)
class One(BackboneConfig):
    @property
    def feature_size(self):
        return 9


@dataclass(frozen=True)
class Several(BackboneConfig):
    @property
    def feature_size(self):
        return 9

    @property
    def parts(self):
        return (Part(5), Part(4, 0.25))


def head_of(shape, head, dtype=jnp.float32, **options):
    classes = None if head in ("triplet", "none") else 6
    config = ModelConfig(shape, head=head, classes=classes, dimensions=2, **options)
    made = make_head(config, dtype=dtype, axis_name=None, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    for path, variable in nnx.to_flat_state(nnx.state(made)):
        signs = 1 if path[-1] == "var" else rng.choice([-1, 1], variable.shape)
        variable[...] = jnp.asarray(signs * rng.uniform(0.5, 1.5, variable.shape), jnp.float32)
    return made, config


def linear(layer, x):
    kernel = np.asarray(layer.kernel[...], np.float64)
    y = x @ (kernel[0, 0] if kernel.ndim == 4 else kernel)
    return y if layer.bias is None else y + np.asarray(layer.bias[...], np.float64)


def norm(layer, x):
    mean, var, scale, bias = (
        np.asarray(getattr(layer, name)[...], np.float64)
        for name in ("mean", "var", "scale", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def expected(head, made, config):
    x = POOLED.astype(np.float64)
    parts = [x[:, :5], x[:, 5:]] if isinstance(config.backbone, Several) else [x]
    weights = [1, 0.25][: len(parts)]
    relu = lambda y: np.maximum(y, 0)  # noqa: E731
    if head == "none":
        return np.concatenate([w * p for w, p in zip(weights, parts, strict=True)], 1), None
    if head == "linear":
        return x, linear(made.classifier, x)
    if head == "triplet":
        return linear(made.projection, relu(norm(made.neck, x))), None
    if head == "embedding":
        feature = relu(norm(made.neck, linear(made.projection, x)))
        return feature, linear(made.classifier, feature)
    if head == "reduction":
        parts = [linear(conv, p) for conv, p in zip(made.reductions, parts, strict=True)]
    necks = made.necks if hasattr(made, "necks") else [made.neck]
    classifiers = made.classifiers if hasattr(made, "classifiers") else [made.classifier]
    after = [norm(neck, p) for neck, p in zip(necks, parts, strict=True)]
    logits = np.mean([linear(one, p) for one, p in zip(classifiers, after, strict=True)], 0)
    kept = parts if config.neck_feature == "before" else after
    return np.concatenate([w * p for w, p in zip(weights, kept, strict=True)], 1), logits


@pytest.mark.parametrize(
    ("shape", "head", "options"),
    [
        *((One(), head, {}) for head in ("classification", "reduction", "embedding", "triplet")),
        *((One(), head, {}) for head in ("linear", "none")),
        (One(), "classification", {"neck_feature": "before", "classifier_bias": False}),
        *((Several(), head, {}) for head in ("classification", "reduction", "none")),
        (Several(), "classification", {"neck_feature": "before"}),
    ],
)
def test_heads_are_their_definitions(shape, head, options):
    made, config = head_of(shape, head, **options)
    features, logits = made(jnp.asarray(POOLED), "running")
    wanted, wanted_logits = expected(head, made, config)
    assert features.shape == (3, config.feature_size)
    np.testing.assert_allclose(features, wanted, rtol=1e-5, atol=1e-5)
    assert (logits is None) == (wanted_logits is None) == (not config.has_logits)
    if logits is not None:
        np.testing.assert_allclose(logits, wanted_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["classification", "reduction", "embedding", "triplet"])
def test_heads_compute_in_float64_where_the_network_does(head):
    with jax.enable_x64(True):
        made, config = head_of(One(), head, jnp.float64)
        state = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(made))
        nnx.update(made, state)
        features, _ = made(jnp.asarray(POOLED, jnp.float64), "running")
        assert features.dtype == jnp.float64
        np.testing.assert_allclose(features, expected(head, made, config)[0], rtol=1e-12)


@pytest.mark.parametrize("head", ["classification", "reduction"])
def test_every_part_learns_from_the_logits(head):
    made, _ = head_of(Several(), head)
    graph, params, rest = nnx.split(made, nnx.Param, ...)

    def loss(params):
        logits = nnx.merge(graph, params, rest, copy=True)(jnp.asarray(POOLED), "batch").logits
        return -jax.nn.log_softmax(logits)[jnp.arange(3), jnp.arange(3)].sum()

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.any(np.asarray(part.kernel[...])) for part in gradients["classifiers"].values())
