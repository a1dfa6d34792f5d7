"""`jaxreid audit`: can the figures of a model be trusted?"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.corruption_options import corruption_options
from jaxreid.cli.parameters import BUDGET, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import AS_PUBLISHED, audit_options, run_options
from jaxreid.cli.settings import RunSettings
from jaxreid.cli.surrogates import open_surrogate
from jaxreid.cli.through import mean_of_draws, mean_options, refuse_idle_draws
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.cli.model.loaded import LoadedModel
    from jaxreid.cli.progress import Bars
    from jaxreid.evaluation import RetrievalTest
    from jaxreid.records import Card, Flag
    from jaxreid.types import Embed

__all__ = ["audit"]


@dataclass(frozen=True, kw_only=True)
class _Settings(RunSettings):
    """What was asked for, typed; names are those of the options."""

    eps: float | str | None
    quick: bool
    surrogate: str | None
    strict: bool
    as_json: bool
    draws: int

    @property
    def mean(self) -> str:
        """Of how many draws the feature is the mean; "" where nothing draws at random."""
        return mean_of_draws(self.through, self.draws)

    def named(self, model: "LoadedModel") -> str:
        """The same, and whether it is a mean."""
        return super().named(model) + (f" ({self.mean.replace('-', ' ')})" if self.mean else "")

    def recorded(self) -> dict[str, Any]:
        """The same, and the draws."""
        return {**super().recorded(), **({"draws": self.draws} if self.mean else {})}

    def defended(self, embed: "Embed") -> "Embed":
        """The same; of what draws at random the mean feature, which is what is climbed."""
        from jaxreid.evaluation import expected

        behind = super().defended(embed)
        return expected(behind, draws=self.draws) if self.mean else behind

    def budget(self) -> float | str:
        if self.eps is None and self.norm == "l2":
            raise click.UsageError("--norm l2 needs --eps, a length in pixel range such as 2")
        return 5 if self.eps is None else self.eps

    def check(self) -> None:
        """Refuses a wrong budget, before anything is opened."""
        from jaxreid.evaluation.audit import wanted_conditions

        # Any distance: the model's is not known yet.
        distance = self.distance or "euclidean"
        refuse_idle_draws(self.through)
        wanted_conditions(self.budget(), self.norm, distance, quick=self.quick)


@click.command()
@click.argument("model")
@audit_options
@click.option(
    "--eps",
    type=BUDGET,
    help="Budget: in 1/255 for linf (5 and 5/255 are the same), a length in pixel range for l2.  "
    "[default: 5; none for l2]",
)
@click.option("--quick", is_flag=True, help="A first look: fewer attacks of fewer steps.")
@click.option(
    "--surrogate",
    metavar="MODEL",
    help="Another model of the same data, whose adversarial images are tried on this one.",
)
@mean_options
@run_options
@corruption_options
@click.option("--strict", is_flag=True, help="Exit with 1 if a flag is raised.")
@json_option
def audit(**options: Any) -> None:
    """Measure the worst case of a model, and look for reasons to distrust it.

    MODEL is what `jaxreid evaluate` takes. A figure under attack is worth as much as the attack: a
    gradient that is zero, random or wrong makes any network look robust. Each flag of the table
    is one such reason, with what was measured, the limit, and what to do. The figures and
    card.json, which holds everything, are written into the run folder.

    The exit code is 0 whether or not flags are raised, unless --strict is given.

    \b
    Example:
      jaxreid audit runs/goat --dataset market1501 --quick \\
          --surrogate runs/baseline
    """  # noqa: D301
    from jaxreid.cli.audit_table import print_card
    from jaxreid.cli.tables import print_json

    settings = _Settings(**AS_PUBLISHED, **options)
    settings.check()
    opened = open_test(settings)
    card, folder = _run(opened, settings)
    if is_main_process() and settings.as_json:
        print_json(dataclasses.asdict(card))
    elif is_main_process():
        print_card(card, folder)
    if settings.strict and card.raised:
        click.get_current_context().exit(1)


def _run(opened: OpenedTest, settings: _Settings) -> "tuple[Card, Path]":
    from jaxreid.cli.audit_table import flag_line
    from jaxreid.cli.ensemble_table import member_line
    from jaxreid.cli.tables import result_line
    from jaxreid.evaluation import held_by_run, open_run
    from jaxreid.evaluation.audit import Audited, audit_model

    def say_flag(flag: "Flag") -> None:
        if flag.raised:
            bars.say(f"warning: {flag_line(flag)}")

    out = settings.out or opened.folder(settings.mean)
    with progress_bars(shown=is_main_process()) as bars:
        test = opened.retrieval_test(bars)
        test.refuse_matchless()
        surrogate = _surrogate(opened, settings, bars)
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(out))
        completed = opened.settings
        trained = opened.model.facts.get("training_size")
        card = audit_model(
            Audited(
                test,
                completed.distance or "euclidean",
                None if trained is None else tuple(trained),
                bool(completed.flip),
                surrogate,
            ),
            open_run(out, opened.provenance),
            eps=settings.budget(),
            norm=settings.norm,
            quick=settings.quick,
            on_flag=say_flag,
            on_result=lambda result: bars.say(result_line(result)),
            on_member=lambda condition, member: bars.say(member_line(condition, member)),
            examples=settings.examples,
        )
    return card, out


def _surrogate(opened: OpenedTest, settings: _Settings, bars: "Bars") -> "RetrievalTest | None":
    """The same test in the features of another model."""
    if settings.surrogate is None:
        return None
    other = open_surrogate(settings.surrogate, opened, say=bars.say)
    # Its features have a bar of their own.
    return dataclasses.replace(opened, model=other).retrieval_test(
        lambda _, done, total: bars("surrogate", done, total)
    )
