"""`jaxreid corruptions`: what is left of a model's retrieval under common corruptions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid.cli.parameters import WORDS, Place, json_option
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import OpenedTest, open_test
from jaxreid.cli.retrieval_options import IN_ONE_PROCESS, corruption_test_options
from jaxreid.cli.settings import RetrievalSettings
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.records import CorruptedLevel, CorruptionRecord

__all__ = ["corruptions"]

_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class _Settings(RetrievalSettings):
    """What was asked for, typed; names are those of the options."""

    kinds: tuple[str, ...]
    severities: tuple[str, ...]
    corrupted: Literal["query", "gallery", "both"]
    reference: Path | None
    out: Path | None
    as_json: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions, checked."""
        from jaxreid.checks import check_choice
        from jaxreid.data.corruptions import CORRUPTIONS

        if self.kinds == (_ALL,):
            return tuple(CORRUPTIONS)
        if not self.kinds:
            raise click.UsageError(f"--kinds names none; expected {_ALL} or some of its own")
        return tuple(check_choice("--kinds", name, CORRUPTIONS) for name in self.kinds)

    @property
    def levels(self) -> tuple[int, ...]:
        """The severities, checked."""
        from jaxreid.data.corruptions import SEVERITIES

        known = {str(severity): severity for severity in SEVERITIES}
        for text in self.severities or ("",):
            if text not in known:
                raise InputError(f"--severities must be of 1 to 5, such as 1,3,5, got {text!r:.40}")
        return tuple(known[text] for text in self.severities)

    def recorded(self) -> dict[str, Any]:
        """The same, and whose images are corrupted."""
        return {**super().recorded(), "cameras": self.cameras, "corrupted": self.corrupted}


@click.command()
@click.argument("model")
@corruption_test_options
@click.option(
    "--kinds",
    type=WORDS,
    default=_ALL,
    show_default=True,
    help="Corruptions, such as fog,motion_blur, see docs/datasets.md; all for all twenty.",
)
@click.option(
    "--severities", type=WORDS, default="1,2,3,4,5", show_default=True, help="From barely to badly."
)
@click.option(
    "--corrupted",
    type=click.Choice(["query", "gallery", "both"]),
    default="query",
    show_default=True,
    help="The set whose images are corrupted.",
)
@click.option(
    "--reference",
    type=Place(),
    help="Run folder of another model, such as the undefended one, or its corruptions.json: errors "
    "beside its.",
)
@json_option
def corruptions(**options: Any) -> None:
    """Measure what noise, blur, weather and compression leave of a model's retrieval.

    MODEL is what `jaxreid evaluate` takes. Every corruption is ranked in every severity; the table
    has mAP for each, means, and with --reference the mean corruption error: errors, 1 - mAP, summed
    over severities and divided by the other model's, averaged over corruptions. It shows what a
    defense costs, or gives, elsewhere. Levels are written into the run folder as they come; the
    same command goes on where it was interrupted.

    \b
    Example:
      jaxreid corruptions runs/goat --dataset synthetic_reid --limit 100 \\
          --reference runs/plain-corrupted
    """  # noqa: D301
    from jaxreid.cli.corruption_table import figures_of, print_corruptions
    from jaxreid.cli.tables import print_json

    settings = _Settings(**IN_ONE_PROCESS, **options)
    names, levels = settings.names, settings.levels
    reference = _reference(settings)
    record, folder = _run(open_test(settings), settings, names, levels)
    if settings.as_json:
        print_json(figures_of(record, reference))
    else:
        print_corruptions(record, reference, folder)


def _reference(settings: _Settings) -> "CorruptionRecord | None":
    """Read, and refused if it does not fit, before anything is computed."""
    if settings.reference is None:
        return None
    from jaxreid.records import CorruptionRecord

    reference = CorruptionRecord.load(settings.reference)
    try:
        if reference.corrupted != settings.corrupted:
            raise InputError(
                f"{reference.corrupted} images are corrupted there, expected {settings.corrupted}"
            )
        return reference.of(settings.names, settings.levels)
    except InputError as error:
        raise InputError(f"--reference {settings.reference}: {error}") from None


def _run(
    opened: OpenedTest, settings: _Settings, names: tuple[str, ...], levels: tuple[int, ...]
) -> "tuple[CorruptionRecord, Path]":
    from jaxreid.cli.corruption_table import write_figure
    from jaxreid.evaluation import held_by_run, open_run, under_corruptions

    folder = settings.out or opened.folder("corrupted")
    with progress_bars() as bars:
        test = opened.retrieval_test(bars)
        test.refuse_matchless()
        # Before its run.json is touched; to the end of this command.
        click.get_current_context().with_resource(held_by_run(folder))
        record = under_corruptions(
            test,
            open_run(folder, opened.provenance),
            names=names,
            severities=levels,
            corrupted=settings.corrupted,
            distance=opened.settings.distance or "euclidean",
            on_level=lambda level: bars.say(_line(level)),
        )
    write_figure(record, folder)
    return record, folder


def _line(level: "CorruptedLevel") -> str:
    score = level.scores[MAIN_PROTOCOL]
    return (
        f"{level.name}:{level.severity}: {100 * score.mean_average_precision:.1f} % mAP, "
        f"{100 * score.rank1:.1f} % rank-1"
    )
