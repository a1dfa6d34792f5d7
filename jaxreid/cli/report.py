"""`jaxreid report`: a page from the results of evaluations."""

from pathlib import Path

import click

from jaxreid.cli.parameters import Place, command_line

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Place())
@click.option(
    "--out",
    type=Place(),
    help="Folder of the report; a former report in it is replaced.  [default: RUN/report]",
)
@click.option(
    "--training",
    "training",
    multiple=True,
    metavar="[LABEL=]WORKDIR",
    help="Draw the curves of a training, too; may be given several times.",
)
def report(runs: tuple[Path, ...], out: Path | None, training: tuple[str, ...]) -> None:
    """Write a page with figures, tables and rank lists from evaluations.

    RUN is a folder that `jaxreid evaluate --out` wrote. With several, the first one is what the
    others are compared with: name the undefended model first. Folders of `blackbox`, `certify`,
    `corruptions` and `ers` may stand beside them. The page is one file that opens from
    disk and loads nothing; its figures and a table for spreadsheets lie beside it.

    \b
    Examples:
      jaxreid report runs/plain
      jaxreid report runs/plain runs/goat --out comparison
      jaxreid report runs/goat runs/goat-corrupted runs/goat-blackbox
      jaxreid report runs/goat --training GOAT=work/goat
    """  # noqa: D301
    from jaxreid.report import write_report

    page = write_report(
        runs,
        out=out,
        training=[_labelled(text) for text in training],
        command=command_line(),
        on_note=lambda note: click.echo(f"note: {note}", err=True),
    )
    click.echo(click.format_filename(page))


def _labelled(text: str) -> tuple[str | None, Path]:
    """Splits label=WORKDIR; a folder whose name has the sign in it is a folder."""
    label, sign, workdir = text.partition("=")
    try:
        is_folder = Path(text).is_dir()
    except OSError:
        is_folder = False
    if not sign or is_folder:
        return None, Path(text)
    return label or None, Path(workdir)
