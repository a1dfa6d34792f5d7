"""`jaxreid quickstart`: the whole of jaxreid once, as six commands of its own."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from jaxreid.cli.parameters import Place, data_dir_option

__all__ = ["quickstart"]

_PREVIEW = """\
This is a fast preview: few people to learn from, few queries, little training. It shows that all
parts work and which way the numbers go, not how far; `jaxreid quickstart` takes its time."""


class _Scale(NamedTuple):
    """How much of everything there is.

    Attributes:
        dataset: of the drawn people.
        plain: overrides of the preset `synthetic`.
        preset: of the hardened network.
        goat: overrides of that.
        evaluation: options of `jaxreid evaluate`.
        minutes: of the six steps on 2 idle cores.
    """

    dataset: str
    plain: tuple[str, ...]
    preset: str
    goat: tuple[str, ...]
    evaluation: tuple[str, ...]
    minutes: tuple[str, ...]


_WHOLE = _Scale(
    # More people make a network robust as no loss does (docs/defenses.md).
    dataset="synthetic_reid/people_800",
    plain=("--config.epochs=3", "--config.evaluation.every_epochs=3"),
    preset="synthetic:defense=recommended",
    goat=("--config.epochs=3", "--config.evaluation.every_epochs=3"),
    # The worst case, and what to read beside it: noise, and published attacks that know the image
    # alone and images of others.
    evaluation=(
        *("--attacks", "noise,sma,fna,worst", "--quick", "--eps", "1,3,5", "--seeds", "1"),
        *("--limit", "100", "--batch-size", "50"),
    ),
    minutes=("45 s", "1.5 min", "30 s", "3 min", "30 s", "15 s"),
)
_FAST = _Scale(
    dataset="synthetic_reid/tiny",
    # Without validation there is less to compile, which takes longer than all else here.
    plain=("--config.epochs=16", "--config.evaluation.every_epochs=0"),
    preset="synthetic:goat=fna",
    goat=("--config.epochs=7", "--config.evaluation.every_epochs=0"),
    evaluation=(
        *("--attacks", "noise,fna,worst", "--quick", "--eps", "5", "--seeds", "1"),
        *("--batch-size", "22"),
    ),
    minutes=("5 s", "30 s", "20 s", "25 s", "10 s", "10 s"),
)


class _Step(NamedTuple):
    """What a command is for here, and its words after `jaxreid`."""

    what: str
    words: tuple[str, ...]


@click.command()
@click.option(
    "--workdir",
    type=Place(file_okay=False),
    help="Where everything but the images is written.  [default: runs/quickstart; with --fast "
    "runs/quickstart-fast]",
)
@data_dir_option
@click.option("--fast", is_flag=True, help="A preview in a minute and a half, of little worth.")
@click.pass_context
def quickstart(ctx: click.Context, workdir: Path | None, data_dir: Path | None, fast: bool) -> None:
    """Draw people, train a network, attack it, harden it, attack it again, report.

    It ends with the worst case of both networks, by a quick search. Takes 6 to 8
    minutes on 2 CPU cores and shows the commands it runs. What is there already is not done
    again: the same command goes on where it was interrupted. Exits with
    75 when it was asked to stop (SIGTERM).

    \b
    Examples:
      jaxreid quickstart
      jaxreid quickstart --fast
      jaxreid quickstart --workdir /scratch/quickstart --data-dir /data/tfds
    """  # noqa: D301
    from jaxreid.cli.tables import side_by_side, wide_console
    from jaxreid.records import RunFolder

    begin = time.monotonic()
    workdir = workdir or Path("runs") / ("quickstart-fast" if fast else "quickstart")
    scale = _WHOLE
    if fast:
        import jax

        scale = _FAST
        # Little is computed, much is compiled: without most optimisations in half the time.
        jax.config.update("jax_disable_most_optimizations", True)
    steps = _steps(scale, workdir, data_dir)
    for number, step in enumerate(steps, 1):
        _announce(number, step, len(steps), scale.minutes[number - 1])
        code = _run(step.words)
        if code:
            ctx.exit(code)
    runs = [workdir / name / "evaluation" for name in ("plain", "goat")]
    opened = [RunFolder.open(path) for path in runs]
    named = {run.provenance.title: run.results() for run in opened}
    wide_console().print(side_by_side(named))
    for line in _found(runs):
        click.echo(line)
    if fast:
        click.echo(_PREVIEW)
    click.echo(f"report: {workdir / 'report' / 'report.html'}")
    click.echo(f"done in {_duration(time.monotonic() - begin)}", err=True)


def _steps(scale: _Scale, workdir: Path, data_dir: Path | None) -> list[_Step]:
    """The six commands."""
    plain, goat = workdir / "plain", workdir / "goat"
    place = () if data_dir is None else ("--data-dir", str(data_dir))
    data = [f"--config.dataset.name={scale.dataset}"]
    data += [] if data_dir is None else [f"--config.dataset.data_dir={data_dir}"]

    def train(preset: str, folder: Path, *overrides: str) -> tuple[str, ...]:
        return ("train", "--config", preset, "--workdir", str(folder), *data, *overrides)

    def evaluate(folder: Path, title: str) -> tuple[str, ...]:
        where = ("--dataset", scale.dataset, *place, "--out", str(folder / "evaluation"))
        weights = str(folder / "last.safetensors")
        return ("evaluate", weights, *where, *scale.evaluation, "--title", title)

    evaluations = [str(folder / "evaluation") for folder in (plain, goat)]
    curves = ("--training", f"undefended={plain}", "--training", f"GOAT={goat}")
    report = str(workdir / "report")
    start = f"--config.model.start_from={plain / 'last.safetensors'}"
    return [
        _Step("draw people", ("data", "prepare", scale.dataset, *place)),
        _Step("train a network, without attacks", train("synthetic", plain, *scale.plain)),
        _Step("attack it", evaluate(plain, "undefended")),
        _Step("harden it (GOAT)", train(scale.preset, goat, start, *scale.goat)),
        _Step("attack the hardened one", evaluate(goat, "GOAT")),
        _Step("write the report", ("report", *evaluations, *curves, "--out", report)),
    ]


def _announce(number: int, step: _Step, count: int, minutes: str) -> None:
    text = f"step {number} of {count}: {step.what} (about {minutes} on 2 idle cores)"
    click.secho(f"\n{text}", bold=True, err=True)
    click.secho(f"$ {shlex.join(['jaxreid', *step.words])}", dim=True, err=True)


def _run(words: tuple[str, ...]) -> int:
    """Runs a command in this process, as if it had been typed; gives its exit code."""
    from jaxreid.cli import command

    found = command(words[0])
    return found.main(words[1:], f"jaxreid {words[0]}", standalone_mode=False, obj=words) or 0


def _found(runs: list[Path]) -> Iterator[str]:
    """What the report says was found, in plain words."""
    from jaxreid.report import describe_findings, open_runs, summarize

    for finding in describe_findings(summarize(open_runs(runs))):
        label = f"{finding.run}: " if finding.run else ""
        yield f"- {label}{' '.join([finding.headline, *finding.rest])}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
