"""One attack at one budget, as `jaxreid attack` and `transfer` ask for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from jaxreid.cli.parameters import BUDGET, SEED, Command, add_options
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.constants import ENSEMBLES
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.records import Condition

__all__ = ["SingleAttack", "single_attack_options"]

_DEFAULT = 5


@dataclass(frozen=True, kw_only=True)
class SingleAttack(RetrievalSettings):
    """What was asked for, typed; names are those of the options."""

    name: str
    eps: float | str | None
    seed: int
    eight_bit: bool = True

    def condition(self) -> "Condition":
        """The one condition; an InputError or UsageError says what is wrong."""
        from jaxreid.evaluation import attack_names

        names = attack_names([self.name])
        if len(names) > 1 or names[0] in ENSEMBLES:
            raise InputError(
                f"--attack {self.name} names several attacks; expected one, such as fna"
            )
        if self.eps is None and self.norm == "l2":
            raise click.UsageError("--norm l2 needs --eps, a length in pixel range such as 2")
        eps = _DEFAULT if self.eps is None else self.eps
        found = self.conditions_of(names, [eps], seeds=[self.seed], eight_bit=self.eight_bit)
        return found[-1]


_OPTIONS = (
    click.option("--attack", "name", default="fna", show_default=True, help="Its name, see below."),
    click.option(
        "--eps",
        type=BUDGET,
        help="Budget: in 1/255 for linf (5 and 5/255 are the same), a length in pixel range for "
        f"l2.  [default: {_DEFAULT}; none for l2]",
    ),
    click.option(
        "--seed", type=SEED, default=0, show_default=True, help="Of what the attack draws."
    ),
)


def single_attack_options(command: Command) -> Command:
    """Adds them to a command."""
    return add_options(command, _OPTIONS)
