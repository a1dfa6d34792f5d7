"""Throughput of metric attacks: jaxreid's, PyTorch's and Foolbox's, in turns."""

import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxreid import attacks
from jaxreid.benchmark.machine import Ceilings, measure_ceilings
from jaxreid.benchmark.timing import Timing, interleave
from jaxreid.benchmark.work import ProgramCost, program_cost, step_work
from jaxreid.errors import InputError
from jaxreid.models import ReID, create, embedding
from jaxreid.models.resnet import RESNETS
from jaxreid.types import Array, Embed

__all__ = ["OURS", "REFERENCE", "AttackTimings", "benchmark_attack", "fastest_batch"]

OURS = "jaxreid"
"""The contestant that the others are compared with."""

REFERENCE = "PyTorch, as the paper's code"
"""NCHW, gradients to the weights as well."""

_BEST, _COMPILED = "PyTorch, at its best", "PyTorch, at its best, compiled"
_UNFROZEN, _FOOLBOX = "jaxreid, weights not frozen", "Foolbox, on jaxreid's network"

_EPS, _STEP_SIZE = 5 / 255, 1 / 255


class AttackTimings(NamedTuple):
    """Result of `benchmark_attack`.

    Attributes:
        timings: contestant -> seconds of an attack on one batch.
        batch_size: images of a batch.
        steps: of the attack.
        devices: over which jaxreid spread the batch; the others use one.
        flops: per image and step, whatever the contestant saves.
        bytes: read and written at least, per image and step.
        ceilings: of one device.
        compile_seconds: of jaxreid's attack, tracing included; part of its first call.
        program_flops: that XLA counts in the program of one device, with what its methods save and
            with a loop's steps counted once.
        program_bytes: memory of jaxreid's compiled attack beside its arguments.
        agreement: contestant -> largest difference of its features of the clean batch from ours,
            relative to the largest feature.
    """

    timings: dict[str, Timing]
    batch_size: int
    steps: int
    devices: int
    flops: int
    bytes: int
    ceilings: Ceilings
    compile_seconds: float
    program_flops: float
    program_bytes: int
    agreement: dict[str, float]

    def image_steps(self, contestant: str) -> float:
        """Speed of a contestant.

        Args:
            contestant: a key of timings.

        Returns:
            Images times steps per second.
        """
        return self.batch_size * self.steps / self.timings[contestant].median


class _Problem(NamedTuple):
    """What every contestant is given."""

    model: ReID
    images: np.ndarray  # [B,H,W,3]
    pull: np.ndarray | None  # [B,D]
    steps: int
    dtype: str


class _Program(NamedTuple):
    """A compiled attack."""

    run: Callable[[], Any]
    compile_seconds: float
    cost: ProgramCost


def _network(architecture: str, dtype: str) -> ReID:
    if architecture not in RESNETS:
        raise InputError(
            f"architecture: expected one of {', '.join(RESNETS)}, got {architecture!r}"
        )
    return create(architecture, head="none", dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))


def _problem(
    model: ReID, attack: str, size: tuple[int, int], batch_size: int, steps: int, dtype: str
) -> _Problem:
    if attack not in ("sma", "fna"):
        raise InputError(f"attack: expected sma or fna, got {attack!r}")
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, *size, 3), np.float32)
    pull = None
    if attack == "fna":
        pull = rng.random((batch_size, model.config.feature_size), np.float32)
    return _Problem(model, images, pull, steps, dtype)


def _own_attack(embed: Embed, images: Array, pull: Array | None, key: Array, steps: int) -> Array:
    how: dict[str, Any] = {"eps": _EPS, "step_size": _STEP_SIZE, "steps": steps}
    if pull is None:
        return attacks.sma(embed, images, key, **how)
    return attacks.fna(embed, images, embed(images)[:, None], pull[:, None], **how)


def _jaxreid(problem: _Problem, *, freeze: bool, devices: int) -> _Program:
    mesh = Mesh(np.array(jax.local_devices()[:devices]), "batch")
    rows = NamedSharding(mesh, PartitionSpec("batch"))
    embed = embedding(problem.model)
    embed = jax.jit(lambda e: e.frozen())(embed) if freeze else embed
    embed, key = jax.device_put((embed, jax.random.key(0)), NamedSharding(mesh, PartitionSpec()))
    images, pull = jax.device_put((problem.images, problem.pull), rows)
    attack = jax.jit(attacks.unchecked(_own_attack), static_argnums=4)
    started = time.perf_counter()
    compiled = attack.lower(embed, images, pull, key, problem.steps).compile()
    seconds = time.perf_counter() - started
    cost = program_cost(compiled)
    return _Program(lambda: compiled(embed, images, pull, key), seconds, cost)


