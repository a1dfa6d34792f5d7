"""`jaxreid ers`: ranks of chosen items under attack, and the empirical robustness score."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.budgets import read_levels
from jaxreid.cli.parameters import BUDGET, RESTARTS, SEED, STEPS, WORDS, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import AS_PUBLISHED, ers_options
from jaxreid.cli.settings import RunSettings
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.records import Climb, RankingAttack

__all__ = ["ers"]

# What of the shared settings there is no choice of: features have unit length, as published.
_FIXED: dict[str, Any] = {
    **AS_PUBLISHED,
    "norm": "linf",
    "distance": None,
    "unit_length": None,
    "examples": 0,
    "rerank": False,
}


@dataclass(frozen=True, kw_only=True)
class _Settings(RunSettings):
    """What was asked for, typed; names are those of the options."""

    attacks: tuple[str, ...]
    eps: float | str
    step_size: float | str
    random_start: bool
    best_iterate: bool
    seed: int
    as_json: bool

    @property
    def climb(self) -> "Climb":
        """How the attacks climb, refused before anything is opened where it cannot be."""
        from jaxreid.records import Climb

        return Climb(
            eps=read_levels(self.eps, name="--eps"),
            step_size=read_levels(self.step_size, name="--step-size"),
            steps=self.steps,
            random_start=self.random_start,
            best_iterate=self.best_iterate,
            restarts=self.restarts,
            seed=self.seed,
        )

    def names(self) -> tuple[str, ...]:
        """The attacks, known by name."""
        from jaxreid.evaluation.order import ranking_attack_names

        return ranking_attack_names([name.lower() for name in self.attacks])


@click.command()
@click.argument("model")
@ers_options
@click.option(
    "--attacks",
    type=WORDS,
    default="ca+,ca-,qa+,qa-,tma,es,ltm,gtm,gtt",
    show_default=True,
    help="Those that the score is made of, or some of them; spqa+ and spqa- beside.",
)
@click.option(
    "--eps", type=BUDGET, default="8", show_default=True, help="Budget in 1/255, L-infinity."
)
@click.option(
    "--step-size", type=BUDGET, default="3", show_default=True, help="In 1/255; of each step."
)
@click.option("--steps", type=STEPS, default=32, show_default=True, help="Gradient steps.")
@click.option(
    "--random-start", is_flag=True, help="Start at random in the budget, not at the clean image."
)
@click.option(
    "--best-iterate",
    is_flag=True,
    help="Count the worst image met, number by number, and not the last one.",
)
@click.option(
    "--restarts",
    type=RESTARTS,
    default=1,
    show_default=True,
    help="Starts, further ones at random; each number is of the worst.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random numbers.")
@json_option
def ers(**options: Any) -> None:
    """Raise and lower chosen items of rankings, and score what is left.

    MODEL is what `jaxreid evaluate` takes; its features are compared by the Euclidean distance of
    unit vectors. Attacks, metrics and the empirical robustness score (ERS, the mean of ten terms,
    the larger the more robust) are those of Zhou et al. (robrank), whose tables start at the clean
    image and count the last one: with --random-start --best-iterate less is left. The table,
    ers.json, ers.md and a figure are written into the run folder; the same command again goes on
    where it was interrupted.

    \b
    Examples:
      jaxreid ers runs/baseline --dataset synthetic_reid --limit 100
      jaxreid ers runs/baseline --dataset synthetic_reid --limit 100 \\
          --random-start --best-iterate
    """  # noqa: D301
    from jaxreid.cli.ers_table import figures, print_ers
    from jaxreid.cli.tables import print_json

    settings = _Settings(**(_FIXED | options))
    climb, names = settings.climb, settings.names()
    opened = open_test(settings)
    found, folder = _run(opened, settings, climb, names)
    if not is_main_process():
        return
    if settings.as_json:
        print_json(figures(found))
    else:
        print_ers(found, opened.provenance.title, folder)


def _run(
    opened: OpenedTest, settings: _Settings, climb: "Climb", names: tuple[str, ...]
) -> "tuple[list[RankingAttack], Path]":
    from jaxreid.cli.ers_table import attack_line, write_summary
    from jaxreid.evaluation import held_by_run, open_run
    from jaxreid.evaluation.order import attack_rankings

    out = settings.out or opened.folder("ers")
    with progress_bars(shown=is_main_process()) as bars:
        test = opened.retrieval_test(bars)
        test.refuse_matchless()
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(out))
        open_run(out, opened.provenance)
        found = attack_rankings(
            test,
            climb,
            attacks=names,
            folder=out,
            on_attack=lambda attack: bars.say(attack_line(attack)),
        )
    if is_main_process():
        write_summary(found, opened.provenance.title, out)
    return found, out
