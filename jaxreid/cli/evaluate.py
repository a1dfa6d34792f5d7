"""`jaxreid evaluate`: what is left of a model's retrieval under attack."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from jaxreid.cli.corruption_options import corruption_options
from jaxreid.cli.manifest import from_images
from jaxreid.cli.model.cameras import wrong_camera_lines
from jaxreid.cli.notes import note_damage, note_matchless, say_result
from jaxreid.cli.parameters import BUDGETS, SEEDS, WORDS, Place
from jaxreid.cli.perturbations import open_perturbations, perturbation_option, wanted_of
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import AttackCommand, retrieval_options, run_options
from jaxreid.cli.surrogates import Surrogates, surrogate_option
from jaxreid.cli.through import (
    AttackerSettings,
    StandIn,
    attacker_names,
    attacker_options,
    check_attackers,
    stand_ins,
    through_note,
)
from jaxreid.cli.verification import goal_tables, verification_options, verifier_of
from jaxreid.constants import ENSEMBLES
from jaxreid.distributed import is_main_process

if TYPE_CHECKING:
    from jaxreid.evaluation import Perturbation, StoredImages
    from jaxreid.records import Condition, Member, Result, RunFolder

__all__ = ["evaluate"]

_ATTACKS = ("noise", "ifgsm", "odfa", "sma", "fna", "nna")
# Of single attacks those that can aim at a person.
_POSING = ("fna", "fna_without_push")
_EPS = (1.0, 2.0, 3.0, 4.0, 5.0)
_CLEAN = {"clean"}
# What an ensemble, which has no numbers of its own, does not heed.
_SINGLE = ("steps", "step_size", "restarts", "as_paper", "boost", "surrogate")
# What clean images do not heed either.
_OF_ATTACKS = ("eps", "seeds")
_CLEAN_ONLY = "is of attacks, and clean images are not attacked"
_QUICK = {
    name.removesuffix("-quick"): name for name in (*ENSEMBLES, "worst-quick") if "quick" in name
}


@dataclass(frozen=True, kw_only=True)
class Settings(AttackerSettings):
    """What was asked for, typed; names are those of the options."""

    attacks: tuple[str, ...]
    eps: tuple[float | str, ...] | None
    seeds: tuple[int, ...] | None
    eight_bit: bool
    images: Path | None
    paper: bool
    verification: bool
    validation_split: str | None
    quick: bool
    perturbation: tuple[str, ...] | None

    def conditions(self) -> "list[Condition]":
        """The clean condition, then each attack by each attacker; a UsageError says what is wrong.

        Returns:
            Conditions, of which several attackers may share some.
        """
        names = self._names()
        check_attackers(self, names)
        if self.eps is None and self.norm == "l2" and set(names) != _CLEAN:
            raise click.UsageError("--norm l2 needs --eps, lengths in pixel range such as 0.5,1,2")
        return [
            condition
            for name in attacker_names(self)
            for condition in dataclasses.replace(self, surrogates=name).conditions_of(
                names, self.eps or _EPS, seeds=self.seeds, eight_bit=self.eight_bit
            )
        ]

    def _names(self) -> list[str]:
        """The attacks, with the quick form of ensembles if it was asked for."""
        source = click.get_current_context().get_parameter_source("attacks")
        default = source is click.core.ParameterSource.DEFAULT
        if self.goal == "impersonate" and default:
            return list(_POSING)
        asked = _CLEAN if self.perturbation and default else self.attacks
        names = [_QUICK.get(name, name) if self.quick else name for name in asked]
        if self.quick and not set(names) & set(_QUICK.values()):
            raise click.UsageError("--quick is of the worst case: name it, as --attacks worst does")
        _refuse_unused(names, learned=bool(self.perturbation))
        return names


def _refuse_unused(names: Sequence[str], *, learned: bool) -> None:
    """Refuses options that none of the attacks would heed: what was asked for is not measured."""
    ensembles = {*ENSEMBLES, "worst", "worst-quick"}
    context = click.get_current_context()
    for options, heeded, reason in (
        (("knowledge",), set(names) & ensembles, "is of the worst case: name it, too, as worst"),
        (_OF_ATTACKS, set(names) - _CLEAN, _CLEAN_ONLY),
        (("eight_bit",), learned or set(names) - _CLEAN, _CLEAN_ONLY),
        (
            _SINGLE,
            set(names) - ensembles - _CLEAN,
            "is of single attacks: the worst case has its own",
        ),
    ):
        for option in options:
            source = context.get_parameter_source(option)
            if not heeded and source is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{option.replace('_', '-')} {reason}")


@click.command(cls=AttackCommand)
@click.argument("model")
@retrieval_options
@click.option(
    "--attacks",
    type=WORDS,
    default=",".join(_ATTACKS),
    show_default=True,
    help="Names, see below; worst for the worst case of a whole ensemble, paper for all of the "
    "paper's, all for all single ones, clean for none. To impersonate, by default those that can: "
    "fna,fna_without_push.",
)
@click.option(
    "--eps",
    type=BUDGETS,
    help="Budgets: in 1/255 for linf (5 and 5/255 are the same), lengths in pixel range for l2.  "
    "[default: 1,2,3,4,5; none for l2]",
)
@click.option(
    "--seeds",
    type=SEEDS,
    help="How many, or which, of the attacks that draw something.  [default: 3 of noise, of "
    "attacks of one step, and at the largest budget; 1 elsewhere]",
)
@click.option(
    "--quick",
    is_flag=True,
    help="A first look at the worst case: fewer attacks of fewer steps.",
)
@click.option(
    "--knowledge",
    type=WORDS,
    default="gallery",
    show_default=True,
    help="What the worst case's attacker knows beside the model: gallery, its features; guides, "
    "other images of the people; self, the image alone. Several, and one row for each.",
)
@surrogate_option
@attacker_options
@perturbation_option
@click.option("--eight-bit", is_flag=True, help="Round adversarial images to 8 bits first.")
@run_options
@corruption_options
@click.option(
    "--images",
    type=Place(file_okay=False),
    help="Rank images that `jaxreid attack` wrote; they say which attack, dataset and size.",
)
@verification_options
@click.option("--paper", is_flag=True, help="Print the paper's numbers beside ours.")
def evaluate(**options: Any) -> None:
    """Rank a gallery for clean and for attacked queries (or the gallery attacked), and compare.

    MODEL is a .safetensors, PyTorch or .exported file, hf:owner/name, the folder of a training,
    module:function, your own JAX function from images [B,H,W,3] in [0, 1] to features [B,D], or
    torch:module:factory, your own PyTorch module as a function without arguments returns it.
    Results are written as they come; the same command again goes on where it was interrupted.

    \b
    Examples:
      jaxreid evaluate runs/baseline --dataset synthetic_reid --out runs/robust
      jaxreid evaluate market.safetensors --dataset market1501 --attacks paper \\
          --as-paper --paper
      jaxreid evaluate mymodel:embed --dataset market1501 --limit 100 --eps 5 \\
          --attacks sma,fna
      jaxreid evaluate mymodel:embed --dataset market1501 --limit 100 --eps 5 \\
          --attacks fna,nna,worst --quick
      jaxreid evaluate mymodel:embed --dataset market1501 --limit 100 --eps 5 \\
          --attacks worst --goal impersonate --verification
      jaxreid evaluate torch:mymodel:build --dataset market1501 --size 256x128
      jaxreid evaluate market.safetensors --dataset market1501 --attacks nna \\
          --eps 8 --surrogate other.pth,third.pth --boost di,mi,ti
      jaxreid evaluate market.safetensors --dataset market1501 --attacks fna \\
          --eps 5 --through jpeg:75+flip --attacker oblivious,adaptive
      jaxreid evaluate market.safetensors --dataset market1501 \\
          --perturbation universal.safetensors
      jaxreid evaluate market.safetensors --images adversarial/
    """  # noqa: D301
    from jaxreid.cli.ensemble_table import print_members
    from jaxreid.cli.tables import paper_table, results_table, wide_console

    settings = Settings(**options)
    if settings.validation_split and not settings.verification:
        raise click.UsageError("--validation-split chooses thresholds: it needs --verification")
    if settings.images is not None and settings.corruption is not None:
        raise click.UsageError("--corruption cannot be given with --images: those were clean")
    asked = _asked(settings)
    results, run = _run(asked, settings)
    if not is_main_process():
        return
    console = wide_console()
    console.print(results_table(results, paper=settings.paper))
    for note in filter(None, (settings.corruption_note(), through_note(asked.opened.settings))):
        console.print(note)
    for line in wrong_camera_lines(results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for result in results:
        if result.worst is not None:
            print_members(console, result)
    for table in goal_tables(results):
        console.print(table)
    if settings.paper:
        console.print(paper_table(asked.opened.provenance.title, results))
    path = click.format_filename(run.path)
    console.print(f"run folder: {path}", markup=False, highlight=False, soft_wrap=True)


class _Asked(NamedTuple):
    """A test that is open, what is to be done to it, and what that needs."""

    opened: OpenedTest
    wanted: "list[Condition]"
    stored: "StoredImages | None" = None
    attacked: "Mapping[str, StandIn]" = MappingProxyType({})
    perturbations: "dict[str, Perturbation] | None" = None


def _asked(settings: Settings) -> _Asked:
    if settings.images is not None:
        return _Asked(*from_images(settings, settings.images))
    named = dataclasses.replace(settings, surrogates="+".join(settings.surrogate or ()))
    named.conditions()  # wrong ones are refused before anything is opened
    learned = open_perturbations(settings.perturbation or (), settings)
    opened, attacked = open_test(settings), dict[str, StandIn]()
    if settings.surrogate:
        surrogates = Surrogates(settings.surrogate, opened)
        named = dataclasses.replace(settings, surrogates=surrogates.name)
        attacked = {surrogates.name: surrogates.test}
    elif settings.through:
        attacked = stand_ins(settings, opened)
    wanted = named.completed(opened.model).conditions()
    wanted += wanted_of(learned, opened, eight_bit=settings.eight_bit)
    return _Asked(opened, wanted, None, attacked, learned)


def _run(asked: _Asked, settings: Settings) -> "tuple[list[Result], RunFolder]":
    from jaxreid.cli.ensemble_table import member_line
    from jaxreid.evaluation import held_by_run, open_run, robustness

    def say_member(condition: "Condition", member: "Member") -> None:
        bars.say(member_line(condition, member))

    opened = asked.opened
    out = settings.out or opened.folder()
    with progress_bars(shown=is_main_process()) as bars:
        test = opened.retrieval_test(bars)
        note_matchless(test)
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(out))
        run = open_run(out, opened.provenance)
        if is_main_process():
            note_damage(run)
        verifier = None
        if settings.verification:
            verifier = verifier_of(opened, settings.validation_split, bars)
        results = robustness(
            test,
            asked.wanted,
            run=run,
            examples=settings.examples,
            stored=asked.stored,
            verifier=verifier,
            surrogates={name: of(test) for name, of in asked.attacked.items()},
            perturbations=asked.perturbations,
            on_result=lambda result: say_result(result, bars),
            on_member=say_member,
        )
    return results, run
