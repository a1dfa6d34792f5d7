"""The attacks in PyTorch, as its users write them, and as one recorded step on a GPU.

Imported only where PyTorch is installed.
"""

from collections.abc import Callable

import torch

__all__ = ["torch_attack", "torch_attack_by_replay", "torch_step"]

TorchEmbed = Callable[[torch.Tensor], torch.Tensor]
"""Images [B,3,H,W] -> features [B,D]."""


def torch_attack(
    embed: TorchEmbed,
    images: torch.Tensor,
    start: torch.Tensor,
    pull: torch.Tensor | None,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> torch.Tensor:
    """SMA, or FNA or NNA with the own feature as its pushing guide, as PyTorch's users write them.

    Args:
        embed: images [B,3,H,W] -> features [B,D].
        images: [B,3,H,W] in [0, 1], like the result.
        start: the same shape, where the attack sets out.
        pull: [B,N,D], whose mean squared distance FNA (N = 1) and NNA descend; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.
    """
    push, x = _push(embed, images), start
    for _ in range(steps):
        x = torch_step(embed, x, images, push, pull, eps=eps, step_size=step_size)
    return x


def torch_step(
    embed: TorchEmbed,
    x: torch.Tensor,
    images: torch.Tensor,
    push: torch.Tensor,
    pull: torch.Tensor | None,
    *,
    eps: float,
    step_size: float,
) -> torch.Tensor:
    """One step of `torch_attack` from x [B,3,H,W], away from push [B,D]."""
    x = x.detach().requires_grad_(True)
    features = embed(x).float()
    objective = (features - push).square().sum()
    if pull is not None:
        objective = objective - (features[:, None] - pull).square().mean(1).sum()
    objective.backward()
    with torch.no_grad():
        x = x + step_size * x.grad.sign()
        return torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)


def torch_attack_by_replay(
    embed: TorchEmbed,
    images: torch.Tensor,
    pull: torch.Tensor | None,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`torch_attack` on a GPU, every step of which launches one recorded CUDA graph.

    Args:
        embed: images -> features, of frozen weights: their gradients would add up in the graph.
        images: as `torch_attack` takes it, like pull, eps, step_size and steps.
        pull: also.
        eps: also.
        step_size: also.
        steps: also.

    Returns:
        start -> the attacked images, in memory that the next call overwrites.
    """
    # A graph reads and writes where it did when it was recorded.
    x, push = images.clone(), _push(embed, images)

    def step() -> None:
        x.copy_(torch_step(embed, x, images, push, pull, eps=eps, step_size=step_size))

    replay = _recorded(step)

    def run(start: torch.Tensor) -> torch.Tensor:
        push.copy_(_push(embed, images))
        x.copy_(start)
        for _ in range(steps):
            replay()
        return x

    return run


def _push(embed: TorchEmbed, images: torch.Tensor) -> torch.Tensor:
    """The own features [B,D], in memory that no later pass of a compiled network overwrites."""
    with torch.no_grad():
        return embed(images).float().clone()


def _recorded(step: Callable[[], None]) -> Callable[[], None]:
    """The kernels of a step as one CUDA graph; the function launches it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # compilation and cuDNN's choice of algorithms cannot be recorded
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], None] = graph.replay
    return replay
