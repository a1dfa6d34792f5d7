"""The attacks in PyTorch, as its users write them.

Imported only where PyTorch is installed.
"""

from collections.abc import Callable

import torch

__all__ = ["torch_attack"]


def torch_attack(
    embed: Callable[[torch.Tensor], torch.Tensor],
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
    with torch.no_grad():
        push = embed(images)
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        features = embed(x).float()
        objective = (features - push).square().sum()
        if pull is not None:
            objective = objective - (features[:, None] - pull).square().mean(1).sum()
        objective.backward()
        with torch.no_grad():
            x = x + step_size * x.grad.sign()
            x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(0, 1)
    return x.detach()
