"""The commands and Python of docs/weights.md, run as they stand there."""

import re
import shlex
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid.cli import main

PAGE = (Path(__file__).parent.parent / "docs/weights.md").read_text(encoding="utf-8")


def code_of(heading, language):
    section = PAGE.split(f"# {heading}\n")[1].split("\n##")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(block):
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.torch
def test_bring_your_own_weights(tmp_path, monkeypatch):
    import safetensors.torch
    import torch
    import torch_networks as networks
    import weight_recipe

    imagenet = networks.ResNet(networks.small(), classes=10)
    backbone = networks.ResNet(networks.small())
    trained = weight_recipe.redraw(networks.AdvReid(backbone, 64, classes=5))
    monkeypatch.chdir(tmp_path)
    safetensors.torch.save_file(imagenet.state_dict(), "resnet50.safetensors")
    checkpoint = {"net": trained.state_dict(), "map": 0.5, "epoch": 3, "optim": {"state": {}}}
    torch.save(checkpoint, "checkpoint.pth.tar")
    hub = lambda *_, **__: str(tmp_path / "resnet50.safetensors")  # noqa: E731
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    (shell,) = code_of("Bring your own weights", "bash")
    lines = list(commands(shell))
    assert [line[:2] for line in lines] == [["jaxreid", "convert"]] * 5
    for line in lines:
        with pytest.raises(SystemExit) as stop:
            main(line[1:])
        assert stop.value.code == 0, line

    backbone = networks.ResNet(networks.small())
    again = networks.AdvReid(backbone, 64, classes=5)
    again.load_state_dict(safetensors.torch.load_file("for_torch.safetensors"))
    state = torch.load("for_torch.pth", weights_only=True)
    assert state.keys() == again.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in again.state_dict().items())
    (python,) = code_of("Bring your own weights", "python")
    names = {}
    exec(python, names)
    x = np.random.default_rng(0).uniform(size=(2, 32, 16, 3)).astype(np.float32)
    with torch.no_grad():
        expected = unit(trained(networks.pixels(x)).numpy())
    np.testing.assert_allclose(names["embed"](x), expected, atol=1e-5)
    assert Path("copy.safetensors").read_bytes() == Path("market.safetensors").read_bytes()


@pytest.mark.torch
def test_attack_your_own_pytorch_trained_model():
    import torch
    import torch_networks as networks
    import weight_recipe

    theirs = weight_recipe.redraw(networks.ResNet(networks.small(), classes=10))
    x = np.random.default_rng(0).uniform(size=(2, 32, 16, 3)).astype(np.float32)
    (python,) = code_of("Attack your own PyTorch-trained model in JAX", "python")
    names = {"torch_model": theirs, "images": x}
    exec(python, names)
    with torch.no_grad():
        expected, attacked = (
            unit(theirs(networks.pixels(np.array(images))).numpy())
            for images in (x, names["adversarial"])
        )
    np.testing.assert_allclose(names["embed"](x), expected, atol=1e-5)
    assert jnp.abs(names["adversarial"] - x).max() <= 5 / 255 + 1e-7
    noise = np.clip(x + np.random.default_rng(1).uniform(-5 / 255, 5 / 255, x.shape), 0, 1)
    with torch.no_grad():
        noisy = unit(theirs(networks.pixels(noise.astype(np.float32))).numpy())
    # The model in PyTorch is fooled, and more than by noise.
    assert (
        np.linalg.norm(attacked - expected, axis=1) > 3 * np.linalg.norm(noisy - expected, axis=1)
    ).all()
