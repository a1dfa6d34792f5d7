"""PyTorch's attack ends where ours does, step by step and by a step that was recorded."""

import contextlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreid import attacks

pytestmark = pytest.mark.torch

HOW = {"eps": 5 / 255, "step_size": 1 / 255, "steps": 7}


@pytest.fixture
def case():
    """Weights, images, pulling features, and our images after the attack."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8 * 4 * 3, 5)).astype(np.float32)
    images, pull = rng.random((3, 8, 4, 3), np.float32), rng.random((3, 2, 5), np.float32)

    def embed(x):
        return jnp.tanh(x.reshape(len(x), -1) @ weights)

    ours = jax.jit(lambda x: attacks.nna(embed, x, embed(x)[:, None], pull, **HOW))(images)
    return weights, images, pull, np.asarray(ours)


def torch_case(case):
    import torch

    weights, images, pull, _ = case
    kept = torch.tensor(weights)

    def embed(x):
        return torch.tanh(x.permute(0, 2, 3, 1).flatten(1) @ kept)

    return embed, torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(pull)


def agree(theirs, ours):
    close = np.abs(theirs.permute(0, 2, 3, 1).numpy() - ours) < 1e-6
    assert close.mean() > 0.99  # where a gradient is zero but for rounding, so is its sign


def test_step_by_step(case):
    from jaxreid.benchmark.torch_attack import torch_attack

    embed, images, pull = torch_case(case)
    agree(torch_attack(embed, images, images, pull, **HOW), case[-1])


def test_features_that_the_next_pass_overwrites(case):
    """As those of a network in a CUDA graph are."""
    from jaxreid.benchmark.torch_attack import torch_attack

    embed, images, pull = torch_case(case)
    memory = []

    def overwriting(x):
        found = embed(x)
        if x.requires_grad:
            for one in memory:
                one.zero_()
        else:
            memory.append(found)
        return found

    agree(torch_attack(overwriting, images, images, pull, **HOW), case[-1])


def test_a_step_is_recorded_once_and_replayed(case, monkeypatch):
    """On a stand-in for a GPU: while it records, nothing is computed."""
    import torch

    from jaxreid.benchmark import torch_attack

    embed, images, pull = torch_case(case)
    log, recording = [], []
    stream = SimpleNamespace(wait_stream=lambda other: log.append("wait"))

    @contextlib.contextmanager
    def graph(one):
        recording.append(one)
        yield
        recording.clear()

    real = torch_attack.torch_step

    def step(x_embed, x, *rest, **how):
        log.append("record" if recording else "step")
        if recording:
            # A graph holds the places of its tensors, and launches what was recorded on them.
            recording[0].replay = lambda: x.copy_(real(x_embed, x, *rest, **how))
            return x
        return real(x_embed, x, *rest, **how)

    fakes = {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda side: contextlib.nullcontext(),
        "graph": graph,
    }

    class Graph:
        def replay(self):
            raise AssertionError("nothing is recorded")

    fakes["CUDAGraph"] = Graph
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch_attack, "torch_step", step)
    run = torch_attack.torch_attack_by_replay(embed, images, pull, **HOW)
    assert log == ["wait", *["step"] * 3, "wait", "record"]
    for _ in range(2):  # the second call begins anew
        agree(run(images), case[-1])
    assert log.count("record") == 1
