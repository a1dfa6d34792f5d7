"""`jaxreid benchmark defenses`: defenses beside each other, in one budget and one examination."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.parameters import (
    BATCH,
    BUDGETS,
    EPOCHS,
    IMAGES,
    SEEDS,
    Place,
    Whole,
    command_line,
    json_option,
)
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.stopping import PREEMPTED
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.benchmark.league.defenses import League
    from jaxreid.benchmark.league.standings import Run
    from jaxreid.cli.benchmark.defense_rows import Defense

__all__ = ["defenses"]


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--config",
    default="synthetic",
    show_default=True,
    help="As `jaxreid train --config`, without an attack: how the network is trained that all "
    "rows start from. Rows add their words.",
)
@click.option(
    "--defense",
    "named",
    multiple=True,
    metavar="NAME=WORDS:FIELD=VALUE,...",
    help="A row: words of the preset (goat=fna if there are none) and fields; several may be "
    "given.",
)
@click.option(
    "--list",
    "listed",
    metavar="FILE.toml|default",
    help="Rows from a file, a table for each; `default` for those that come with jaxreid.",
)
@click.option("--out", type=Place(file_okay=False), required=True, help="The folder of all runs.")
@click.option("--seeds", type=SEEDS, default="0,1,2", show_default=True, help="Of each row.")
@click.option(
    "--eps", type=BUDGETS, default="1,2,3,5", show_default=True, help="Budgets, in 1/255."
)
@click.option(
    "--limit", type=IMAGES, default=100, show_default=True, help="Queries to take, evenly spaced."
)
@click.option(
    "--quick/--full", default=True, show_default=True, help="Which form of the worst case."
)
@click.option("--epochs", type=EPOCHS, help="Of each row.  [default: those of GOAT's preset]")
@click.option(
    "--start-from",
    type=Place(dir_okay=False),
    help="Weights that all rows start from.  [default: trained first]",
)
@click.option(
    "--batch-size", type=BATCH, default=50, show_default=True, help="Images attacked at a time."
)
@click.option(
    "--repeats",
    type=Whole(0, 10_000),
    default=5,
    show_default=True,
    help="Rounds in which steps are timed; 0 for not at all.",
)
@click.option(
    "--known",
    "records",
    multiple=True,
    type=Place(dir_okay=False),
    metavar="defenses.json",
    help="What the same league gave on another machine: its runs are in the table, and are not "
    "done here; several may be given.",
)
@json_option
@click.pass_context
def defenses(ctx: click.Context, /, out: Path, as_json: bool, **options: Any) -> None:
    """Train defenses in one budget, attack them all alike, and write one table.

    All rows start from the same network, see as many training images, and have their weights
    chosen by the same rule; `undefended` and `goat` are always among them. What is there already
    is not done again: the same command goes on where it was interrupted, and with more rows or
    seeds adds those. Machines can share a league: each takes some seeds, and the last one the
    others' records (--known). Any field of all rows can be set: --config.batch.size=64.

    \b
    Examples:
      jaxreid benchmark defenses --out runs/league --list default
      jaxreid benchmark defenses --out runs/league --seeds 1 \\
          --defense nna=goat=nna --defense awp=:defense.weight_perturbation=0.01
    """  # noqa: D301
    from jaxreid.benchmark.league.defenses import hold_league
    from jaxreid.cli.benchmark.defense_tables import (
        draw_front,
        print_standings,
        result_of,
        write_league,
    )
    from jaxreid.cli.tables import print_json

    league = _league(out, ctx.args, **options)
    budgets = league.exam.budgets
    with progress_bars() as bars:
        standings = hold_league(league, repeats=options["repeats"], watch=bars, say=bars.say)
    if standings is None:
        click.echo("stopped; the same command goes on from there", err=True)
        ctx.exit(PREEMPTED)
    result = result_of(standings, budgets, _budget(league))
    drawn = draw_front(standings, budgets)
    write_league(out, result, command_line(), drawn)
    if as_json:
        print_json(result)
        return
    print_standings(standings, budgets)
    for line in (result["closing"], f"table, figure and record: {out / 'defenses.md'}"):
        click.echo(line)


def _league(out: Path, common: list[str], **options: Any) -> "League":
    """Everything that was asked for, checked before anything runs."""
    from jaxreid.benchmark.league.defenses import League
    from jaxreid.benchmark.league.examination import Exam
    from jaxreid.budgets import read_budget
    from jaxreid.cli.benchmark.defense_rows import plain_row, rows_of

    config, start = options["config"], options["start_from"]
    budgets = tuple(sorted({read_budget(eps) for eps in options["eps"]}))
    if budgets[0] <= 0:
        raise InputError("--eps 0 attacks nothing, and clean images are in every table")
    exam = Exam(budgets, options["quick"], options["limit"], options["batch_size"])
    exam.conditions()  # wrong ones are refused before anything is opened
    plain = None
    if start is None:
        plain, start = plain_row(config, common), out / "plain" / "last.safetensors"
    elif not start.is_file():
        raise InputError(f"--start-from: there is no file {start}")
    of_rows = [*common]
    if options["epochs"] is not None:
        of_rows.append(f"--config.epochs={options['epochs']}")
    rows = rows_of(config, of_rows, _defenses(options["named"], options["listed"]), start)
    league = League(out, start, plain, rows, options["seeds"], exam)
    return league._replace(known=_known(options["records"], league))


def _known(records: Sequence[Path], league: "League") -> "dict[tuple[str, int], Run]":
    """The runs of all records; one that two of them have is refused: which of them counts?"""
    from jaxreid.benchmark.league.known_runs import known_runs

    found: dict[tuple[str, int], Run] = {}
    for path in records:
        runs = known_runs(path, league.planned())
        if twice := found.keys() & runs.keys():
            name, seed = min(twice)
            raise InputError(f"--known {path}: another record has {name} with seed {seed}, too")
        found |= runs
    return found


def _defenses(named: tuple[str, ...], listed: str | None) -> "list[Defense]":
    from jaxreid.cli.benchmark.defense_rows import default_list, from_file, from_text

    found = []
    if listed is not None:
        found += from_file(default_list() if listed == "default" else Path(listed).expanduser())
    return [*found, *map(from_text, named)]


def _budget(league: "League") -> str:
    """What every row has in common, for whoever reads the table."""
    from jaxreid.benchmark.league.defenses import images_per_epoch

    goat = next(row.config for row in league.rows if row.name == "goat")
    exam, evaluation, data = league.exam, goat.evaluation, goat.dataset
    start = shlex.quote(str(league.start))
    if league.plain is not None:
        start = f"the last weights of `jaxreid train --config {shlex.join(league.plain.words)}`"
    chosen = "the last ones"
    if evaluation.every_epochs:
        chosen = f"those best on the validation people under {evaluation.attack or 'no attack'}"
    queries = "all queries" if exam.limit is None else f"up to {exam.limit} queries, evenly spaced"
    return (
        f"Every row starts from {start} and sees {goat.epochs * images_per_epoch(goat):,} images "
        f"of {' and '.join(data.names)} (epochs: {goat.epochs}); its weights are {chosen}; seeds "
        f"{', '.join(map(str, league.seeds))}. mAP / rank-1 in %, market1501 protocol, {queries}, "
        f"worst case: {exam.conditions()[-1].attack}. x step: time of a training step per image "
        f"beside undefended's, one device, in turns.{_elsewhere(league)}"
    )


def _elsewhere(league: "League") -> str:
    """How many runs began from another machine's weights."""
    count = len(league.known)
    return f" Runs of other machines, which start from their own: {count}." if count else ""
