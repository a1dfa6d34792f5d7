"""Metric attacks: throughput beside PyTorch's and Foolbox's, in turns."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks import ATTACKS, AttackInput, unchecked
from jaxreid.benchmark.contest import Problem
from jaxreid.benchmark.networks import Variant, network_of
from jaxreid.benchmark.rivals import Rivals, failure, first_calls, installed_rivals
from jaxreid.benchmark.timing import Ceilings, Timing, interleave, measure_ceilings
from jaxreid.benchmark.work import ProgramCost, program_cost, work_of_step
from jaxreid.constants import EPS, NEAREST, STEP_SIZE, STEPS
from jaxreid.errors import InputError
from jaxreid.models import Embedding, ReID, embedding
from jaxreid.random import example_keys
from jaxreid.sharding import replicated, row_mesh, split_rows, spread
from jaxreid.types import Array, Embed, RandomKey

__all__ = [
    "OURS",
    "PULLS",
    "AttackTimings",
    "benchmark_attack",
    "fastest_batch",
    "own_attack",
    "usual_devices",
]

OURS = "jaxreid"
"""The contestant that the others are compared with."""

PULLS = {"sma": 0, "fna": 1, "nna": NEAREST}
"""Attack -> its pulling guides."""

_UNFROZEN = "jaxreid, weights not frozen"


class AttackTimings(NamedTuple):
    """Result of `benchmark_attack`.

    Attributes:
        timings: contestant -> seconds of an attack on one batch.
        batch_size: images of a batch.
        steps: of the attack.
        devices: over which jaxreid spread the batch; the others use one, or the CPU.
        flops: per image and step, whatever the contestant saves.
        bytes: read and written at least, per image and step; None where nobody counted them.
        ceilings: of these devices together.
        compile_seconds: of jaxreid's attack, tracing included; part of its first call.
        program_flops: that XLA counts in the program of one device, with what its methods save and
            with a loop's steps counted once.
        program_bytes: memory of jaxreid's compiled attack on one device, beside its arguments.
        agreement: contestant -> largest difference of its features of the clean batch from ours,
            relative to the largest feature.
        missing: contestant -> why it was left out.
    """

    timings: dict[str, Timing]
    batch_size: int
    steps: int
    devices: int
    flops: int
    bytes: int | None
    ceilings: Ceilings
    compile_seconds: float
    program_flops: float
    program_bytes: int
    agreement: dict[str, float]
    missing: dict[str, str]

    def image_steps(self, contestant: str) -> float:
        """Speed of a contestant, in images times steps per second."""
        return self.batch_size * self.steps / self.timings[contestant].median


def usual_devices() -> int:
    """Over how many local devices a batch is spread that no word of the user's is about.

    A CPU's devices share what one of them alone would have: there it is all of them.
    """
    return jax.local_device_count() if jax.default_backend() == "cpu" else 1


class _Program(NamedTuple):
    """A compiled attack."""

    run: Callable[[], object]
    compile_seconds: float
    cost: ProgramCost


def _problem(
    model: ReID, attack: str, size: tuple[int, int], batch_size: int, steps: int, dtype: str
) -> Problem:
    if attack not in PULLS:
        raise InputError(f"attack: expected one of {', '.join(PULLS)}, got {attack!r}")
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, *size, 3), np.float32)
    pull = None
    if count := PULLS[attack]:
        pull = rng.random((batch_size, count, model.config.feature_size), np.float32)
    return Problem(model, images, pull, EPS, STEP_SIZE, steps, dtype)


def own_attack(
    embed: Embed,
    images: Array,
    pull: Array | None,
    key: Array,
    steps: int,
    clean: Array | None = None,
) -> Array:
    """SMA, or away from the own features and towards pull [B,G,D]; clean are the own, if known."""
    given = AttackInput(key=key, eps=EPS, step_size=STEP_SIZE, steps=steps, clean_features=clean)
    if pull is None:
        return ATTACKS["sma"].run(embed, images, given)
    # With one guide on each side NNA is FNA.
    own = embed(images) if clean is None else clean
    return ATTACKS["nna"].run(embed, images, given._replace(push=own[:, None], pull=pull))


def _jaxreid(problem: Problem, *, freeze: bool, devices: int) -> _Program:
    """The program that evaluations run: each device attacks its rows, and waits for no other."""
    mesh = row_mesh(jax.local_devices()[:devices])
    embed = embedding(problem.model)
    embed = jax.jit(lambda e: e.frozen())(embed) if freeze else embed
    shared = replicated(embed, mesh)
    keys = example_keys(jax.random.key(0), np.arange(len(problem.images)))
    rows = spread(((problem.images, problem.pull, keys), problem.cameras), mesh)

    def attack(
        embed: Embedding, rows: tuple[tuple[Array, Array | None, RandomKey], Array | None]
    ) -> Array:
        given, cameras = rows
        embed = embed if cameras is None else embed.seen_by(cameras)
        return own_attack(embed, *given, problem.steps)

    started = time.perf_counter()
    compiled = split_rows(unchecked(attack), mesh).lower(shared, rows).compile()
    seconds = time.perf_counter() - started
    return _Program(lambda: compiled(shared, rows), seconds, program_cost(compiled))


def _programs(problem: Problem, devices: int, *, unfrozen: bool) -> dict[str, _Program]:
    """Our attack, and where it is asked for also without what freezing gives."""
    programs = {OURS: _jaxreid(problem, freeze=True, devices=devices)}
    if unfrozen:
        programs[_UNFROZEN] = _jaxreid(problem, freeze=False, devices=devices)
    return programs


def _agreement(problem: Problem, rivals: Rivals) -> dict[str, float]:
    """How far features of the clean images are from ours, where they are not ours."""
    theirs = {name: one.features() for name, one in rivals.found.items() if one.features}
    if not theirs:
        return {}
    ours = np.asarray(jax.jit(problem.embed)(problem.images))
    largest = np.abs(ours).max()
    return {name: float(np.abs(each - ours).max() / largest) for name, each in theirs.items()}


def _timed(
    contestants: dict[str, Callable[[], object]], rivals: Rivals, repeats: int
) -> tuple[dict[str, Timing], Rivals]:
    """Times all in turns; a rival that fails in a later round, too, is missing and not ours."""
    missing = dict(rivals.missing)

    def leave_out(name: str, error: Exception) -> None:
        if name not in rivals.found:
            raise error
        missing[name] = failure(error)

    timings = interleave(contestants, repeats=repeats, on_failure=leave_out)
    found = {name: one for name, one in rivals.found.items() if name in timings}
    return timings, Rivals(found, missing)


def benchmark_attack(
    architecture: str = "resnet50",
    attack: str = "fna",
    *,
    size: tuple[int, int],
    batch_size: int,
    steps: int = STEPS,
    dtype: str = "float32",
    devices: int | None = None,
    repeats: int = 3,
    rivals: bool = True,
    unfrozen: bool = True,
    torch_compile: bool = False,
    torch_autotune: bool = False,
    **variant: Unpack[Variant],
) -> AttackTimings:
    """Times an attack on random images, in turns with its rivals.

    Args:
        architecture: a key of `jaxreid.models.ARCHITECTURES`.
        attack: "sma", "fna" or "nna".
        size: (height, width) in pixels.
        batch_size: images of a batch, a multiple of devices.
        steps: of 1/255 each, in a budget of 5/255.
        dtype: of the backbone, "float32" or "bfloat16".
        devices: local devices over which jaxreid spreads the batch; None for one, or where the
            devices are a CPU's for as many as divide the batch.
        repeats: timed rounds.
        rivals: whether the packages that are installed take part; those that fail are missing.
        unfrozen: whether jaxreid takes part beside rivals without what freezing gives as well.
        torch_compile: whether PyTorch takes part once more, compiled (it needs a C++ compiler).
        torch_autotune: whether it then tries many kernels first, which takes minutes.
        **variant: what the network has otherwise than its architecture says.

    Raises:
        InputError: an unknown attack or architecture, a size or variant that it does not take, or
            devices that are not there or do not divide the batch.
    """
    if devices is None:
        devices = math.gcd(batch_size, usual_devices())
    if not 1 <= devices <= jax.local_device_count():
        raise InputError(f"devices: there are {jax.local_device_count()}, not {devices}")
    if batch_size % devices:
        raise InputError(f"{devices} devices do not divide a batch of {batch_size}")
    model = network_of(architecture, size, dtype=dtype, **variant)
    problem = _problem(model, attack, size, batch_size, steps, dtype)
    programs = _programs(problem, devices, unfrozen=rivals and unfrozen)
    others, firsts = Rivals({}, {}), dict[str, float]()
    if rivals:
        others, firsts = first_calls(
            installed_rivals(problem, torch_compile=torch_compile, autotune=torch_autotune)
        )
    work = work_of_step(model, size)
    contestants = {name: program.run for name, program in programs.items()}
    contestants |= {name: rival.run for name, rival in others.found.items()}
    timings, others = _timed(contestants, others, repeats)
    firsts |= {name: one.compile_seconds + timings[name].first for name, one in programs.items()}
    timings = {name: timing._replace(first=firsts[name]) for name, timing in timings.items()}
    return AttackTimings(
        timings=timings,
        batch_size=batch_size,
        steps=steps,
        devices=devices,
        flops=work.flops,
        bytes=None if work.values is None else work.values * jnp.dtype(dtype).itemsize,
        ceilings=measure_ceilings(dtype, devices=devices),
        compile_seconds=programs[OURS].compile_seconds,
        program_flops=programs[OURS].cost.flops,
        program_bytes=programs[OURS].cost.bytes,
        agreement=_agreement(problem, others),
        missing=others.missing,
    )


def fastest_batch(
    architecture: str,
    attack: str,
    *,
    size: tuple[int, int],
    dtype: str = "float32",
    devices: int,
    largest: int = 1024,
    **variant: Unpack[Variant],
) -> dict[int, float]:
    """Doubles the batch until jaxreid's attack gains less than 3 % per image, or memory runs out.

    It begins with 4 images per device on a CPU and 64 elsewhere, or as many as there is memory for.
    Takes what `benchmark_attack` takes, and the largest batch to try; gives the images times steps
    per second of each batch, over three steps.
    """
    model = network_of(architecture, size, dtype=dtype, **variant)
    found: dict[int, float] = {}
    # Fewer never fill an accelerator, and each batch is a program to compile.
    batch_size, steps = (4 if jax.default_backend() == "cpu" else 64) * devices, 3
    while batch_size <= largest:
        problem = _problem(model, attack, size, batch_size, steps, dtype)
        try:
            run = _jaxreid(problem, freeze=True, devices=devices).run
            seconds = interleave({OURS: run}, repeats=3)[OURS].median
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if found:
                break
            if batch_size == devices:
                raise
            batch_size //= 2
            continue
        rate = batch_size * steps / seconds
        gained = not found or rate > 1.03 * max(found.values())
        found[batch_size] = rate
        if not gained:
            break
        batch_size *= 2
    return found
