"""What `jaxreid corruptions` prints and draws: mAP by kind and severity, and their means."""

from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape
from rich.table import Table

from jaxreid.cli.tables import framed_table, wide_console
from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import CORRUPTIONS_FILE, CorruptionRecord
from jaxreid.report.style import METRICS

__all__ = ["corruption_table", "figures_of", "print_corruptions", "write_figure"]

_METRIC: Final = "mean_average_precision"
_FIGURE = "corruptions"
_WORDS = {"query": "queries", "gallery": "the gallery", "both": "queries and gallery"}


def figures_of(record: CorruptionRecord, reference: CorruptionRecord | None) -> dict[str, Any]:
    """What the table says, and the same for rank-1, in shares, by name of the metric."""
    return {metric: _figures(record, reference, metric) for metric in (_METRIC, "rank1")}


def _figures(
    record: CorruptionRecord, reference: CorruptionRecord | None, metric: Any
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "clean": getattr(record.clean[MAIN_PROTOCOL], metric),
        "mean": record.mean(metric),
        "kinds": {
            name: {str(one): record.share(name, one, metric) for one in record.severities}
            for name in record.names
        },
    }
    if reference is not None:
        figures["mean_corruption_error"] = record.mean_error(reference, metric)
    return figures


def corruption_table(record: CorruptionRecord, reference: CorruptionRecord | None) -> Table:
    """One row per kind, one column per severity, means last."""
    table = framed_table(
        "mAP in %",
        title=escape(record.provenance.title),
        caption=f"{_WORDS[record.corrupted]} corrupted, {MAIN_PROTOCOL} protocol",
    )
    for title in (*map(str, record.severities), "mean"):
        table.add_column(title, justify="right")
    if reference is not None:
        table.add_column("error beside\nreference", justify="right")
    for name in record.names:
        one = record.of_kind(name)
        shares = [record.share(name, severity, _METRIC) for severity in record.severities]
        ratio = [f"{one.mean_error(reference, _METRIC):.2f}"] if reference is not None else []
        table.add_row(name, *(f"{100 * mean:.1f}" for mean in (*shares, one.mean(_METRIC))), *ratio)
    return table


def print_corruptions(
    record: CorruptionRecord, reference: CorruptionRecord | None, folder: Path
) -> None:
    """Prints the table, what it sums up to, and where the rest lies."""
    console = wide_console()
    console.print(corruption_table(record, reference))
    for metric in (_METRIC, "rank1"):
        console.print(_summary(record, reference, metric), markup=False, highlight=False)
    for what, name in (("record", CORRUPTIONS_FILE), ("figure", f"{_FIGURE}.svg")):
        path = click.format_filename(folder / name)
        console.print(f"{what}: {path}", markup=False, highlight=False, soft_wrap=True)


def _summary(record: CorruptionRecord, reference: CorruptionRecord | None, metric: Any) -> str:
    clean, mean = getattr(record.clean[MAIN_PROTOCOL], metric), record.mean(metric)
    kept = f", {100 * mean / clean:.0f} % of it" if clean else ""
    line = f"{METRICS[metric]}: clean {100 * clean:.1f} %, corrupted {100 * mean:.1f} %{kept}"
    if reference is None:
        return line
    return f"{line}; mean corruption error {record.mean_error(reference, metric):.3f}"


def write_figure(record: CorruptionRecord, folder: Path) -> None:
    """Draws the record into its folder, as SVG and as PNG."""
    from jaxreid.report.corruptions import draw_corruptions

    draw_corruptions(record, _FIGURE).save(folder)
