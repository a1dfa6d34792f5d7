"""`jaxreid attack`: the adversarial images of a split, as files that other programs read."""

from pathlib import Path
from typing import Any

import click

from jaxreid.cli.budgets import AttackCommand, Budget
from jaxreid.cli.parameters import SEED, Place
from jaxreid.cli.progress import progress_bars
from jaxreid.cli.retrieval_options import open_test, retrieval_options
from jaxreid.distributed import is_main_process
from jaxreid.errors import InputError

__all__ = ["attack"]


@click.command(cls=AttackCommand)
@click.argument("model")
@retrieval_options
@click.option("--attack", "name", default="fna", show_default=True, help="Its name, see below.")
@click.option(
    "--eps",
    type=Budget(),
    help="Budget: in 1/255 for linf (5 and 5/255 are the same), a length in pixel range for l2.  "
    "[default: 5; none for l2]",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--out",
    type=Place(),
    required=True,
    help="The folder to make; it must not exist, or be empty.",
)
def attack(
    model: str, out: Path, name: str, eps: float | str | None, seed: int, **options: Any
) -> None:
    """Attack the queries (or the gallery) and write them as 8-bit PNGs with a manifest.

    MODEL is what `jaxreid evaluate` takes. Files have the dataset's own names with the suffix .png;
    manifest.json says how each was made and which images guided it. Distractors and junk are not
    attacked and not written. Rounding stays inside the budget: where eps is no whole number of
    1/255, pixels change by its whole part at most. `jaxreid evaluate MODEL --images DIR` ranks
    them.

    \b
    Example:
      jaxreid attack market.safetensors --dataset market1501 --attack fna \\
          --eps 5 --out adversarial
    """  # noqa: D301
    from jaxreid.cli.tables import gradient_note
    from jaxreid.evaluation import RetrievalTest, attack_names, conditions, write_images
    from jaxreid.evaluation.holding import held_by_run
    from jaxreid.evaluation.writing_images import refuse_filled

    if len(attack_names([name])) > 1:
        raise InputError(f"--attack {name} names several attacks; expected one, such as fna")
    if eps is None and options["norm"] == "l2":
        raise click.UsageError("--norm l2 needs --eps, a length in pixel range such as 2")
    names = ("norm", "steps", "step_size", "side", "guides", "distance", "restarts", "as_paper")
    wanted = conditions(
        [name],
        [5 if eps is None else eps],
        seeds=[seed],
        eight_bit=True,
        **{option: options[option] for option in names},
    )
    refuse_filled(out)
    opened = open_test(model, None, options)
    # Before anything is computed; to the end of this command.
    click.get_current_context().with_resource(held_by_run(out, beside=True))
    with progress_bars(shown=is_main_process()) as bars:
        test = RetrievalTest(
            opened.model.embed,
            opened.query,
            opened.gallery,
            reading=opened.reading,
            limit=options["limit"],
            progress=bars,
        )
        manifest = write_images(test, wanted[-1], out, opened.provenance, progress=bars)
    if not is_main_process():
        return
    files = manifest.files
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
