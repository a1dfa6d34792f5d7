"""`jaxreid blackbox`: what is left of a service of which only rank lists are seen, by queries."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid.budgets import budget_text, read_budget
from jaxreid.cli.parameters import BUDGET, QUERIES, SEED, TITLE, TOP, WORDS, Place, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import IN_ONE_PROCESS, black_box_options
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.cli.tables import framed_table, print_json, wide_console
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from jaxreid.evaluation.blackbox import Prior, Service
    from jaxreid.records import ByQueries

__all__ = ["blackbox"]


@dataclass(frozen=True, kw_only=True)
class _Settings(RetrievalSettings):
    """What was asked for, typed; names are those of the options."""

    attacks: tuple[str, ...]
    queries: int
    eps: float | str
    top: int
    sees: Literal["list", "scores"]
    seed: int
    images: Path | None
    out: Path | None
    as_json: bool

    def recorded(self) -> dict[str, Any]:
        """The same, and what the service shows."""
        return {**super().recorded(), "top": self.top, "sees": self.sees}

    def check(self) -> None:
        """Refuses wrong attacks and budgets, before anything is opened."""
        from jaxreid.checks import check_choice
        from jaxreid.evaluation.blackbox import STRATEGIES

        for name in self.attacks:
            check_choice("--attacks", name, STRATEGIES)
        if not self.attacks:
            raise click.UsageError(f"--attacks names none; expected {', '.join(STRATEGIES)}")
        if not 1 <= read_budget(self.eps, name="--eps") <= 255:
            raise InputError(f"--eps must be from 1 to 255: images have 8 bits; got {self.eps}")


@click.command()
@click.argument("model")
@black_box_options
@click.option(
    "--attacks",
    type=WORDS,
    default="square,nes,rays",
    show_default=True,
    help="square: windows painted at random; nes: an estimated gradient; rays: the shortest way to "
    "another person.",
)
@click.option(
    "--queries",
    type=QUERIES,
    default=1000,
    show_default=True,
    help="The most images that each attack asks about each search.",
)
@click.option(
    "--eps",
    type=BUDGET,
    default="5",
    show_default=True,
    help="Budget in 1/255, L-infinity; the whole part of it.",
)
@click.option("--top", type=TOP, default=50, show_default=True, help="Items of a list seen.")
@click.option(
    "--sees",
    type=click.Choice(["list", "scores"]),
    default="list",
    show_default=True,
    help="Whether the service shows scores, too.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random numbers.")
@click.option(
    "--images",
    type=Place(file_okay=False),
    help="Begin at images that `jaxreid attack` wrote, against another model.",
)
@click.option("--title", type=TITLE, help="Of the run.  [default: MODEL on DATASET]")
@click.option(
    "--out",
    type=Place(file_okay=False),
    help="The run folder; what it holds already is not asked again.  [default: "
    "runs/MODEL-DATASET-blackbox]",
)
@json_option
def blackbox(**options: Any) -> None:
    """Attack a service of which only rank lists are seen, and count the images that it takes.

    MODEL is what `jaxreid evaluate` takes, or ranker:module:function, a service of your own: a
    function from images, uint8 [B,H,W,3], to B lists of positions in the gallery, best first. It is
    never asked more than --queries images about a search and attack, nothing twice, and after an
    interruption the same command goes on from what was answered.

    \b
    Examples:
      jaxreid blackbox runs/baseline --dataset synthetic_reid --limit 50
      jaxreid blackbox ranker:shop:search --dataset market1501 --limit 20 \\
          --attacks rays --queries 300 --top 10 --images adversarial/
    """  # noqa: D301
    settings = _Settings(**IN_ONE_PROCESS, **options)
    settings.check()
    opened = open_test(settings, divide_cpu=False)
    found, folder = _run(opened, settings)
    if settings.as_json:
        print_json({attack.attack: _figures(attack) for attack in found})
        return
    console = wide_console()
    console.print(_table(found, settings))
    path = click.format_filename(folder)
    console.print(f"run folder: {path}", markup=False, highlight=False, soft_wrap=True)


def _run(opened: OpenedTest, settings: _Settings) -> "tuple[list[ByQueries], Path]":
    from jaxreid.evaluation import held_by_run, open_run
    from jaxreid.evaluation.blackbox import attack_searches

    folder = settings.out or opened.folder("blackbox")
    with progress_bars() as bars:
        service = _service(opened, settings, bars)
        prior = None if settings.images is None else _prior(opened, settings.images)
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(folder))
        open_run(folder, opened.provenance)
        found = attack_searches(
            service,
            folder,
            attacks=settings.attacks,
            eps=settings.eps,
            queries=settings.queries,
            seed=settings.seed,
            prior=prior,
            progress=bars,
            on_attack=lambda attack: bars.say(_line(attack)),
        )
        _draw(found, folder)
    return found, folder


def _service(opened: OpenedTest, settings: _Settings, bars: Any) -> "Service":
    from jaxreid.evaluation.blackbox import Service, ranker_of

    test, scored = opened.retrieval_test(bars), settings.sees == "scores"
    if opened.model.ranker is not None:
        if settings.distance is not None:
            raise click.UsageError("--distance is for models: a service ranks as it likes")
        return Service(test, opened.model.ranker, None, settings.top, scored)
    distance = opened.settings.distance or "euclidean"
    ranker = ranker_of(test, distance, top=settings.top)
    return Service(test, ranker, distance, settings.top, scored)


def _prior(opened: OpenedTest, folder: Path) -> "Prior":
    """Images that were written for another model, of the same queries in the same size."""
    from jaxreid.evaluation import StoredImages, read_manifest
    from jaxreid.evaluation.blackbox import Prior
    from jaxreid.evaluation.stored_images import MANIFEST

    manifest = read_manifest(folder)
    size = list(opened.loader.size)
    if manifest.condition.side != "query" or manifest.settings.get("size") != size:
        raise InputError(
            f"{folder} holds images of the {manifest.condition.side} split in size "
            f"{manifest.settings.get('size')}; expected of the query split in {size}"
        )
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return Prior(StoredImages(folder, manifest, opened.query), digest)


def _line(attack: "ByQueries") -> str:
    rank1 = attack.rank1()
    return (
        f"{attack.attack}: rank-1 {100 * rank1[0]:.1f} % of clean images, {100 * rank1[-1]:.1f} % "
        f"after {_mean_asked(attack):,.0f} images a search"
    )


def _mean_asked(attack: "ByQueries") -> float:
    return sum(attack.asked) / len(attack.asked)


def _figures(attack: "ByQueries") -> dict[str, Any]:
    return {
        "checkpoints": attack.checkpoints,
        "rank1": attack.rank1(),
        "mean_average_precision": attack.mean_average_precision(),
        "mean_asked": _mean_asked(attack),
    }


def _table(attacks: "Sequence[ByQueries]", settings: _Settings) -> "Table":
    eps = budget_text(attacks[0].eps, "linf")
    table = framed_table(
        "attack",
        "%",
        title=f"after so many images asked about a search, eps {eps}/255",
        caption=f"{len(attacks[0].asked)} searches that have a match; seen: the first "
        f"{settings.top} items{' with scores' * (settings.sees == 'scores')}; asked: in the mean; "
        "1 is the clean image",
    )
    for checkpoint in attacks[0].checkpoints:
        table.add_column(f"{checkpoint:,}", justify="right", no_wrap=True)
    table.add_column("asked", justify="right", no_wrap=True)
    for attack in attacks:
        asked = f"{_mean_asked(attack):,.0f}"
        for measure, values in (
            ("rank-1", attack.rank1()),
            ("mAP", attack.mean_average_precision()),
        ):
            if values is not None:
                cells = (f"{100 * value:.1f}" for value in values)
                name = attack.attack if measure == "rank-1" else ""
                table.add_row(name, measure, *cells, asked if name else "")
    return table


def _draw(attacks: "Sequence[ByQueries]", folder: Path) -> None:
    from jaxreid.report.queries import success_by_queries

    success_by_queries(attacks, "blackbox").save(folder)
