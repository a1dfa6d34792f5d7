import numpy as np
import pytest
import weight_recipe
from networks import drawn

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights.layouts import name_of
from jaxreid.models.weights.transfer import from_torch, shapes_in, to_torch


def config_of(architecture, head="classification", classes=None):
    classes = None if head in ("triplet", "none") else classes
    return models.ModelConfig(models.ARCHITECTURES[architecture], head=head, classes=classes)


def names(config, layout):
    shapes = {}
    for path, shape in shapes_in(config).items():
        value = np.broadcast_to(np.int8(0), shape)
        shapes[name_of(path, config, layout)] = to_torch(value, path).shape
    return shapes


def test_adv_reid_names_are_those_of_its_state_dict(golden):
    expected = {
        name: shape
        for name, shape in weight_recipe.shapes(golden).items()
        if not name.endswith("num_batches_tracked")
    }
    assert names(config_of("resnet50", classes=751), "adv-reid") == expected


def test_a_written_state_dict_has_the_counters_too(golden):
    config = models.ResNetConfig("basic", depths=(1,), widths=(4,), stem_width=4)
    model = drawn(config, head="classification", classes=3)
    state = weights.to_state_dict(model)
    counters = {name: value for name, value in state.items() if name.endswith("tracked")}
    assert set(counters) == {
        f"backbone.{norm}.num_batches_tracked"
        for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2", "fc")
    }
    assert all(value.shape == () and value.dtype == np.int64 for value in counters.values())


@pytest.mark.parametrize(
    ("head", "layout", "expected"),
    [
        ("linear", "torchvision", {"fc.weight": (5, 512), "fc.bias": (5,)}),
        ("linear", "torchreid", {"classifier.weight": (5, 512), "classifier.bias": (5,)}),
        ("triplet", "adv-reid", {"backbone.fc.2.weight": (128, 512)}),
        ("classification", "adv-reid", {"backbone.fc.running_var": (512,), "fc.bias": (5,)}),
        ("none", "torchvision", {"conv1.weight": (64, 3, 7, 7)}),
    ],
)
def test_heads_have_the_names_of_their_library(head, layout, expected):
    got = names(config_of("resnet18", head=head, classes=5), layout)
    assert {name: got.get(name) for name in expected} == expected


def test_fast_reid_has_a_classifier_without_bias():
    config = models.ModelConfig(models.ARCHITECTURES["resnet18"], classes=5, classifier_bias=False)
    got = names(config, "fast-reid")
    heads = {name: shape for name, shape in got.items() if name.startswith("heads")}
    statistics = ("weight", "bias", "running_mean", "running_var")
    expected = {f"heads.bottleneck.0.{name}": (512,) for name in statistics}
    assert heads == {**expected, "heads.weight": (5, 512)}


def test_deit_has_timms_names():
    got = names(config_of("deit_tiny", head="linear", classes=10), "timm")
    expected = {"cls_token", "pos_embed", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    expected |= {f"patch_embed.proj.{part}" for part in ("weight", "bias")}
    layers = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    expected |= {
        f"blocks.{index}.{layer}.{part}"
        for index in range(12)
        for layer in layers
        for part in ("weight", "bias")
    }
    assert set(got) == expected
    assert got["blocks.3.attn.qkv.weight"] == (576, 192)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classification", "triplet", "linear", "none"])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "resnet_patch", "deit_tiny"])
def test_names_are_unique_in_every_layout(architecture, head):
    config = config_of(architecture, head=head, classes=5)
    count = len(shapes_in(config))
    layout = weights.default_layout(config)
    assert len(names(config, layout)) == len(names(config, "adv-reid")) == count


def test_axes_turn_to_pytorchs_and_back():
    path = ("backbone", "conv1", "kernel")
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    turned = to_torch(kernel, path)
    assert turned.shape == (5, 4, 2, 3)
    assert turned[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    np.testing.assert_array_equal(from_torch(turned, path), kernel)
    linear = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(to_torch(linear, path), linear.T)
    square = np.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(to_torch(square, ("backbone", "cls_token")), square)


@pytest.mark.parametrize(
    ("options", "layout", "message"),
    [
        ({"architecture": "resnet18", "head": "triplet"}, "torchvision", "no head 'triplet'"),
        ({"architecture": "deit_tiny", "head": "none"}, "torchreid", "a vision transformer"),
    ],
)
def test_what_a_library_lacks_is_named(options, layout, message):
    with pytest.raises(InputError, match=message):
        names(config_of(**options), layout)
