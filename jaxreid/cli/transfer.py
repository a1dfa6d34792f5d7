"""`jaxreid transfer`: what images made on one network do to others, all against all."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from jaxreid.cli.parameters import Place, command_line, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import AttackCommand, retrieval_options
from jaxreid.cli.single_attack import SingleAttack, single_attack_options
from jaxreid.cli.surrogates import Surrogates, model_label
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.distributed import is_main_process
from jaxreid.files import replacing

if TYPE_CHECKING:
    from jaxreid.records import Condition, Result
    from jaxreid.report.canvas import Picture

__all__ = ["transfer"]

_CLEAN, _OTHERS = "clean", "all others"


class _Cell(NamedTuple):
    """What images made on one network leave of another.

    Attributes:
        made_on: label of the network attacked, "clean" for clean images, or "all others".
        ranked_by: label of the network that ranks.
        mean_average_precision: in [0, 1], protocol market1501.
        rank1: in [0, 1], likewise.
    """

    made_on: str
    ranked_by: str
    mean_average_precision: float
    rank1: float


@click.command(cls=AttackCommand)
@click.argument("models", nargs=-1, required=True)
@retrieval_options
@single_attack_options
@click.option("--eight-bit", is_flag=True, help="Round adversarial images to 8 bits first.")
@click.option(
    "--out", type=Place(file_okay=False), required=True, help="The folder of all run folders."
)
@json_option
def transfer(models: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Attack each of several networks, and rank the images by every other one.

    MODELS are what `jaxreid evaluate` takes, two or more. Of each, the images are those of its own
    size and pipeline. A row is the network whose gradients and guides were used, a column the one
    that ranks: the diagonal is an attacker who has the network, the others one who has to guess,
    and with three or more the last row one who has all but the network itself. Results are written
    as they come; the same command goes on where it was interrupted.

    \b
    Example:
      jaxreid transfer runs/plain runs/goat other.pth --dataset market1501 \\
          --boost di,mi,ti --out runs/transfer
    """  # noqa: D301
    from jaxreid.cli.tables import print_json

    if len(set(models)) < max(2, len(models)):
        raise click.UsageError(f"expected two or more MODELS, each once, got {' '.join(models)}")
    settings = {model: SingleAttack(model=model, **options) for model in models}
    settings[models[0]].condition()  # a wrong one is refused before anything is opened
    cells = [cell for model in models for cell in _column(settings[model], models, out)]
    if not is_main_process():
        return
    labels = list(dict.fromkeys(cell.ranked_by for cell in cells))
    drawn = _drawn(cells, labels)
    result = {
        "command": command_line(),
        "models": dict(zip(labels, models, strict=True)),
        "condition": dataclasses.asdict(settings[models[0]].condition()),
        "cells": [cell._asdict() for cell in cells],
    }
    _write(out, result, drawn)
    if as_json:
        print_json(result)
        return
    _print(cells, labels, settings[models[0]])
    for suffix in ("json", "svg", "png"):
        click.echo(str(out / f"transfer.{suffix}"))


def _column(settings: SingleAttack, models: tuple[str, ...], out: Path) -> list[_Cell]:
    """What the network of the settings makes of clean images and of those made on each network."""
    from jaxreid.records import Condition

    opened = open_test(settings)
    label = model_label(opened.model)
    condition = settings.completed(opened.model).condition()
    others = [model for model in models if model != settings.model]
    stand_ins = {model: Surrogates((model,), opened) for model in others}
    made_on = {label: condition}
    for one in stand_ins.values():
        made_on[one.name] = dataclasses.replace(condition, surrogate=one.name)
    if len(others) > 1:
        stand_ins[_OTHERS] = Surrogates(others, opened)
        made_on[_OTHERS] = dataclasses.replace(condition, surrogate=stand_ins[_OTHERS].name)
    clean = Condition(distance=condition.distance)
    wanted = {_CLEAN: clean, **made_on}
    if is_main_process():
        click.echo(f"{label}: ranked by it", err=True)
    results = _evaluated(opened, list(wanted.values()), list(stand_ins.values()), out / label)
    scores = {result.condition: result.scores[MAIN_PROTOCOL] for result in results}
    return [
        _Cell(name, label, scores[one].mean_average_precision, scores[one].rank1)
        for name, one in wanted.items()
    ]


