"""PyTorch's attacks on the same network with the same weights: as the paper does it, and faster.

Imported only where PyTorch is installed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import torch
from torch.fx.experimental.optimization import fuse

from jaxreid.benchmark.contest import Problem, Rival
from jaxreid.benchmark.torch_attack import TorchEmbed, torch_attack, torch_attack_by_replay
from jaxreid.benchmark.torch_twins.conversion import as_torch

__all__ = ["torch_rivals"]

# Found faster than eager PyTorch's choice, and left to whoever has the minutes it takes.
_AUTOTUNE = "max-autotune-no-cudagraphs"

Attack = Callable[[torch.Tensor], object]
"""Attacks from where an attack sets out: [B,3,H,W]."""


class _Scene(NamedTuple):
    """A network and its batch on a device."""

    network: torch.nn.Module
    images: torch.Tensor
    pull: torch.Tensor | None
    how: dict[str, float]

    def rival(self, problem: Problem, attack: Attack) -> Callable[[], None]:
        """One attack, waited for; SMA's starts at random, anew in each run."""

        def run() -> None:
            start = self.images
            if self.pull is None:
                noise = (2 * torch.rand_like(start) - 1) * problem.eps
                start = (start + noise).clamp(0, 1)
            attack(start)
            # Gradients to weights add up; the paper's code clears them as well.
            self.network.zero_grad(set_to_none=True)
            if start.is_cuda:
                torch.cuda.synchronize()

        return run


def torch_rivals(problem: Problem, *, compiled: bool, autotune: bool) -> dict[str, Rival]:
    """PyTorch's contestants, on a GPU if JAX uses one; nothing is compiled or recorded yet.

    TF32 is allowed to all of them, as it is to JAX by default. At its best, PyTorch has frozen
    weights with BatchNorm folded into them by torch.fx, channels last, bfloat16 if that is the
    dtype, on a GPU a recorded CUDA graph of a whole step as well, and with `compiled` also kernels
    of `torch.compile`, which needs a C++ compiler; `autotune` lets it try more of these.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    gpu = torch.cuda.is_available() and jax.default_backend() == "gpu"
    where = torch.device("cuda" if gpu else "cpu")
    # NCHW, gradients to the weights as well.
    plain = _scene(problem, where)
    found = {"PyTorch, as the paper's code": _rival(problem, plain, plain.network)}
    best = _at_its_best(_scene(problem, where), half=problem.dtype == "bfloat16")
    embeds = {"PyTorch, at its best": _cast(problem, best.network, where)}
    if compiled:
        forward = _compiled(best.network, _AUTOTUNE if autotune else None)
        embeds["PyTorch, at its best, compiled"] = _cast(problem, forward, where)
    for name, embed in embeds.items():
        found[name] = _rival(problem, best, embed)
        if gpu:
            replayed = _replayed(problem, best, embed)
            found[f"{name}, CUDA graph"] = found[name]._replace(run=replayed)
    return found


def _scene(problem: Problem, where: torch.device) -> _Scene:
    return _Scene(
        as_torch(problem.model).to(where),
        torch.tensor(problem.images.transpose(0, 3, 1, 2).copy(), device=where),
        None if problem.pull is None else torch.tensor(problem.pull, device=where),
        {"eps": problem.eps, "step_size": problem.step_size},
    )


def _at_its_best(scene: _Scene, *, half: bool) -> _Scene:
    """Weights frozen, BatchNorm folded, channels last, and bfloat16 where no step need cast."""
    # What follows a convolution or a linear layer goes into its weights.
    network = fuse(scene.network).requires_grad_(False).to(memory_format=torch.channels_last)
    if half:
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.to(torch.bfloat16)
    images = scene.images.to(memory_format=torch.channels_last)
    return scene._replace(network=network, images=images)


def _cast(problem: Problem, forward: TorchEmbed, where: torch.device) -> TorchEmbed:
    """A network at the problem's precision."""
    half = problem.dtype == "bfloat16"

    def embed(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(where.type, torch.bfloat16, enabled=half):
            return forward(x)

    return embed


def _compiled(network: torch.nn.Module, mode: str | None) -> TorchEmbed:
    """Compiled from the first call on: where PyTorch cannot, only those that ask for it fail."""
    made: list[TorchEmbed] = []

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not made:
            made.append(torch.compile(network, mode=mode))
        return made[0](x)

    return forward


def _eager(problem: Problem, scene: _Scene, embed: TorchEmbed) -> Callable[[], None]:
    """Kernels launched one by one."""

    def attack(start: torch.Tensor) -> object:
        images, pull = scene.images, scene.pull
        return torch_attack(embed, images, start, pull, **scene.how, steps=problem.steps)

    return scene.rival(problem, attack)


def _replayed(problem: Problem, scene: _Scene, embed: TorchEmbed) -> Callable[[], None]:
    """Every step launched as one graph, which the first call records."""
    recorded: list[Attack] = []

    def attack(start: torch.Tensor) -> object:
        if not recorded:
            images, pull = scene.images, scene.pull
            recorded.append(
                torch_attack_by_replay(embed, images, pull, **scene.how, steps=problem.steps)
            )
        return recorded[0](start)

    return scene.rival(problem, attack)


def _rival(problem: Problem, scene: _Scene, embed: TorchEmbed) -> Rival:
    """Kernels launched one by one, beside features of the same network, to compare with ours."""

    def features() -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = embed(scene.images).float().cpu().numpy()
        return found

    return Rival(_eager(problem, scene, embed), features)
