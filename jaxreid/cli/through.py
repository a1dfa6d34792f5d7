"""`--through`: what stands before a network at test time, and who attacks it how."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from jaxreid.cli.parameters import WORDS, Command, Kind, Whole, add_options
from jaxreid.cli.settings import RetrievalSettings, RunSettings
from jaxreid.constants import ENSEMBLES, UNDEFENDED

if TYPE_CHECKING:
    from jaxreid.cli.retrieval import OpenedTest
    from jaxreid.evaluation import RetrievalTest

__all__ = [
    "AttackerSettings",
    "StandIn",
    "attacker_names",
    "attacker_options",
    "check_attackers",
    "check_draws_nothing",
    "mean_of_draws",
    "mean_options",
    "refuse_idle_draws",
    "stand_ins",
    "through_note",
    "through_option",
]


StandIn = Callable[["RetrievalTest"], "RetrievalTest"]
"""The test of the network that ranks -> that of what is attacked in its place."""

_ADAPTIVE, _OBLIVIOUS = "adaptive", "oblivious"
_MOST_DRAWS = 10_000
_WORST = {*ENSEMBLES, "worst", "worst-quick"}


def _read(text: str) -> str:
    from jaxreid.evaluation.defended import through_text

    return through_text(text)


_THROUGH = click.option(
    "--through",
    type=Kind("NAME[:N]+...", _read),
    help="Rank what is left of images after jpeg:75, bits:5, resize:2, median, noise:8, "
    "resizepad:0.9 or flip, or several in turn, as jpeg:75+flip: docs/test-time-defenses.md.",
)
_ATTACKER = click.option(
    "--attacker",
    type=WORDS,
    default=_ADAPTIVE,
    show_default=True,
    help="Who attacks a network with --through: adaptive, who knows of it and climbs through it; "
    "oblivious, who attacks the network alone. Both, and one row for each.",
)
_DRAWS = click.option(
    "--draws",
    type=Whole(1, _MOST_DRAWS),
    default=8,
    show_default=True,
    help="Draws over which an adaptive attack averages what --through draws at random.",
)


@dataclass(frozen=True, kw_only=True)
class AttackerSettings(RunSettings):
    """What was asked of a command whose attackers may not have the network, or not know of all."""

    surrogate: tuple[str, ...] | None
    attacker: tuple[str, ...]
    draws: int


def through_option(command: Command) -> Command:
    """Adds `--through` to a command."""
    return add_options(command, (_THROUGH,))


def attacker_options(command: Command) -> Command:
    """Adds it with those of who attacks."""
    return add_options(command, (_THROUGH, _ATTACKER, _DRAWS))


def mean_options(command: Command) -> Command:
    """Adds it to a command that looks at what an adaptive attacker climbs."""
    return add_options(command, (_THROUGH, _DRAWS))


def check_attackers(settings: AttackerSettings, names: Sequence[str]) -> None:
    """Refuses what does not go together, by a UsageError.

    Args:
        settings: of the command.
        names: of the attacks.
    """
    from jaxreid.evaluation.defended import draws_at_random

    known, defense = (_ADAPTIVE, _OBLIVIOUS), settings.through
    if not settings.attacker or not set(settings.attacker) <= set(known):
        raise click.UsageError(
            f"--attacker must be {' or '.join(known)} (or both), got "
            f"{','.join(settings.attacker)!r:.60}"
        )
    if defense is None and _is_typed("attacker"):
        raise click.UsageError("--attacker is of a defense: it needs --through")
    refuse_idle_draws(defense)
    if defense is None:
        return
    if settings.surrogate:
        raise click.UsageError("--surrogate cannot be given with --through: choose one")
    if set(names) & _WORST and (_OBLIVIOUS in settings.attacker or draws_at_random(defense)):
        raise click.UsageError(
            "the worst case climbs what ranks: it takes no --attacker oblivious, and no --through "
            "that draws at random; single attacks do"
        )


def mean_of_draws(defense: str | None, draws: int) -> str:
    """Name of the mean feature that an adaptive attacker climbs; "" where nothing is drawn."""
    from jaxreid.evaluation.defended import draws_at_random

    random = defense is not None and draws_at_random(defense)
    return f"mean-of-{draws}-draws" if random else ""


def refuse_idle_draws(defense: str | None) -> None:
    """Refuses --draws where nothing draws, by a UsageError."""
    from jaxreid.evaluation.defended import draws_at_random

    if not _is_typed("draws"):
        return
    if defense is None:
        raise click.UsageError("--draws is of a defense: it needs --through")
    if not draws_at_random(defense):
        raise click.UsageError(f"--draws is of what draws at random, and {defense} draws nothing")


def check_draws_nothing(settings: RetrievalSettings, reason: str) -> None:
    """Refuses what has no one feature for an image, by a UsageError that says why."""
    from jaxreid.evaluation.defended import draws_at_random

    if settings.through is not None and draws_at_random(settings.through):
        raise click.UsageError(
            f"--through {settings.through} draws at random, and {reason}: jaxreid evaluate "
            "--through attacks what is expected of it"
        )


def through_note(settings: RetrievalSettings) -> str:
    """A sentence for below a table; "" where nothing stands before the network."""
    from jaxreid.evaluation.defended import DEFENSES, parts_of

    if settings.through is None:
        return ""
    titles = ", ".join(DEFENSES[name].title for name, _ in parts_of(settings.through))
    return f"all images ranked through {settings.through}: {titles}"


def _is_typed(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def attacker_names(settings: AttackerSettings) -> tuple[str, ...]:
    """Conditions' names of what is attacked; "" for the network that ranks, as it ranks."""
    if settings.through is None:
        return (settings.surrogates,)
    mean = mean_of_draws(settings.through, settings.draws)
    named = {_ADAPTIVE: mean, _OBLIVIOUS: UNDEFENDED}
    return tuple(dict.fromkeys(named[attacker] for attacker in settings.attacker))


def stand_ins(settings: AttackerSettings, opened: "OpenedTest") -> dict[str, StandIn]:
    """Name -> what is attacked in place of the network that ranks, where it is not that one."""
    from jaxreid.evaluation import expected, surrogate_test

    bare = opened.model.embed
    found: dict[str, StandIn] = {}
    for name in filter(None, attacker_names(settings)):
        embed = bare
        if name != UNDEFENDED:
            embed = expected(opened.settings.defended(bare), draws=settings.draws)
        found[name] = partial(surrogate_test, [embed], cosine=False)
    return found
