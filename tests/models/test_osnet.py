"""OSNets compute what torchreid's code computes, and are named and sized as there."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from flax import nnx
from golden_models import GoldenModel, feature_errors
from networks import drawn, features, images, relative

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import OSNetConfig, weights
from jaxreid.models.config import IMAGENET_MEAN, IMAGENET_STD
from jaxreid.models.kinds import architecture_name
from jaxreid.models.osnet import OSNETS
from jaxreid.training.trainer import train

GOLDEN = ["osnet_x1_0", "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0"]
KINDS = {
    "plain": OSNetConfig((8, 64, 64, 128), blocks=(("batch",),) * 3),
    "ibn": OSNetConfig((8, 64, 64, 128), "instance", (("after",), ("batch",), ("batch",))),
    "ain": OSNetConfig((8, 64, 64, 128), "instance", (("inside",), ("batch",), ("batch",))),
}
# What has nothing that the others have not is slow.
WIDE = ["osnet_x1_0", "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0"]
NAMES = [name if name in WIDE else pytest.param(name, marks=pytest.mark.slow) for name in OSNETS]


@functools.cache
def shapes_of(name):
    """Name -> shape of a state dict, as torchreid names it, without computing anything."""
    options = {"head": "embedding", "classes": 751, "dimensions": 512}
    config = models.ModelConfig(models.ARCHITECTURES[name], **options)
    found = {}
    for path, shape in weights.transfer.shapes_in(config).items():
        if path[-1] == "kernel":
            shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]
        found[weights.layouts.name_of(path, config, "torchreid")] = shape
    return found


@pytest.mark.parametrize("name", GOLDEN)
def test_names_and_shapes_are_torchreids(golden, name):
    expected = GoldenModel(golden, f"torchreid_{name}").shapes
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    ours = shapes_of(name)
    assert ours == {key: shape for key, shape in expected.items() if key not in counters}
    assert {key.replace("running_var", "num_batches_tracked") for key in ours} >= counters


# Millions without classifier, https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO.html.
MILLIONS = {"x1_0": 2.2, "x0_75": 1.3, "x0_5": 0.6, "x0_25": 0.2}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_many_as_published(name):
    shapes = shapes_of(name)
    count = sum(
        int(np.prod(shape))
        for name, shape in shapes.items()
        if not re.match(r"classifier\.|.*running_", name)
    )
    assert round(count / 1e6, 1) == MILLIONS[re.sub(r"osnet_((ibn|ain)_)?", "", name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_is_read_off_its_tensors(name):
    model = {key: np.zeros(shape, np.int8) for key, shape in shapes_of(name).items()}
    assert weights.layouts.detect_layout(model) == "torchreid"
    config = weights.configs.infer(model, "torchreid", {})
    assert config.backbone == models.ARCHITECTURES[name]
    assert architecture_name(config.backbone) == name
    assert (config.head, config.classes, config.dimensions) == ("embedding", 751, 512)
    assert config.size == (256, 128)
    adaptive = "ain" in name
    assert config.pipeline.distance == ("cosine" if adaptive else "euclidean")


def test_features_are_those_of_torchreid(golden):
    expected = GoldenModel(golden, "torchreid_osnet_x0_25")
    model = expected.load()
    assert max(feature_errors(model, expected, kinds=["blocks"]).values()) < 2e-6
    exported = weights.to_state_dict(model, layout="torchreid")
    given = expected.state_dict()
    assert exported.keys() == given.keys()
    for name, value in given.items():
        assert exported[name].dtype == value.dtype
        np.testing.assert_array_equal(exported[name], value, err_msg=name)


def test_resnets_of_torchreid_have_stride_1_only_with_fc():
    def tensors(head):
        config = models.ResNetConfig(depths=(1, 1), widths=(4, 8), stem_width=4)
        model = drawn(config, head=head, classes=3, dimensions=6)
        return weights.to_state_dict(model, layout="torchreid")

    with_fc, plain = tensors("embedding"), tensors("linear")
    assert weights.from_state_dict(with_fc).config.backbone.last_stride == 1
    assert weights.from_state_dict(plain).config.backbone.last_stride == 2
    chosen = weights.from_state_dict(with_fc, last_stride=2).config
    assert chosen.backbone.last_stride == 2
    bare = {key: value for key, value in with_fc.items() if not key.startswith("classifier")}
    config = weights.from_state_dict(bare).config
    assert (config.head, config.classes, config.backbone.last_stride) == ("embedding", None, 1)


@functools.cache
def redrawn(config):
    """A network whose statistics are not those of a fresh one."""
    model = drawn(config, head="embedding", classes=3, dimensions=8)
    # Otherwise the last ReLU may leave nothing to compare.
    model.head.neck.bias[...] += 1
    return model


@pytest.mark.slow
def test_a_frozen_network_is_the_same():
    plain = models.embedding(redrawn(KINDS["ain"]))
    quick = jax.jit(lambda embed: embed.frozen())(plain)
    embed = jax.jit(lambda embed, x: embed(x))
    found, expected = (embed(one, images(2, 36, 20, 3)) for one in (quick, plain))
    assert relative(found, expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target"), [("plain", "cpu"), ("ibn", "cpu"), ("ain", "cpu"), ("ain", "tpu")]
)
def test_frozen_networks_and_their_gradients_are_the_same(kind, target):
    plain = models.embedding(redrawn(KINDS[kind]))
    quick = jax.jit(lambda embed: embed.frozen(target=target))(plain)
    x = jnp.asarray(images(2, 36, 20, 3))

    @jax.jit
    def both(embed, x):
        loss = jax.grad(lambda x: (jnp.sum(jnp.sin(embed(x))), embed(x)), has_aux=True)
        return loss(x)

    (slope, found), (expected_slope, expected) = both(quick, x), both(plain, x)
    assert relative(found, expected) < 1e-5
    assert relative(slope, expected_slope) < 1e-4


@pytest.mark.slow
def test_files_without_classifier_or_fc():
    tensors = weights.to_state_dict(redrawn(KINDS["plain"]), layout="torchreid")
    whole = weights.transfer.parameters(weights.from_state_dict(tensors))
    bare = {name: value for name, value in tensors.items() if not name.startswith("classifier")}
    wrapped = {f"module.{name}": value for name, value in bare.items()}
    model = weights.from_state_dict(wrapped)
    assert (model.config.head, model.config.classes) == ("embedding", None)
    # What gives the feature is the same to the bit.
    kept = weights.transfer.parameters(model)
    assert {path for path in whole if path[1] != "classifier"} == set(kept)
    for path, value in kept.items():
        np.testing.assert_array_equal(value, whole[path], err_msg=str(path))
    pooled = {name: value for name, value in bare.items() if not name.startswith("fc")}
    assert weights.from_state_dict(pooled).config.head == "none"
    # Of another width, its classifier would fit the pooled map.
    with pytest.raises(InputError, match=r"left over: classifier\.bias"):
        weights.from_state_dict(tensors, head="none", allow_unused=["fc.*"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (64, 256, 384)}, "4 integers"),
        ({"widths": (64, 256, 384, 1 << 20)}, "4 integers"),
        ({"widths": (16, 64, 48, 64)}, "64 channels"),
        ({"stem_norm": "layer"}, "stem_norm"),
        ({"blocks": (("batch",),) * 2}, "three stages"),
        ({"blocks": ((), ("batch",), ("batch",))}, "1 to 64"),
        ({"blocks": (("before",),) * 3}, r"got \['before'\]"),
    ],
)
def test_bad_shapes_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        OSNetConfig(**fields)


def test_broken_files_are_named():
    tensors = weights.to_state_dict(redrawn(KINDS["plain"]), layout="torchreid")
    lost = {name: value for name, value in tensors.items() if "conv2c.1.bn.weight" not in name}
    with pytest.raises(InputError, match=r"3 missing: conv2\.0\.conv2c\.1\.bn\.weight"):
        weights.from_state_dict(lost)
    staged = {name: value for name, value in tensors.items() if not name.startswith("conv4")}
    with pytest.raises(InputError, match=r"conv4\.0\.gate.*three stages"):
        weights.from_state_dict(staged)
    with pytest.raises(InputError, match=r"conv1\.conv\.weight: expected a 7x7"):
        weights.from_state_dict({**tensors, "conv1.conv.weight": np.zeros((8, 3, 3, 3))})
    with pytest.raises(InputError, match="last_stride belongs to ResNets; the file holds an OSNet"):
        weights.from_state_dict(tensors, last_stride=1)


@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_one_training_step_are_pytorchs(kind):
    with jax.enable_x64(True):
        compare(kind)


def compare(kind):
    """Both in float64: a BatchNorm of three rows makes much of float32's rounding."""
    import torch
    import weight_recipe

    from jaxreid.benchmark.torch_twins.osnet import OSNet

    theirs = weight_recipe.redraw(OSNet(KINDS[kind], embedding=8)).double()
    x = images(3, 48, 24, 3).astype(np.float64)
    model = weights.from_state_dict(theirs.state_dict(), dtype=jnp.float64)
    pixels = torch.from_numpy((x - IMAGENET_MEAN) / IMAGENET_STD).permute(0, 3, 1, 2)
    inputs = pixels.clone().requires_grad_()
    expected = theirs(inputs)
    (expected - 1).square().sum().backward()
    embed = models.embedding(model)
    slope = jax.jit(jax.grad(lambda x: jnp.sum((embed(x) - 1) ** 2)))(jnp.asarray(x))
    assert relative(features(model, x), expected.detach()) < 1e-10
    assert relative(slope, inputs.grad.permute(0, 2, 3, 1).numpy() / IMAGENET_STD) < 1e-10

    theirs.train().zero_grad()
    (theirs(pixels) ** 2).sum().backward()
    torch.optim.SGD(theirs.parameters(), lr=0.01).step()
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)

    @jax.jit
    def step(params, stats):
        def loss(params):
            net = nnx.merge(graph, params, stats, copy=True)
            found = net(jnp.asarray(x), batch_norm="batch").features
            return jnp.sum(found**2), nnx.state(net, nnx.BatchStat)

        gradient, after = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), after

    params, stats = step(params, stats)
    ours = weights.to_state_dict(nnx.merge(graph, params, stats), layout="torchreid")
    for name, value in theirs.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(ours[name], value.detach(), atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_it_is_trained(tmp_path, tiny_data, monkeypatch):
    monkeypatch.setitem(models.ARCHITECTURES, "osnet_tiny", KINDS["plain"])
    fields = {
        "dataset.data_dir": tiny_data,
        "model.architecture": "osnet_tiny",
        "model.head": "embedding",
        "model.dimensions": 16,
    }
    outcome = train(trainings.settings(fields), tmp_path / "run")
    assert outcome.finished
    trained = weights.load(tmp_path / "run" / "last.safetensors")
    assert trained.config.backbone == KINDS["plain"]
    assert (trained.config.head, trained.config.dimensions) == ("embedding", 16)
    assert np.isfinite(features(trained, images(2, 64, 32, 3))).all()
