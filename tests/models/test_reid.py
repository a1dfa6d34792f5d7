import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import abstract, drawn
from PIL import Image

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models.kinds import kind_of

TINY = models.ResNetConfig(depths=(1, 1), widths=(8, 8), expansion=2, stem="patch", stem_width=8)
HEADS = {"classification": 5, "triplet": None, "linear": 5, "none": None}


def build(backbone=TINY, head="none", **options):
    options.setdefault("classes", HEADS[head])
    return drawn(backbone, head=head, **options)


def images(*shape):
    return jax.random.uniform(jax.random.key(0), shape or (2, 16, 8, 3))


@pytest.mark.parametrize(("head", "classes"), HEADS.items())
def test_heads_give_features_and_logits(head, classes):
    model = build(head=head, dimensions=6)
    features, logits = model(images())
    assert features.shape == (2, 6 if head == "triplet" else 16)
    assert features.shape[1] == model.config.feature_size
    assert (logits is None) if classes is None else (logits.shape == (2, classes))


def test_classification_reads_its_logits_off_the_feature():
    model = build(head="classification")
    features, logits = model(images())
    head = model.head.classifier
    np.testing.assert_allclose(logits, features @ head.kernel[...] + head.bias[...], atol=1e-6)


def test_pixels_are_normalised_inside():
    ours = build(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    plain = build(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    x = images()
    expected = plain((x - jnp.array([0.1, 0.2, 0.3])) / jnp.array([0.4, 0.5, 0.6])).features
    np.testing.assert_allclose(ours(x).features, expected, atol=1e-5)


def test_colours_are_exchanged_before_they_are_normalised():
    ours = build(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), colours="BGR")
    plain = build(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    x = images()
    red, green, blue = jnp.moveaxis(x, -1, 0)
    expected = plain(jnp.stack([blue, green, red], -1)).features
    np.testing.assert_allclose(ours(x).features, expected, atol=1e-6)
    assert not np.allclose(ours(x).features, plain(x).features, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "top", "left"),
    [((20, 12), 2, 2), ((21, 13), 2, 2), ((19, 11), 2, 2), ((16, 8), 0, 0)],
)
def test_the_centre_is_torchvisions(size, top, left):
    # Half of 5 and of 3 are 2.5 and 1.5, both rounded to 2.
    x = images(2, *size, 3)
    cut = x[:, top : top + 16, left : left + 8]
    np.testing.assert_array_equal(build(crop=(16, 8))(x).features, build()(cut).features)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_cut_off_has_no_gradient(frozen):
    embed = models.embedding(build(crop=(16, 8), colours="BGR"))
    embed = embed.frozen() if frozen else embed
    gradient = jax.jit(jax.grad(lambda x: embed(x).sum()))(images(1, 20, 12, 3))
    inside = np.zeros(gradient.shape, bool)
    inside[:, 2:18, 2:10] = True
    assert np.abs(gradient[inside]).max() > 0
    assert not np.any(gradient[~inside])


def test_resize_inside_is_that_of_pil():
    x = np.asarray(images(1, 20, 12, 3))
    channels = [
        np.asarray(Image.fromarray(x[0, :, :, c]).resize((8, 16), Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    expected = build()(jnp.asarray(np.stack(channels, -1)[None])).features
    np.testing.assert_allclose(build(resize=(16, 8))(jnp.asarray(x)).features, expected, atol=1e-4)


def test_training_moves_the_running_statistics():
    model = build(head="classification")
    before = model.head.neck.mean[...]
    model(images(), batch_norm="batch")
    assert not np.allclose(before, model.head.neck.mean[...])


@pytest.mark.slow
def test_bfloat16_computes_close_to_float32_with_float32_parameters():
    wide, narrow = build(head="classification"), build(head="classification", dtype=jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves(nnx.state(narrow))} == {jnp.dtype("float32")}
    expected, got = wide(images()).features, narrow(images()).features
    assert got.dtype == jnp.float32
    assert 0 < jnp.linalg.norm(got - expected) / jnp.linalg.norm(expected) < 0.03


@pytest.mark.slow
def test_statistics_can_be_shared_over_devices():
    alone, shared = build(head="triplet"), build(head="triplet", axis_name="devices")
    x = images(8, 16, 8, 3)
    expected = alone(x, batch_norm="batch").features
    graph, state = nnx.split(shared)

    def step(x):
        model = nnx.merge(graph, state, copy=True)
        features = model(x, batch_norm="batch").features
        return features, nnx.state(model, nnx.BatchStat)

    features, stats = jax.pmap(step, axis_name="devices")(x.reshape(4, 2, 16, 8, 3))
    np.testing.assert_allclose(features.reshape(8, -1), expected, atol=1e-4)
    for got, want in zip(
        jax.tree.leaves(stats), jax.tree.leaves(nnx.state(alone, nnx.BatchStat)), strict=True
    ):
        np.testing.assert_allclose(got[3], want, atol=1e-5)


def test_initial_weights_come_from_the_key():
    leaves = [
        jax.tree.leaves(nnx.state(models.create(TINY, head="none", rngs=nnx.Rngs(seed))))
        for seed in (0, 0, 1)
    ]
    same = [all((a == b).all() for a, b in zip(leaves[0], other, strict=True)) for other in leaves]
    assert same == [True, True, False]


# The first of each kind: what has nothing but other numbers is slow.
FIRST = {kind_of(shape): name for name, shape in reversed(models.ARCHITECTURES.items())}.values()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name if name in FIRST else pytest.param(name, marks=pytest.mark.slow)
        for name in models.ARCHITECTURES
    ],
)
def test_named_architectures_run(name):
    model = abstract(name, head="linear", classes=7)
    graph, state = nnx.split(model)
    size = model.config.backbone.image_size or (224, 224)
    shape = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    outputs = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, shape)
    assert outputs.features.shape == (2, model.config.feature_size)
    assert outputs.logits.shape == (2, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build()(images(2, 16, 8, 4)), r"\[B,H,W,3\].*\(2, 16, 8, 4\)"),
        (lambda: build()(images(16, 8, 3)), r"\[B,H,W,3\].*\(16, 8, 3\)"),
        (lambda: build()(jnp.zeros((1, 16, 8, 3), jnp.uint8)), "uint8; divide by 255"),
        (lambda: build("resnet51"), "unknown architecture 'resnet51'; there are resnet18"),
        (lambda: build(head="linear", classes=None), "needs classes"),
        (lambda: build(head="classification", classes=0), "needs classes"),
        (lambda: build(head="triplet", dimensions=0), "dimensions"),
        (lambda: models.create(TINY, head="cosface", rngs=nnx.Rngs(0)), "expected one of"),
        (lambda: build(last_stride=3), r"last_stride: expected one of \(1, 2\), got 3"),
        (lambda: build("deit_tiny", last_stride=1), "a vision transformer has none"),
        (lambda: build(image_size=(64, 32)), "a ResNet takes any"),
        (lambda: build(std=(1.0, 0.0, 1.0)), "std above 0"),
        (lambda: build(std=(1.0, float("nan"), 1.0)), "std above 0"),
        (lambda: build(mean=(0.5,)), "three numbers"),
        (lambda: build(resize=(0, 8)), "resize"),
        (lambda: build(crop=(0, 8)), "crop must be"),
        (lambda: build(crop=(17, 8), resize=(16, 8)), "cannot be cut out of images of"),
        (lambda: build(crop=(17, 8))(images()), "centre of 17x8 out of its images, got 16x8"),
        (lambda: build("deit_tiny", crop=(64, 32)), r"takes images of \(224, 224\)"),
        (lambda: build(colours="GBR"), "expected 'RGB' or 'BGR', got 'GBR'"),
        (lambda: build(head="classification", neck_feature="under"), "'after' or 'before'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
