"""`jaxreid data`: prepare, export and show re-identification datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.lines import say
from jaxreid.cli.parameters import CAMERAS, IDENTITY, ROWS, WORKERS, Place, Whole, data_dir_option
from jaxreid.cli.progress import progress_bars
from jaxreid.data.catalogue import DATASETS, ORIENTATIONS, SPLITS
from jaxreid.data.prepare.export import LAYOUTS

if TYPE_CHECKING:
    from jaxreid.data.prepare.report import PrepareReport

__all__ = ["data"]

_CAMERAS = 20


@click.group()
def data() -> None:
    """Prepare, export and look at datasets."""


def _print_report(report: "PrepareReport") -> None:
    from jaxreid.data.prepare.finding import NO_IMAGES

    click.echo(f"{report.name}: prepared in {_shown(report.directory)}")
    click.echo(
        f"{'split':<20}{'images':>9}{'people':>8}{'cameras':>9}{'distractors':>13}{'junk':>7}"
    )
    for split, counts in report.splits.items():
        click.echo(
            f"{split:<20}{counts.images:>9,}{counts.identities:>8,}{counts.cameras:>9}"
            f"{counts.distractors:>13,}{counts.junk:>7,}"
        )
    for kind, entries in report.left_out.items():
        word = "ignored" if kind in NO_IMAGES else "left out"
        say(f"{word}: {entries.count:,} {kind}, such as {_shown(entries.example)}")
    if report.cameras:
        pairs = [f"{_shown(word)} = {number + 1}" for word, number in report.cameras.items()]
        more = f" and {len(pairs) - _CAMERAS} more" if len(pairs) > _CAMERAS else ""
        say(f"cameras in words, numbered: {', '.join(pairs[:_CAMERAS])}{more}")
    for remark in report.remarks:
        say(f"note: {remark}")
    if report.skipped_corrupt:
        click.echo(f"left out: {len(report.skipped_corrupt)} images that do not decode")
        for line in report.skipped_corrupt[:10]:
            click.echo(f"  {_shown(line)}")
    if report.unmatched_query_images:
        say(
            f"without a gallery match from another camera: {report.unmatched_query_images} queries "
            f"of {report.unmatched_query_identities} identities (kept)"
        )
    if report.notice:
        say(f"note: {report.notice}")


def _shown(name: str) -> str:
    r"""A name with `\x1b`, `\udcff` and the like in place of what a terminal cannot print.

    Bytes of a name that are no UTF-8 are lone surrogates in it.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


@data.command()
@click.argument("name")
@click.option(
    "--manual-dir",
    type=Place(),
    help="The dataset's folder, one that holds it, or its zip or tar file.",
)
@data_dir_option
@click.option("--subset", is_flag=True, help="Accept fewer images than the full dataset has.")
@click.option("--skip-corrupt", is_flag=True, help="Leave out images that do not decode.")
@click.option(
    "--orientation",
    type=click.Choice(ORIENTATIONS),
    default=ORIENTATIONS[0],
    show_default=True,
    help="How to read images that are stored rotated (Exif).",
)
@click.option("--force", is_flag=True, help="Prepare again what is prepared already.")
@click.option(
    "--pattern",
    help="reid_folder: regular expression for file names, with groups identity and camera; "
    "cameras may be words.",
)
@click.option(
    "--first-camera", type=CAMERAS, help="reid_folder: number of the first camera.  [default: 1]"
)
@click.option(
    "--first-identity",
    type=IDENTITY,
    help="reid_folder: number of the first person.  [default: 1]",
)
@click.option("--workers", type=Whole(1, WORKERS.max), help="synthetic_reid: processes that draw.")
def prepare(
    name: str, manual_dir: Path | None, data_dir: Path | None, force: bool, **options: Any
) -> None:
    """Check a dataset and pack it for training and evaluation.

    NAME is one of market1501, dukemtmc_reid, msmt17, cuhk03_np/detected, cuhk03_np/labeled,
    occluded_duke, veri776 (vehicles), synthetic_reid, synthetic_reid/tiny,
    synthetic_reid/market_like, or, for your own images, reid_folder/ANY_NAME.

    \b
    Examples:
      jaxreid data prepare synthetic_reid
      jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
      jaxreid data prepare reid_folder/shop --manual-dir ~/shop \\
          --pattern '(?P<identity>\\d+)/cam(?P<camera>\\d+)_.*\\.jpg'

    Names of other kinds: cameras counted from 0 (--first-camera 0) or in words (they are
    numbered in sorted order), people counted from 0 (--first-identity 0). JPEG, PNG, BMP and
    WebP are read; what is left out is counted in the summary.
    """  # noqa: D301
    from absl import logging

    from jaxreid.data.prepare import prepare_dataset

    logging.set_verbosity(logging.ERROR)
    base = name.partition("/")[0]
    for option, only in (
        ("pattern", "reid_folder"),
        ("first_camera", "reid_folder"),
        ("first_identity", "reid_folder"),
        ("workers", "synthetic_reid"),
    ):
        if options[option] is None:
            del options[option]
        elif base != only:
            flag = "--" + option.replace("_", "-")
            raise click.UsageError(f"{flag} is for {only}, not for {base}")
    if base in DATASETS and DATASETS[base].notice:
        click.echo(f"note: {DATASETS[base].notice}", err=True)
    with progress_bars() as progress:
        report = prepare_dataset(
            name,
            manual_dir=manual_dir,
            data_dir=data_dir,
            force=force,
            progress=progress,
            **options,
        )
    _print_report(report)


@data.command()
@click.argument("name")
@click.argument("destination", type=Place())
@click.option("--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0], show_default=True)
@data_dir_option
def export(name: str, destination: Path, layout: str, data_dir: Path | None) -> None:
    """Write a prepared dataset to DESTINATION in a folder layout that other toolboxes read.

    \b
    Example:
      jaxreid data export synthetic_reid --layout market1501 ~/synthetic
    """  # noqa: D301
    from jaxreid.data.prepare.export import export_dataset

    with progress_bars() as progress:
        written = export_dataset(
            name, destination, layout=layout, data_dir=data_dir, progress=progress
        )
    click.echo(f"{name}: written to {written}")


@data.command()
@click.argument("name")
@click.option(
    "--out",
    type=Place(dir_okay=False),
    required=True,
    help="The PNG file to write.",
)
@click.option(
    "--split", type=click.Choice(SPLITS), default="train", show_default=True, help="What to show."
)
@click.option(
    "--identities",
    type=Whole(1, ROWS.max),
    default=12,
    show_default=True,
    help="Rows at most.",
)
@data_dir_option
def show(name: str, out: Path, split: str, identities: int, data_dir: Path | None) -> None:
    """Draw a contact sheet of a prepared dataset: one row per person, one column per camera.

    \b
    Example:
      jaxreid data show synthetic_reid --out sheet.png
    """  # noqa: D301
    from jaxreid.data import draw_contact_sheet, open_split

    draw_contact_sheet(open_split(name, split, data_dir=data_dir), identities=identities, out=out)
    click.echo(f"{name}: {split} shown in {out}")
