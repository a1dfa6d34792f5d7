"""`jaxreid doctor`: what this machine has, what is missing, and the command that repairs it."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxreid.cli.parameters import Place, json_option

if TYPE_CHECKING:
    from jaxreid.cli.diagnosis import Finding

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "note": "yellow", "broken": "red"}


@click.command()
@click.option(
    "--data-dir",
    type=Place(),
    help="Where prepared datasets are kept.  [default: $TFDS_DATA_DIR or ~/tensorflow_datasets]",
)
@click.option(
    "--workdir",
    type=Place(),
    default=Path("runs"),
    show_default=True,
    help="Where runs shall be written.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, data_dir: Path | None, workdir: Path, as_json: bool) -> None:
    """Show devices, versions, folders and datasets, and how to repair what is missing.

    Exits with 0 if `jaxreid quickstart` can run here, and with 1 if something it needs is broken.

    \b
    Examples:
      jaxreid doctor
      jaxreid doctor --data-dir /data/tfds --workdir /scratch/runs
      jaxreid doctor --json
    """  # noqa: D301
    from jaxreid.cli import diagnosis

    sections: dict[str, Callable[[], Iterator[Finding]]] = {
        "software": diagnosis.software,
        "devices": diagnosis.devices,
        "machine": diagnosis.machine,
        "storage": lambda: diagnosis.storage(data_dir, workdir),
        "datasets": lambda: diagnosis.datasets(data_dir),
    }
    found: dict[str, list[Finding]] = {}
    for section, look in sections.items():
        if not as_json:
            click.secho(section, bold=True)
        found[section] = []
        for finding in look():
            found[section].append(finding)
            if not as_json:
                _print(finding)
    broken = [f.name for findings in found.values() for f in findings if f.state == "broken"]
    if as_json:
        listed = {s: [dataclasses.asdict(f) for f in fs] for s, fs in found.items()}
        click.echo(json.dumps({"ok": not broken, **listed}, indent=2))
    elif broken:
        click.secho(f"broken: {', '.join(broken)}; the lines after -> say what to do", fg="red")
    else:
        click.secho("ready: `jaxreid quickstart` can run here", fg="green")
    ctx.exit(1 if broken else 0)


def _print(finding: "Finding") -> None:
    state = click.style(f"{finding.state:<6}", fg=_COLOURS[finding.state])
    click.echo(f"  {state} {finding.name:<26} {finding.text}")
    if finding.remedy:
        click.echo(f"{'':9}-> {finding.remedy}")
