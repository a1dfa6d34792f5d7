"""MODEL as torch:module:factory."""

import re
import sys
import textwrap

import numpy as np
import pytest
from commands import run

from jaxreid.cli.model.loading import default_size, load_model
from jaxreid.cli.model.torch_module import settled
from jaxreid.data.source import open_split
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

NETWORK = """
import sys
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        x = torch.tanh(self.conv(x))
        return (x if x.mean() < 9 else 2 * x).mean((2, 3))

net = Net()
pixels = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
factory = Net
sized = lambda: (Net(), {**pixels, "size": (32, 16), "route": "callback"})
misspelt = lambda: (Net(), {"means": 1})
flat = lambda: (Net(), {"size": 3})
failing = lambda: 1 / 0
leaving = lambda: sys.exit(3)
scripted = lambda: torch.jit.script(Net())
nothing = lambda: None
number = 3
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The name of a module that holds the networks."""
    (tmp_path / "own_networks.py").write_text(textwrap.dedent(NETWORK))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    return "torch:own_networks"


def test_a_module_a_class_a_function_and_a_script_are_the_same(written):
    facts = [
        load_model(f"{written}:{name}").facts for name in ("net", "factory", "scripted", "sized")
    ]
    assert len({fact["sha256"] for fact in facts}) == 1
    assert {fact["class"] for fact in facts} == {"Net"}
    assert [fact.get("training_size") for fact in facts] == [None, None, None, [32, 16]]
    assert facts[3]["inputs"].startswith("RGB [B,3,H,W], (x - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.4)")


def test_other_weights_have_another_hash(written):
    import own_networks

    before = load_model(f"{written}:net").facts["sha256"]
    with torch.no_grad():
        own_networks.net.conv.bias[0] += 1
    assert load_model(f"{written}:net").facts["sha256"] != before


def test_it_is_compared_on_the_images_of_the_split(written, tiny_data, capsys):
    loaded = load_model(f"{written}:sized", flip=True)
    assert default_size("synthetic_reid/tiny", loaded) == (32, 16)
    split = open_split("synthetic_reid/tiny", "query", data_dir=tiny_data)
    found = settled(loaded, split, LoaderSettings((32, 16)))
    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) <= 80
    inputs, parity = said.replace("\n  ", " ").splitlines()
    assert inputs == f"model Net: {loaded.facts['inputs']}"
    assert parity.startswith("model Net: by callbacks into PyTorch (asked for); on 4 images of 32x")
    images = np.random.default_rng(0).random((2, 32, 16, 3), np.float32)
    net = loaded.embed.module.eval()
    both = []
    for pixels in (images, images[:, :, ::-1]):
        x = (pixels - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
        x = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
        both.append(net(x).detach().numpy())
    np.testing.assert_allclose(found.embed(images), sum(both) / 2, rtol=1e-4, atol=1e-6)


def test_a_command_takes_it(written, tiny_data, tmp_path, capsys):
    words = ["evaluate", f"{written}:sized", "--dataset", "synthetic_reid/tiny", "--limit", 4]
    words += ["--data-dir", tiny_data, "--attacks", "noise", "--eps", 5, "--out", tmp_path / "run"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "model Net: by callbacks" in err
    assert "noise" in out
    for name, message in {
        "net": "is a PyTorch module: name it torch:own_networks:net",
        "sized": "does not take images alone (too many positional arguments); expected images",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            load_model(f"{written.removeprefix('torch:')}:{name}")
    with pytest.raises(InputError, match=r"does not say the size .* give --size HEIGHTxWIDTH"):
        default_size("synthetic_reid/tiny", load_model(f"{written}:net"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":misspelt", "'means' is no option of a module; did you mean 'mean'?"),
        (":flat", r"size must be \(height, width\)"),
        (":failing", "failed: ZeroDivisionError: division by zero"),
        (":leaving", "torch:own_networks:leaving failed: SystemExit: 3"),
        (":nothing", "gives a NoneType; expected a torch.nn.Module, or a pair"),
        (":number", "is a int; expected a torch.nn.Module or a function"),
        (":nett", "did you mean 'net'?"),
        ("", "expected torch:module:factory"),
    ],
)
def test_what_gives_no_module_is_named(written, name, message):
    with pytest.raises(InputError, match=message):
        load_model(f"{written}{name}")
    with pytest.raises(InputError, match="--dtype is for networks of jaxreid"):
        load_model(f"{written}:net", dtype="bfloat16")


def test_what_timm_says_of_its_pixels_is_taken(written):
    import own_networks

    net = own_networks.Net()
    net.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (1, 1, 1), "input_size": (3, 48, 24)}
    own_networks.timm_like = net
    loaded = load_model(f"{written}:timm_like")
    assert loaded.size == (48, 24)
    assert "(x - (0.1, 0.2, 0.3)) / (1, 1, 1)" in loaded.facts["inputs"]
