"""`jaxreid train`: metric (adversarial) training from a configuration file."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from jaxreid.training.loop import Outcome, Progress

__all__ = ["train"]

_PREEMPTED = 75
_LINE_SECONDS = 30.0


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--config", required=True, help="A configuration file, or the name of one in configs/."
)
@click.option(
    "--workdir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where the run is written, and goes on from.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on from the last checkpoint, if there is one.",
)
@click.option("--coordinator", metavar="HOST:PORT", help="Of the first of several processes.")
@click.option("--processes", type=click.IntRange(1), help="How many processes there are.")
@click.option("--process", type=click.IntRange(0), help="Which of them this one is.")
@click.option(
    "--distributed",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="Whether to look for other processes in the environment (Slurm, GKE, TPU).",
)
@click.pass_context
def train(
    ctx: click.Context,
    config: str,
    workdir: Path,
    resume: bool,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    distributed: Literal["auto", "off"],
) -> None:
    """Train a network, plainly or adversarially (GOAT), on all devices.

    Any field of the configuration can be set behind it: --config.goat.push=4. A run that was
    interrupted goes on when the same command is given again. Exits with 75 when it was asked to
    stop (SIGTERM) and has saved itself.

    \b
    Examples:
      jaxreid train --config synthetic --workdir runs/plain
      jaxreid train --config synthetic_goat_fna --workdir runs/goat \\
          --config.model.start_from=runs/plain/best.safetensors
      jaxreid train --config configs/market1501_goat_fna.py --workdir runs/market \\
          --config.batch.size=64 --config.dataset.workers=8
    """  # noqa: D301
    from jaxreid.cli.configuration import load
    from jaxreid.training.distributed import initialize

    settings = load(config, ctx.args)
    initialize(coordinator=coordinator, processes=processes, process=process, mode=distributed)
    import jax

    from jaxreid.training.loop import train as run

    with _shown(quiet=jax.process_index() > 0) as (watch, say):
        outcome = run(settings, workdir, resume=resume, watch=watch, say=say)
    if jax.process_index() == 0:
        _print_outcome(outcome, workdir)
    ctx.exit(0 if outcome.finished else _PREEMPTED)


def _print_outcome(outcome: "Outcome", workdir: Path) -> None:
    if not outcome.finished:
        click.echo(f"stopped after step {outcome.step}; the same command goes on from there")
        return
    if outcome.best is not None:
        click.echo(
            f"best validation mAP {100 * outcome.best:.1f} % after step {outcome.best_step}: "
            f"{workdir / 'best.safetensors'}"
        )
    click.echo(f"weights after step {outcome.step}: {workdir / 'last.safetensors'}")


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[tuple]:
    """How to show progress, and how to say a line: bars on a terminal, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield (lambda progress: None), (lambda line: None)
    elif console.is_terminal:
        with _bars(console) as shown:
            yield shown
    else:
        yield _Lines().watch, lambda line: click.echo(line, err=True)


@contextlib.contextmanager
def _bars(console) -> Iterator[tuple]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = rich_progress.Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    )
    tasks: dict[str, TaskID] = {}

    def watch(progress: "Progress") -> None:
        if progress.stage not in tasks:
            tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total, figures="")
            # A run that goes on has not done these steps now: they are no measure of its speed.
            bars.reset(tasks[progress.stage], total=progress.total, completed=progress.done - 1)
        bars.update(tasks[progress.stage], completed=progress.done, figures=_figures(progress))

    with bars:
        yield watch, lambda line: bars.console.print(line, markup=False, highlight=False)


def _figures(progress: "Progress") -> str:
    figures = progress.figures
    if not figures:
        return ""
    parts = [f"epoch {progress.epoch:.1f}", f"loss {figures['loss']:.3f}"]
    if "images_per_second" in figures:
        parts.append(f"{figures['images_per_second']:,.0f} images/s")
    return ", ".join(parts)


class _Lines:
    """A line now and then, with the time that is left."""

    def __init__(self) -> None:
        self._stage, self._begin, self._first, self._said = "", 0.0, 0, 0.0

    def watch(self, progress: "Progress") -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._begin, self._first, self._said = (
                progress.stage,
                now,
                progress.done,
                now,
            )
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        steps = max(progress.done - self._first, 1)
        left = (now - self._begin) / steps * (progress.total - progress.done)
        click.echo(
            f"{progress.stage} {progress.done:,} of {progress.total:,}, {left / 60:.0f} min left"
            + (f": {_figures(progress)}" if progress.figures else ""),
            err=True,
        )
