"""`jaxreid train`: metric (adversarial) training from a configuration file."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.backend import connect, process_options, set_up_compiler
from jaxreid.cli.parameters import Place
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.stopping import PREEMPTED
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.training.trainer import Outcome, Progress

__all__ = ["train"]


def _help_config(ctx: click.Context, param: click.Parameter, form: str | None) -> None:
    if form is None or ctx.resilient_parsing:
        return
    from jaxreid.cli import configuration

    write = configuration.describe_fields
    if form == "markdown":
        write = configuration.describe_fields_as_markdown
    click.echo(write().rstrip("\n"))
    ctx.exit()


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--config",
    required=True,
    help="A preset and words that it knows, such as market1501:goat=fna; or the path of a file of "
    "your own.",
)
@click.option(
    "--workdir",
    type=Place(file_okay=False),
    required=True,
    help="The folder of the run, which goes on from what is there.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on from the last checkpoint, if there is one.",
)
@click.option(
    "--help-config",
    type=click.Choice(["text", "markdown"]),
    is_flag=False,
    flag_value="text",
    is_eager=True,
    expose_value=False,
    callback=_help_config,
    help="Show the presets and all fields of a configuration, and exit.",
)
@process_options
@click.pass_context
def train(
    ctx: click.Context, /, config: str, workdir: Path, resume: bool, **processes: Any
) -> None:
    """Train a network, plainly or adversarially (GOAT), on all devices.

    Any field of the configuration can be set: --config.goat.push=4; --help-config shows them all.
    A run that was interrupted goes on when the same command is given again. Exits with 75 when it
    was asked to stop (SIGTERM) and has saved itself.

    \b
    Examples:
      jaxreid train --config synthetic --workdir runs/plain
      jaxreid train --config synthetic:goat=fna --workdir runs/goat \\
          --config.model.start_from=runs/plain/best.safetensors
      jaxreid train --config market1501:goat=fna,head=triplet \\
          --workdir runs/market --config.batch.size=64 --config.dataset.workers=8
    """  # noqa: D301
    from jaxreid.cli.configuration import load

    settings = load(config, ctx.args)
    set_up_compiler()
    # A full disk is reported by the run itself; a cache that cannot grow does no harm.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    connect(processes)

    from jaxreid.training.trainer import train as run

    with progress_bars(shown=is_main_process()) as bars:
        outcome = run(
            settings,
            workdir,
            resume=resume,
            watch=lambda at: bars(at.stage, at.done, at.total, _describe(at)),
            say=bars.say,
        )
    if is_main_process():
        _print_outcome(outcome, workdir)
    # Also after the last step: what was typed behind this command is to be stopped as well.
    ctx.exit(PREEMPTED if outcome.stop_requested else 0)


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


def _describe(progress: "Progress") -> str:
    metrics = progress.metrics
    if not metrics:
        return ""
    parts = [f"epoch {progress.epoch:.1f}", f"loss {metrics['loss']:.3f}"]
    if "images_per_second" in metrics:
        parts.append(f"{metrics['images_per_second']:,.0f} images/s")
    return ", ".join(parts)
