"""`jaxreid adaptive`: what is left by attackers who know what stands behind the network."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.budgets import read_levels
from jaxreid.cli.parameters import BUDGET, SEED, STEPS, Kind, Whole, json_option, real
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import IN_ONE_PROCESS, adaptive_options
from jaxreid.cli.settings import RetrievalSettings

if TYPE_CHECKING:
    from jaxreid.records import AdaptiveAttack, Detected, Reranked

__all__ = ["adaptive"]

# Where all of them are re-ranked, time and memory grow as their cube and square.
_FEWEST, _MOST = 2, 10_000
_HIGHEST_RATE = 0.99


def _detector(text: str) -> str:
    from jaxreid.evaluation.defended import detector_text

    return detector_text(text)


@dataclass(frozen=True, kw_only=True)
class _Settings(RetrievalSettings):
    """What was asked for, typed; names are those of the options."""

    detector: str | None
    candidates: int | None
    false_alarms: float | None
    eps: float | str
    seed: int
    out: Path | None
    as_json: bool

    def recorded(self) -> dict[str, Any]:
        """The same, and what a match is."""
        return {**super().recorded(), "cameras": self.cameras}

    def behind(self) -> "list[Reranked | Detected]":
        """What stands behind the network, refused before anything is opened."""
        from jaxreid.records import Detected, Reranked

        if not self.rerank and self.detector is None:
            raise click.UsageError("nothing stands behind the network: --rerank or --detector")
        if self.candidates is not None and not self.rerank:
            raise click.UsageError("--candidates is of re-ranking: it needs --rerank")
        if self.false_alarms is not None and self.detector is None:
            raise click.UsageError("--false-alarms is of a detector: it needs --detector")
        found: list[Reranked | Detected] = []
        if self.rerank:
            found.append(Reranked() if self.candidates is None else Reranked(self.candidates))
        if self.detector is not None:
            rate = () if self.false_alarms is None else (self.false_alarms,)
            found.append(Detected(self.detector, *rate))
        return found


@click.command()
@click.argument("model")
@adaptive_options
@click.option("--rerank", is_flag=True, help="k-reciprocal re-ranking stands there.")
@click.option(
    "--candidates",
    type=Whole(_FEWEST, _MOST),
    help="Items nearest to each clean query, among which the adaptive attack climbs re-ranking.  "
    "[default: 200]",
)
@click.option(
    "--detector",
    type=Kind("NAME[:N]+...", _detector),
    help="A detector stands there: an alarm where median, jpeg:75, bits:4, resize:2 or flip, or "
    "several in turn, move a feature further than clean images.",
)
@click.option(
    "--false-alarms",
    type=real(0, _HIGHEST_RATE),
    help="Share of clean gallery images at which the detector may raise an alarm, which sets its "
    "threshold.  [default: 0.05]",
)
@click.option(
    "--eps", type=BUDGET, default="5", show_default=True, help="Budget in 1/255, L-infinity."
)
@click.option(
    "--steps",
    type=STEPS,
    default=50,
    show_default=True,
    help="Gradient steps of each of the two attackers.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random starts.")
@json_option
def adaptive(**options: Any) -> None:
    """Attack through re-ranking or past a detector, knowing of it and not.

    MODEL is what `jaxreid evaluate` takes. The oblivious attacker climbs the network's distances,
    away from all matches and towards the nearest others. The adaptive one, from the same start with
    as many steps, climbs the same distances after a smooth re-ranking, or stays below the
    detector's threshold, which is set on the clean images of the gallery. Both are ranked by the
    re-ranking of `jaxreid evaluate --rerank`, or seen by the detector. A batch that is done is kept
    in the run folder: the same command goes on where it was interrupted.

    \b
    Examples:
      jaxreid adaptive runs/baseline --dataset synthetic_reid --limit 100 --rerank
      jaxreid adaptive runs/baseline --dataset synthetic_reid --limit 100 \\
          --detector median --false-alarms 0.05
    """  # noqa: D301
    from jaxreid.cli.adaptive_table import print_adaptive, told_behind
    from jaxreid.cli.tables import print_json

    settings = _Settings(**(IN_ONE_PROCESS | options))
    behind, eps = settings.behind(), read_levels(settings.eps, name="--eps")
    opened = open_test(settings)
    found, folder = _run(opened, settings, behind, eps)
    if settings.as_json:
        print_json({told_behind(one): dataclasses.asdict(one) for one in found})
    else:
        print_adaptive(found, opened.provenance.title, folder)


def _run(
    opened: OpenedTest, settings: _Settings, behind: "list[Reranked | Detected]", eps: float
) -> "tuple[list[AdaptiveAttack], Path]":
    from jaxreid.cli.adaptive_table import attack_line
    from jaxreid.evaluation import adaptive_attack, held_by_run, open_run
    from jaxreid.records import AdaptiveClimb

    folder = settings.out or opened.folder("adaptive")
    found: list[AdaptiveAttack] = []
    with progress_bars() as bars:
        test = opened.retrieval_test(bars)
        test.refuse_matchless()
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(folder))
        open_run(folder, opened.provenance)
        for one in behind:
            climb = AdaptiveClimb(
                one,
                eps=eps,
                steps=settings.steps,
                seed=settings.seed,
                distance=opened.settings.distance or "euclidean",
            )
            attack = adaptive_attack(
                test, climb, folder=folder, on_attack=lambda attack: bars.say(attack_line(attack))
            )
            found.append(attack)
    return found, folder
