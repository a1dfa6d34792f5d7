"""Speed of the loop of `jaxreid train`, input and log included, and what a step of it costs."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from jaxreid.benchmark.work import program_cost
from jaxreid.training.config import TrainConfig
from jaxreid.training.trainer import Progress, compiled_step, train

__all__ = ["LoopSpeed", "StepCost", "benchmark_loop", "cost_of_step"]


class LoopSpeed(NamedTuple):
    """Result of `benchmark_loop`.

    Attributes:
        images_per_second: over all devices, of each stretch between two lines of the log; the
            first is left out where there are others.
        waiting: share of the time spent waiting for data in each of them, in [0, 1].
        first_step: seconds before the first step was done: data, compilation, guide bank.
    """

    images_per_second: tuple[float, ...]
    waiting: tuple[float, ...]
    first_step: float

    @property
    def median(self) -> float:
        """Median images per second."""
        return statistics.median(self.images_per_second)

    @property
    def spread(self) -> float:
        """From the slowest to the fastest stretch, in parts of the median."""
        return (max(self.images_per_second) - min(self.images_per_second)) / self.median


def benchmark_loop(
    config: TrainConfig, *, epochs: int = 1, watch: Callable[[Progress], None] | None = None
) -> LoopSpeed:
    """Trains for so many epochs in a folder that is thrown away, without evaluations."""
    config = config.replace(
        {
            "epochs": epochs,
            "evaluation.every_epochs": 0,
            # Schedules may need more epochs than these; they do not change what a step costs.
            "schedule.name": "constant",
            "schedule.warmup_epochs": 0.0,
            "goat.eps_warmup_epochs": 0.0,
        }
    )
    started = time.perf_counter()
    first: list[float] = []

    def seen(progress: Progress) -> None:
        if progress.stage == "training" and progress.done and not first:
            first.append(time.perf_counter() - started)
        if watch is not None:
            watch(progress)

    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder), watch=seen)
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    stretches = [line for line in map(json.loads, lines) if line["kind"] == "train"]
    # The first one begins while the machine still does what compilation left behind.
    counted = stretches[1:] or stretches
    return LoopSpeed(
        images_per_second=tuple(line["images_per_second"] for line in counted),
        waiting=tuple(line["waiting_for_data"] for line in counted),
        first_step=first[0],
    )


class StepCost(NamedTuple):
    """Result of `cost_of_step`.

    Attributes:
        processes: of the run.
        devices: of all processes.
        flops: that XLA counts in the program of one device for one batch, with a loop's steps
            counted once.
        program_bytes: memory of that program beside its arguments.
    """

    processes: int
    devices: int
    flops: float
    program_bytes: int


def cost_of_step(config: TrainConfig) -> StepCost:
    """Counts what a step asks of one device without running it; every process calls this."""
    cost = program_cost(compiled_step(config))
    return StepCost(
        processes=jax.process_count(),
        devices=jax.device_count(),
        flops=cost.flops,
        program_bytes=cost.bytes,
    )
