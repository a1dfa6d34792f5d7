"""`jaxreid attack`: the adversarial images of a split, as files that other programs read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from jaxreid.cli.parameters import Place
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval import open_test
from jaxreid.cli.retrieval_options import AttackCommand, retrieval_options
from jaxreid.cli.single_attack import SingleAttack, single_attack_options
from jaxreid.cli.through import check_draws_nothing, through_option
from jaxreid.distributed import is_main_process

__all__ = ["attack"]


@dataclass(frozen=True, kw_only=True)
class _Settings(SingleAttack):
    """What was asked for, typed; names are those of the options."""

    out: Path


@click.command(cls=AttackCommand)
@click.argument("model")
@retrieval_options
@single_attack_options
@through_option
@click.option(
    "--out",
    type=Place(),
    required=True,
    help="The folder to make; it must not exist, or be empty.",
)
def attack(**options: Any) -> None:
    """Attack the queries (or the gallery) and write them as 8-bit PNGs with a manifest.

    MODEL is what `jaxreid evaluate` takes. Files have the dataset's own names with the suffix .png;
    manifest.json says how each was made and which images guided it. Distractors and junk are not
    attacked and not written. Rounding stays inside the budget: where eps is no whole number of
    1/255, pixels change by its whole part at most. `jaxreid evaluate MODEL --images DIR` ranks
    them, through what they were made through.

    \b
    Example:
      jaxreid attack market.safetensors --dataset market1501 --attack fna \\
          --eps 5 --out adversarial
    """  # noqa: D301
    from jaxreid.evaluation import held_by_run, write_images
    from jaxreid.evaluation.writing_images import refuse_filled

    settings = _Settings(**options)
    settings.condition()  # a wrong one is refused before anything is opened
    check_draws_nothing(settings, "a file holds one image for all draws")
    out = settings.out
    refuse_filled(out)
    opened = open_test(settings)
    condition = settings.completed(opened.model).condition()
    # Before anything is computed; to the end of this command.
    click.get_current_context().with_resource(held_by_run(out, beside=True))
    with progress_bars(shown=is_main_process()) as bars:
        test = opened.retrieval_test(bars)
        manifest = write_images(test, condition, out, opened.provenance)
    if is_main_process():
        _say(out, manifest.files)


def _say(out: Path, files: dict[str, dict[str, Any]]) -> None:
    """What was written, and which images had no gradient to follow."""
    from jaxreid.cli.tables import gradient_note

    largest = max((entry["largest_change"] for entry in files.values()), default=0)
    click.echo(
        f"{click.format_filename(out)}: {len(files)} images, changed by at most "
        f"{largest}/255, and manifest.json"
    )
    kinds = ("nonfinite_gradient", "zero_gradient")
    nonfinite, zero = (sum(kind in entry for entry in files.values()) for kind in kinds)
    affected = (entry["source"] for entry in files.values() if not entry.keys().isdisjoint(kinds))
    if note := gradient_note(nonfinite, zero, len(files), next(affected, "")):
        click.echo(f"warning: {note}", err=True)
