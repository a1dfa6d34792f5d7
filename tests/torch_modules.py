"""A small PyTorch module, as `from_torch` gets it, and images for it; skips where no PyTorch is."""

import numpy as np
import pytest

from jaxreid.models import from_torch

torch = pytest.importorskip("torch")

SIZE = (16, 8)


class Conv(torch.nn.Module):
    """A convolution, BatchNorm and dropout: eval mode must be on."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.1, 0.1)
            self.norm.running_var.uniform_(0.5, 1.5)

    def map(self, x):
        return self.drop(torch.tanh(self.norm(self.conv(x))))

    def forward(self, x):
        return self.map(x).mean((2, 3))


def made(kind, *arguments):
    """A module with weights of one seed."""
    torch.manual_seed(0)
    return kind(*arguments)


def wrapped(module, **options):
    """The embedding of a module, by callbacks and without a report unless options say otherwise."""
    return from_torch(module, **{"size": SIZE, "report": None, "route": "callback", **options})


def drawn(count, seed=1):
    """Images [count,16,8,3] in [0, 1]."""
    return np.random.default_rng(seed).random((count, *SIZE, 3), np.float32)