def _pytorch(
    problem: _Problem, *, best: bool, compiled: bool = False
) -> tuple[Callable[[], Any], np.ndarray]:
    """The attack in PyTorch, and its features of the clean images."""
    import torch

    from jaxreid.benchmark.torch_rival import as_torch, torch_attack

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
            noise = (2 * torch.rand_like(images) - 1) * _EPS
            start = (images + noise).clamp(0, 1)
        torch_attack(
            embed, images, start, pull, eps=_EPS, step_size=_STEP_SIZE, steps=problem.steps
        )
        # Gradients to weights add up; the paper's code clears them as well.
        network.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()

    with torch.no_grad():
        return run, network(images).float().cpu().numpy()


def _foolbox(problem: _Problem) -> Callable[[], Any]:
    from jaxreid.benchmark.foolbox_rival import foolbox_attack

    embed = jax.jit(embedding(problem.model))
    images, pull = jax.device_put((problem.images, problem.pull))
    return lambda: foolbox_attack(
        embed, images, pull, eps=_EPS, step_size=_STEP_SIZE, steps=problem.steps
    )


def benchmark_attack(
    architecture: str = "resnet50",
    attack: str = "fna",
    *,
    size: tuple[int, int],
    batch_size: int,
    steps: int = 15,
    dtype: str = "float32",
    devices: int = 1,
    repeats: int = 3,
    rivals: bool = True,
    torch_compile: bool = False,
) -> AttackTimings:
    """Times an attack on random images, in turns with its rivals.

    Args:
        architecture: a ResNet of `jaxreid.models.ARCHITECTURES`.
        attack: "sma" or "fna".
        size: (height, width) in pixels.
        batch_size: images of a batch, a multiple of devices.
        steps: of 1/255 each, in a budget of 5/255.
        dtype: of the backbone, "float32" or "bfloat16".
        devices: local devices over which jaxreid spreads the batch.
        repeats: timed rounds.
        rivals: whether the packages that are installed take part.
        torch_compile: whether PyTorch takes part a third time, compiled (it needs a C++ compiler).

    Returns:
        The timings.

    Raises:
        InputError: an unknown attack, a network that is no ResNet, or devices that are not there or
            do not divide the batch.
    """
    if not 1 <= devices <= jax.local_device_count():
        raise InputError(f"devices: there are {jax.local_device_count()}, not {devices}")
    if batch_size % devices:
        raise InputError(f"{devices} devices do not divide a batch of {batch_size}")
    problem = _problem(_network(architecture, dtype), attack, size, batch_size, steps, dtype)
    programs = {OURS: _jaxreid(problem, freeze=True, devices=devices)}
    if rivals:
        programs[_UNFROZEN] = _jaxreid(problem, freeze=False, devices=devices)
    contestants = {name: program.run for name, program in programs.items()}
    agreement: dict[str, float] = {}
    if rivals:
        if importlib.util.find_spec("torch"):
            clean = np.asarray(jax.jit(embedding(problem.model))(problem.images))
            forms = {REFERENCE: {"best": False}, _BEST: {"best": True}}
            if torch_compile:
                forms[_COMPILED] = {"best": True, "compiled": True}
            for name, form in forms.items():
                contestants[name], features = _pytorch(problem, **form)
                error = np.abs(features - clean).max() / np.abs(clean).max()
                agreement[name] = float(error)
        if importlib.util.find_spec("foolbox"):
            contestants[_FOOLBOX] = _foolbox(problem)
    work = step_work(RESNETS[architecture], size)
    timings = interleave(contestants, repeats=repeats)
    for name, program in programs.items():
        first = program.compile_seconds + timings[name].first
        timings[name] = timings[name]._replace(first=first)
    return AttackTimings(
        timings=timings,
        batch_size=batch_size,
        steps=steps,
        devices=devices,
        flops=work.flops,
        bytes=work.values * jnp.dtype(dtype).itemsize,
        ceilings=measure_ceilings(dtype),
        compile_seconds=programs[OURS].compile_seconds,
        program_flops=programs[OURS].cost.flops,
        program_bytes=programs[OURS].cost.bytes,
        agreement=agreement,
    )


def fastest_batch(
    architecture: str,
    attack: str,
    *,
    size: tuple[int, int],
    dtype: str = "float32",
    devices: int = 1,
    largest: int = 1024,
) -> dict[int, float]:
    """Doubles the batch until jaxreid's attack gains less than 3 % per image, or memory runs out.

    Args:
        architecture: see `benchmark_attack`.
        attack: see `benchmark_attack`.
        size: see `benchmark_attack`.
        dtype: see `benchmark_attack`.
        devices: see `benchmark_attack`.
        largest: batch to try, in images.

    Returns:
        Batch -> images times steps per second, of three steps.
    """
    model = _network(architecture, dtype)
    found: dict[int, float] = {}
    batch_size, steps = 4 * devices, 3
    while batch_size <= largest:
        problem = _problem(model, attack, size, batch_size, steps, dtype)
        try:
            run = _jaxreid(problem, freeze=True, devices=devices).run
            seconds = interleave({OURS: run}, repeats=3)[OURS].median
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            break
        rate = batch_size * steps / seconds
        gained = not found or rate > 1.03 * max(found.values())
        found[batch_size] = rate
        if not gained:
            break
        batch_size *= 2
    return found