def _evaluated(
    opened: OpenedTest, wanted: "list[Condition]", stand_ins: list[Surrogates], out: Path
) -> "list[Result]":
    """The results of one network's run folder."""
    from jaxreid.cli.tables import result_line
    from jaxreid.evaluation import held_by_run, open_run, robustness

    with progress_bars(shown=is_main_process()) as bars, held_by_run(out):
        test = opened.retrieval_test(bars)
        return robustness(
            test,
            wanted,
            run=open_run(out, opened.provenance),
            examples=0,
            surrogates={one.name: one.test(test) for one in stand_ins},
            on_result=lambda result: bars.say(result_line(result)),
        )


def _rows(cells: list[_Cell], labels: list[str]) -> dict[str, dict[str, _Cell]]:
    """Who made the images -> who ranks them -> cell: clean ones first, all others' last."""
    rows = {
        name: {cell.ranked_by: cell for cell in cells if cell.made_on == name}
        for name in (_CLEAN, *labels, _OTHERS)
    }
    return {name: row for name, row in rows.items() if row}


def _print(cells: list[_Cell], labels: list[str], settings: SingleAttack) -> None:
    from jaxreid.budgets import budget_text
    from jaxreid.cli.tables import condition_text, print_table

    condition = settings.condition()
    what = f"{condition_text(condition)}, eps {budget_text(condition.eps, condition.norm)}"
    numbers = {label: str(number) for number, label in enumerate(labels, 1)}
    rows = [
        [f"{numbers[name]} {name}" if name in numbers else name]
        + [_percent(row[label]) for label in labels]
        for name, row in _rows(cells, labels).items()
    ]
    columns = ["made on", *(f"ranked\nby {number}" for number in numbers.values())]
    print_table(f"mAP / rank-1 in %, market1501: {what}", columns, rows)


def _percent(cell: _Cell) -> str:
    return f"{100 * cell.mean_average_precision:.1f} / {100 * cell.rank1:.0f}"


def _drawn(cells: list[_Cell], labels: list[str]) -> "Picture":
    """The matrix as shades: the darker, the less is left."""
    from jaxreid.report.canvas import INK, PAPER, canvas, clipped, picture

    rows = _rows(cells, labels)
    left = [[100 * row[label].mean_average_precision for label in labels] for row in rows.values()]
    names = [clipped(label, 24) for label in labels]
    with canvas(height=1.6 + 0.45 * len(rows), wide=True) as (figure, [axes]):
        axes.imshow(left, cmap="Blues_r", vmin=0, vmax=100, aspect="auto")
        for y, row in enumerate(left):
            for x, value in enumerate(row):
                color = PAPER if value < 60 else INK
                axes.text(x, y, f"{value:.1f}", ha="center", va="center", color=color)
        axes.set_xticks(range(len(labels)), names, rotation=20, ha="right")
        axes.set_yticks(range(len(rows)), [clipped(name, 24) for name in rows])
        axes.grid(visible=False)
        axes.set_xlabel("ranked by")
        axes.set_ylabel("made on")
        axes.set_title("mAP that is left (%)")
        each = "; ".join(
            f"made on {name}: {', '.join(f'{value:.1f}' for value in row)}"
            for name, row in zip(rows, left, strict=True)
        )
        return picture(figure, "transfer", alt=f"mAP in %, ranked by {', '.join(labels)}. {each}.")


def _write(out: Path, result: dict[str, Any], drawn: "Picture") -> None:
    with replacing(out / "transfer.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    drawn.save(out)
