"""A network beside its twin in PyTorch: the same, or from which part on it is another."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from networks import drawn

from jaxreid import models
from jaxreid.models import weights
from jaxreid.models.torch_modules import Inputs

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from torch_networks import small  # noqa: E402

from jaxreid.benchmark.torch_twins.conversion import as_torch  # noqa: E402
from jaxreid.benchmark.torch_twins.resnet import ResNet  # noqa: E402
from jaxreid.models.comparison import EXPECTED, EXPECTED_WIDE, compare  # noqa: E402


class Wrapped(torch.nn.Module):
    """The network under a name of its own."""

    def __init__(self, network):
        super().__init__()
        self.base = network

    def forward(self, x):
        return self.base(x)


@pytest.fixture(scope="module")
def model():
    return models.create(small(), head="none", rngs=nnx.Rngs(0))


@pytest.fixture
def twin(model):
    network = ResNet(small())
    own = weights.to_state_dict(model, layout="torchvision")
    network.load_state_dict(
        {name: torch.from_numpy(own[name].copy()) for name in own}, strict=False
    )
    return network


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 32, 16, 3), np.float32)


def compared(model, network, images, **options):
    return compare(model, Wrapped(network), images, layout="torchvision", **options)


def test_a_twin_is_the_same_in_every_part(model, twin, images):
    forward = models.ResNet.__call__
    found = compared(model, twin, images)
    assert models.ResNet.__call__ is forward
    assert found.tensors == ()
    assert found.begins is None
    assert max(found.features, found.gradients) < EXPECTED
    names = [stage.name for stage in found.stages]
    parts = ("conv1", "bn1", *(f"layer{k}.0{part}" for k in (1, 2) for part in ("", ".conv2")))
    assert {f"base.{part}" for part in parts} <= set(names)
    assert names.index("base.layer1.0") < names.index("base.layer2.0.conv1")
    assert all(stage.difference < EXPECTED for stage in found.stages)


def test_it_says_where_it_begins_and_which_weights_differ(model, twin, images):
    with torch.no_grad():
        twin.layer1[0].conv2.weight *= 1.1
    found = compared(model, twin, images)
    assert found.tensors == ("layer1.0.conv2.weight",)
    assert found.begins == "base.layer1.0.conv2"
    assert found.begins_with_weights
    assert min(found.features, found.gradients) > 1e-3
    # The convolution alone is a tenth larger: max|1.1 f - f| / max|1.1 f|.
    began = next(stage for stage in found.stages if stage.name == found.begins)
    np.testing.assert_allclose(began.difference, 0.1 / 1.1, rtol=1e-3)


def test_a_part_that_does_something_else_has_the_same_weights(model, twin, images):
    twin.layer2[0].bn2.eps = 0.1
    found = compared(model, twin, images)
    assert (found.tensors, found.begins) == ((), "base.layer2.0.bn2")
    assert not found.begins_with_weights


@pytest.mark.parametrize("size", [2e-5, 5e-5])
def test_a_difference_a_little_above_rounding_has_its_place(model, twin, images, size):
    """A bias that is off by this part of the largest output: just that much of its part."""
    largest = []
    handle = twin.layer2[0].bn2.register_forward_hook(
        lambda _part, _given, output: largest.append(float(output.detach().abs().max()))
    )
    compared(model, twin, images)
    handle.remove()
    with torch.no_grad():
        twin.layer2[0].bn2.bias += 2 * size * max(largest)
    found = compared(model, twin, images)
    assert found.begins == "base.layer2.0.bn2"
    assert found.begins_with_weights
    began = next(stage for stage in found.stages if stage.name == found.begins)
    np.testing.assert_allclose(began.difference, 2 * size, rtol=0.1)


class Beside(torch.nn.Module):
    """A backbone without its library's name, and its neck beside it."""

    def __init__(self, network, name):
        super().__init__()
        self.network = network if name is None else torch.nn.ModuleDict({name: network})
        self.bottleneck = torch.nn.BatchNorm1d(small().feature_size)
        self.name = name

    def forward(self, x):
        return (self.network if self.name is None else self.network[self.name])(x)


@pytest.mark.parametrize("name", [None, "trunk"])
def test_names_may_lack_what_the_files_begin_with(twin, images, name):
    """reid-strong-baseline's names begin with base., this module's do not."""
    model = models.create(
        dataclasses.replace(small(), last_stride=1),
        classes=5,
        neck_feature="before",
        rngs=nnx.Rngs(0),
    )
    own = weights.to_state_dict(model, layout="strong-baseline")
    network = ResNet(model.config.backbone)
    state = {n.removeprefix("base."): torch.from_numpy(v.copy()) for n, v in own.items()}
    network.load_state_dict(state, strict=False)
    bare = compare(model, network, images, layout="strong-baseline")
    # Neck and classifier aside, every tensor of the file is in the module.
    shared = sum(name.startswith("base.") for name in own)
    assert (bare.tensors, bare.shared, bare.begins) == ((), shared, None)
    assert {"conv1", "layer1.0", "layer2.0.bn2"} <= {stage.name for stage in bare.stages}
    beside = Beside(network, name)
    beside.bottleneck.load_state_dict(
        {
            n.removeprefix("bottleneck."): torch.from_numpy(v.copy())
            for n, v in own.items()
            if n.startswith("bottleneck.")
        }
    )
    with torch.no_grad():
        network.layer1[0].conv2.weight *= 1.1
    found = compare(model, beside, images, layout="strong-baseline")
    before = "network." if name is None else f"network.{name}."
    assert found.shared == shared + sum(n.startswith("bottleneck.") for n in own)
    assert found.tensors == ("base.layer1.0.conv2.weight",)
    assert found.begins == f"{before}layer1.0.conv2"
    assert found.begins_with_weights


