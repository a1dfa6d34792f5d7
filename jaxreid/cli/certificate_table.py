"""What `jaxreid certify` prints and draws: certain mAP and rank-1 against the radius."""

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from jaxreid.cli.tables import framed_table, wide_console
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import CERTIFICATE_FILE, Certificate, CertifiedLevel, Score

__all__ = ["certificate_table", "level_line", "print_certificate", "write_figure"]

_PROTOCOLS = ("market1501", "torchreid")
_FIGURE = "certificate"


def level_line(level: CertifiedLevel) -> str:
    """A level in one line, as it is found."""
    certain = 100 * level.certified[MAIN_PROTOCOL].mean_average_precision
    line = f"radius {level.radius:g}: at least {certain:.1f} % mAP"
    if level.attacked is None:
        return line
    return f"{line}, {100 * level.attacked[MAIN_PROTOCOL].mean_average_precision:.1f} % attacked"


def certificate_table(certificate: Certificate) -> Table:
    """One row per radius, the clean scores first."""
    table = framed_table(
        "radius",
        title=escape(certificate.title),
        caption=f"%, certain for {certificate.queries} queries at once with probability "
        f"{certificate.confidence:g}; sigma {certificate.sigma:g}, {certificate.samples:,} samples "
        f"of each; {certificate.abstained} abstained; radius: length in pixel range, L2",
    )
    for title in (f"{_PROTOCOLS[0]}\nmAP", "\nrank-1", f"{_PROTOCOLS[1]}\nmAP", "\nrank-1"):
        table.add_column(title, justify="right")
    attacked = any(level.attacked for level in certificate.levels)
    for title in ("attacked\nmAP", "\nrank-1") if attacked else ():
        table.add_column(title, justify="right")
    table.add_row("not certified", *_cells(certificate.clean), end_section=True)
    for level in certificate.levels:
        found = _cells({MAIN_PROTOCOL: level.attacked[MAIN_PROTOCOL]}) if level.attacked else ()
        table.add_row(f"{level.radius:g}", *_cells(level.certified), *found)
    return table


def _cells(scores: dict[str, Score]) -> list[str]:
    figures = [scores[name] for name in _PROTOCOLS if name in scores]
    shares = [share for one in figures for share in (one.mean_average_precision, one.rank1)]
    return [f"{100 * share:.1f}" for share in shares]


def print_certificate(certificate: Certificate, folder: Path) -> None:
    """Prints the table, and where the rest lies."""
    console = wide_console()
    console.print(certificate_table(certificate))
    for what, name in (("certificate", CERTIFICATE_FILE), ("figure", f"{_FIGURE}.svg")):
        path = click.format_filename(folder / name)
        console.print(f"{what}: {path}", markup=False, highlight=False, soft_wrap=True)


def write_figure(certificate: Certificate, folder: Path) -> None:
    """Draws the certificate into its folder, as SVG and as PNG."""
    from jaxreid.report.certified import draw_certificate

    draw_certificate(certificate, _FIGURE).save(folder)
