"""What jaxreid's attacks are timed beside: PyTorch's and Foolbox's, where they are installed."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.models import ReID, embedding
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.types import Array, Embed

__all__ = ["Problem", "Rival", "Rivals", "foolbox_attack", "installed_rivals"]


class Problem(NamedTuple):
    """What every contestant is given.

    Attributes:
        model: the network, without a head.
        images: [B,H,W,3] in [0, 1].
        pull: [B,N,D], whose mean squared distance FNA (N = 1) and NNA descend; None for SMA.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.
        dtype: of the backbone, "float32" or "bfloat16".
    """

    model: ReID
    images: np.ndarray
    pull: np.ndarray | None
    eps: float
    step_size: float
    steps: int
    dtype: str


class Rival(NamedTuple):
    """Somebody else's attack.

    Attributes:
        run: attacks one batch.
        features: [B,D] of the clean images, where they are not computed by jaxreid's network.
    """

    run: Callable[[], object]
    features: np.ndarray | None = None


class Rivals(NamedTuple):
    """Who takes part.

    Attributes:
        found: contestant -> its attack.
        missing: contestant -> why it was left out.
    """

    found: dict[str, Rival]
    missing: dict[str, str]


def installed_rivals(problem: Problem, *, torch_compile: bool) -> Rivals:
    """Makes the attacks of the packages that are installed.

    With `torch_compile`, PyTorch takes part a third time, compiled (it needs a C++ compiler).
    """
    found, missing = {}, {}
    if why := _no_pytorch(problem.model):
        missing["PyTorch"] = why
    else:
        # NCHW, gradients to the weights as well.
        found["PyTorch, as the paper's code"] = _pytorch(problem, best=False)
        found["PyTorch, at its best"] = _pytorch(problem, best=True)
        if torch_compile:
            compiled = _pytorch(problem, best=True, compiled=True)
            found["PyTorch, at its best, compiled"] = compiled
    if importlib.util.find_spec("foolbox"):
        embed = jax.jit(embedding(problem.model))
        images, pull = jax.device_put((problem.images, problem.pull))
        how: dict[str, float] = {"eps": problem.eps, "step_size": problem.step_size}
        found["Foolbox, on jaxreid's network"] = Rival(
            lambda: foolbox_attack(embed, images, pull, **how, steps=problem.steps)
        )
    else:
        missing["Foolbox"] = "it is not installed"
    return Rivals(found, missing)


def _no_pytorch(model: ReID) -> str:
    """Why PyTorch cannot take part, or ""."""
    if not importlib.util.find_spec("torch"):
        return "it is not installed"
    from jaxreid.benchmark.torch_twins.conversion import TWINS

    kind = kind_of(model.config.backbone)
    return "" if kind in TWINS else f"nobody wrote {KINDS[kind].title} in it here"


def _pytorch(problem: Problem, *, best: bool, compiled: bool = False) -> Rival:
    """The attack in PyTorch, on a GPU if JAX uses one."""
    import torch

    from jaxreid.benchmark.torch_attack import torch_attack
    from jaxreid.benchmark.torch_twins.conversion import as_torch

    gpu = torch.cuda.is_available() and jax.default_backend() == "gpu"
    where = torch.device("cuda" if gpu else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    network = as_torch(problem.model).to(where)
    images = torch.tensor(problem.images.transpose(0, 3, 1, 2).copy(), device=where)
    pull = None if problem.pull is None else torch.tensor(problem.pull, device=where)
    if best:
        network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    how: dict[str, float] = {"eps": problem.eps, "step_size": problem.step_size}
    half = best and problem.dtype == "bfloat16"
    # "reduce-overhead" records CUDA graphs.
    forward = (
        torch.compile(network, mode="reduce-overhead" if gpu else None) if compiled else network
    )

    def embed(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(where.type, torch.bfloat16, enabled=half):
            return forward(x)

    def run() -> None:
        start = images
        if pull is None:
            noise = (2 * torch.rand_like(images) - 1) * problem.eps
            start = (images + noise).clamp(0, 1)
        torch_attack(embed, images, start, pull, steps=problem.steps, **how)
        # Gradients to weights add up; the paper's code clears them as well.
        network.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()

    with torch.no_grad():
        return Rival(run, network(images).float().cpu().numpy())


def foolbox_attack(
    embed: Embed,
    images: Array,
    pull: Array | None,
    *,
    eps: float,
    step_size: float,
    steps: int,
) -> Array:
    """SMA, or FNA or NNA with the own feature as its pushing guide.

    Args:
        embed: images [B,H,W,3] -> features [B,D]; compiled, or Foolbox runs it layer by layer.
        images: [B,H,W,3] in [0, 1], like the result.
        pull: [B,N,D], as in Problem.
        eps: budget in pixel range.
        step_size: in pixel range.
        steps: number of steps.
    """
    import eagerpy
    import foolbox

    push = embed(images)

    def loss(batch: Any) -> Any:
        features = model(batch).raw
        value = jnp.sum((features - push) ** 2)
        if pull is not None:
            value -= jnp.sum((features[:, None] - pull) ** 2) / pull.shape[1]
        return eagerpy.astensor(value)

    model = foolbox.JAXModel(embed, bounds=(0, 1), data_format="channels_last")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=pull is None)
    # Foolbox's own place for another objective.
    attack.get_loss_fn = lambda model, labels: loss
    labels = eagerpy.astensor(jnp.zeros(len(images), jnp.int32))
    criterion = foolbox.criteria.Misclassification(labels)
    found = attack.run(model, eagerpy.astensor(jax.device_put(images)), criterion, epsilon=eps)
    adversarial: Array = found.raw
    return adversarial