def test_names_that_are_nothing_alike_share_nothing(model, twin, images):
    class Renamed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for number, part in enumerate(twin.parameters()):
                self.register_parameter(f"p{number}", torch.nn.Parameter(part.detach()))
            self.held = (twin.eval(),)

        def forward(self, x):
            return self.held[0](x)

    found = compare(model, Renamed(), images, layout="torchvision")
    assert (found.shared, found.stages, found.begins) == (0, (), None)
    assert found.features < EXPECTED


def test_the_pixels_may_be_those_of_the_module(model, twin, images):
    """Images in grey levels: our network normalises by ImageNet's mean and deviation, this too."""
    mean, std = (255 * np.array(x) for x in (model.config.mean, model.config.std))
    same = Inputs(mean=tuple(mean), std=tuple(std), scale=255)
    assert compared(model, twin, images, inputs=same).features < EXPECTED
    found = compared(model, twin, images, inputs=Inputs())
    assert found.begins == "base.conv1"


class Normalised(torch.nn.Module):
    """Images in [0, 1], by a mean and deviation in float32, as buffers are."""

    def __init__(self, network, config):
        super().__init__()
        self.network = network
        for name in ("mean", "std"):
            numbers = torch.tensor(getattr(config, name)).reshape(3, 1, 1)
            self.register_buffer(name, numbers)

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


@pytest.mark.parametrize("colours", ["RGB", "BGR"])
def test_a_mean_in_float32_is_no_difference_and_an_epsilon_is(model, twin, images, colours):
    config = dataclasses.replace(model.config, colours=colours)
    own = models.ReID(config, rngs=nnx.Rngs(0))
    nnx.update(own, nnx.state(model))
    inside, inputs = Normalised(twin, config), Inputs(colours=colours.lower())
    found = compare(own, inside, images, layout="torchvision", inputs=inputs)
    assert found.narrow == ""
    assert max(found.features, *(stage.difference for stage in found.stages)) < 1e-12
    twin.layer2[0].bn2.eps = 1.1e-5
    found = compare(own, inside, images, layout="torchvision", inputs=inputs)
    assert found.begins == "network.layer2.0.bn2"
    assert 1e-9 < found.features < EXPECTED


def test_windows_in_another_order_do_not_hide_where_an_epsilon_differs():
    """SOLIDER's own epsilon is 1e-5; 1e-6 changes less than float32 rounds."""
    shape = models.SwinConfig(8, (1, 1), (2, 4), window=4)
    own = drawn(shape, head="none")
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    network = as_torch(own)
    assert compare(own, network, images, inputs=Inputs()).features < EXPECTED_WIDE
    norm = network[1].stages[1].blocks[0].norm2
    assert norm.eps == 1e-5
    norm.eps = 1e-6
    found = compare(own, network, images, inputs=Inputs())
    assert found.begins == "1.stages.1.blocks.0.norm2"
    assert EXPECTED_WIDE < found.features < EXPECTED


def test_features_of_another_size_are_infinitely_far(model, images):
    network = ResNet(small(), classes=5)
    network.forward = lambda x: network.fc(ResNet.forward(network, x))
    found = compare(model, network, images, layout="torchvision")
    assert (found.features, found.gradients) == (np.inf, np.inf)


class Autocast(Wrapped):
    """Computes in bfloat16 whatever its weights are of, unless they are of float64."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


def test_what_float64_hides_is_seen_in_the_modules_own_type(model, twin, images):
    found = compare(model, Autocast(twin), images, layout="torchvision")
    assert "in its own type" in found.narrow
    assert found.begins == "base.conv1"
    # bfloat16 has 8 bits.
    assert 2**-12 < found.features < 2**-4


def test_a_module_in_bfloat16_is_compared(model, twin, images):
    found = compared(model, twin.bfloat16(), images)
    assert "bfloat16" in found.narrow
    assert found.begins == "base.conv1"
    assert 2**-12 < found.features < 2**-4


def test_a_mean_of_zero_is_none(model, twin, images):
    """Said as a mean of 0 and a deviation of 1, or left out, it is the module that normalises."""

    class Inside(Wrapped):
        def forward(self, x):
            constants = (model.config.mean, model.config.std)
            mean, std = (torch.tensor(row).view(3, 1, 1) for row in constants)
            return super().forward((x - mean) / std)

    for inputs in (Inputs(), Inputs(mean=(0, 0, 0), std=(1, 1, 1))):
        found = compare(model, Inside(twin), images, layout="torchvision", inputs=inputs)
        assert not found.narrow
        assert found.begins is None
        assert found.features < EXPECTED_WIDE
