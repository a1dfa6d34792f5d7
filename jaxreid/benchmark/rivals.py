"""What jaxreid's attacks are timed beside: PyTorch's and Foolbox's, where they are installed."""

import importlib.util
import textwrap
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreid.benchmark.contest import Problem, Rival
from jaxreid.errors import reason_of
from jaxreid.models import ReID
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.types import Array, Embed

__all__ = ["Rivals", "failure", "first_calls", "foolbox_attack", "installed_rivals"]


class Rivals(NamedTuple):
    """Who takes part.

    Attributes:
        found: contestant -> its attack.
        missing: contestant -> why it was left out.
    """

    found: dict[str, Rival]
    missing: dict[str, str]


def installed_rivals(problem: Problem, *, torch_compile: bool, autotune: bool = False) -> Rivals:
    """Makes the attacks of the packages that are installed.

    With `torch_compile`, PyTorch takes part once more, compiled (it needs a C++ compiler), and with
    `autotune` as well by the fastest of many kernels.
    """
    found: dict[str, Rival] = {}
    missing = {}
    try:
        if why := _no_pytorch(problem.model):
            missing["PyTorch"] = why
        else:
            from jaxreid.benchmark.torch_rivals import torch_rivals

            found |= torch_rivals(problem, compiled=torch_compile, autotune=autotune)
    except Exception as error:  # no CUDA library of its version, no memory left
        missing["PyTorch"] = failure(error)
    if importlib.util.find_spec("foolbox"):
        embed = jax.jit(problem.embed)
        images, pull = jax.device_put((problem.images, problem.pull))
        how: dict[str, float] = {"eps": problem.eps, "step_size": problem.step_size}
        found["Foolbox, on jaxreid's network"] = Rival(
            lambda: foolbox_attack(embed, images, pull, **how, steps=problem.steps)
        )
    else:
        missing["Foolbox"] = "it is not installed"
    return Rivals(found, missing)


def first_calls(rivals: Rivals) -> tuple[Rivals, dict[str, float]]:
    """Calls every rival once, which compiles it.

    Returns:
        Those that ran, where whoever failed is missing; and their seconds.
    """
    found: dict[str, Rival] = {}
    missing, seconds = dict(rivals.missing), {}
    for name, one in rivals.found.items():
        started = time.perf_counter()
        try:
            jax.block_until_ready(one.run())
        except Exception as error:  # no compiler, no memory left: the others are measured
            missing[name] = failure(error)
        else:
            found[name], seconds[name] = one, time.perf_counter() - started
    return Rivals(found, missing), seconds


def failure(error: Exception) -> str:
    """Why a rival that failed was left out, in a few words."""
    return f"it failed: {textwrap.shorten(reason_of(error), 300)}"


def _no_pytorch(model: ReID) -> str:
    """Why PyTorch cannot take part, or ""."""
    if not importlib.util.find_spec("torch"):
        return "it is not installed"
    if jax.default_backend() == "gpu":
        import torch

        if not torch.cuda.is_available():
            return "this build of it sees no GPU"
    from jaxreid.benchmark.torch_twins.conversion import TWINS

    kind = kind_of(model.config.backbone)
    return "" if kind in TWINS else f"nobody wrote {KINDS[kind].title} in it here"


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
