"""jaxreid inspect --against."""

import json
import textwrap

import pytest
from commands import run
from flax import nnx

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from torch_networks import small  # noqa: E402

from jaxreid.benchmark.torch_twins.resnet import ResNet  # noqa: E402
from jaxreid.cli.against import compared  # noqa: E402
from jaxreid.models import ViTConfig, create  # noqa: E402

NETWORK = """
import torch
from torch_networks import small
from jaxreid.benchmark.torch_twins.resnet import ResNet

def same():
    network = ResNet(small(), classes=5)
    network.load_state_dict(torch.load("small.pth"))
    return network

def other():
    network = same()
    network.layer2[0].bn2.eps = 0.1
    return network

def epsilon():
    network = same()
    network.layer2[0].bn2.eps = 1.1e-5
    return network

class Narrow(torch.nn.Module):
    # As the LayerNorm in CLIP's code, it casts inside.
    def __init__(self):
        super().__init__()
        self.network = same()

    def forward(self, x):
        return self.network(x.float())

def narrow():
    return Narrow()

class Unlike(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.zeros(1))
        self.held = (same().eval(),)

    def forward(self, x):
        return self.held[0](x) * (1 + self.p)

def unlike():
    return Unlike()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, encoded):
    torch.manual_seed(0)
    torch.save(ResNet(small(), classes=5).state_dict(), tmp_path / "small.pth")
    (tmp_path / "twins_in_torch.py").write_text(textwrap.dedent(NETWORK))
    (tmp_path / "people").mkdir()
    for seed in range(5):
        (tmp_path / "people" / f"{seed}.png").write_bytes(encoded(seed, "PNG"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_table_says_same_or_where_it_begins(folder, capsys):
    words = ["inspect", "small.pth", "--images", "people", "--size", "32x16"]
    code, out, err = run(capsys, *words, "--against", "twins_in_torch:same")
    assert code == 0, err
    table = out[out.index("against ") :].splitlines()
    assert "4 images, as 32x16 by bilinear" in " ".join(table[:2])
    assert table[-2].startswith("the same network: rounding of float64 explains 1e-09")
    assert len(table) <= 20
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = run(capsys, *words, "--against", "twins_in_torch:other", "--json")
    found = json.loads(out)["against"]
    assert code == 0
    assert found["begins"] == "layer2.0.bn2"
    assert found["tensors"] == []


# Of a variance v, 1 / sqrt(v + 1.1e-5) is 5e-7 / v smaller than 1 / sqrt(v + 1e-5): v is 1 here.
def test_another_epsilon_is_seen_below_what_float32_rounds(folder, capsys):
    words = ["inspect", "small.pth", "--size", "32x16", "--json", "--against"]
    code, out, _ = run(capsys, *words, "twins_in_torch:epsilon")
    found = json.loads(out)["against"]
    assert code == 0
    assert (found["begins"], found["precision"]) == ("layer2.0.bn2", "float64")
    part = next(stage for stage in found["stages"] if stage[0] == "layer2.0.bn2")
    assert part[2] == pytest.approx(5e-7, rel=1e-3)
    assert 1e-9 < found["features"] < 1e-5
    out = " ".join(run(capsys, *words[:-2], words[-1], "twins_in_torch:epsilon")[1].split())
    assert "not quite the same network, though rounding of float32 would hide it" in out
    assert "begins in layer2.0.bn2 (what it does differs, not its weights: a constant such" in out


def test_a_module_that_knows_no_float64_is_compared_in_float32(folder, capsys):
    words = ["inspect", "small.pth", "--size", "32x16", "--against", "twins_in_torch:narrow"]
    code, out, _ = run(capsys, *words, "--json")
    found = json.loads(out)["against"]
    assert (code, found["precision"], found["expected"]) == (0, "float32", 1e-5)
    assert found["features"] < 1e-5
    said = run(capsys, *words)[1]
    assert max(map(len, said.splitlines())) <= 80
    said = " ".join(said.split())
    assert "the same network: rounding of float32 explains 1e-05" in said
    assert "not compared in float64, which shows smaller ones: Narrow failed" in said


def test_nothing_of_the_same_name_is_no_agreement(folder, capsys):
    words = ["inspect", "small.pth", "--size", "32x16", "--against", "twins_in_torch:unlike"]
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "weights     none has the name that it has in the file: not compared" in out
    assert "all of the same values" not in out


def test_camera_embeddings_are_said_to_be_left_out(folder):
    shape = ViTConfig(
        width=64, depth=1, heads=1, patch=8, image_size=(32, 16), cameras=3, sie_factor=3.0
    )
    model = create(shape, classes=5, rngs=nnx.Rngs(0))
    _, words = compared(model, "twins_in_torch:same", layout=None, images=())
    assert words.endswith(
        "without cameras: jaxreid's adds none of its camera embeddings, nor should yours"
    )
    model = create(small(), classes=5, rngs=nnx.Rngs(0))
    _, words = compared(model, "twins_in_torch:same", layout=None, images=())
    assert "cameras" not in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", "people"), "--images are for --against"),
        (("--against", "twins_in_torch:sane"), "did you mean 'same'?"),
        (("--against", "twins_in_torch:same", "--images", "none"), "none cannot be read"),
        (("--against", "twins_in_torch:same", "--images", "small.pth"), "small.pth"),
    ],
)
def test_bad_input_is_named(folder, capsys, options, message):
    code, _, err = run(capsys, "inspect", "small.pth", *options)
    assert code == 2
    assert message in err
