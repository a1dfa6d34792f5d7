"""`jaxreid inspect`: what a file of weights holds, and what stands in the way of using it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jaxreid.cli.against import against_options, compared, comparison_lines
from jaxreid.cli.against import as_json as comparison_json
from jaxreid.cli.backend import find_devices
from jaxreid.cli.convert import OF_WIDE, WIDE
from jaxreid.cli.model.choices import source_options
from jaxreid.cli.model.pipelines import card_lines, pipeline_card
from jaxreid.cli.parameters import json_option
from jaxreid.errors import InputError

if TYPE_CHECKING:
    from jaxreid.models.weights import Inspection

__all__ = ["inspect"]

_CHECKSUMS = {
    "right": "right: the file is as jaxreid wrote it",
    "wrong": "wrong: the file is damaged, or a program changed it and kept its header",
    "none": "none: not a file of jaxreid, or an early one",
}
_FOUND_BY = {"header": "by the file's header", "names": "by its tensors", "user": "as you say"}


def _show_exported(path: Path, as_json: bool, against: str | None) -> None:
    from jaxreid.cli.model.exported import exported_card
    from jaxreid.cli.tables import print_json

    if against is not None:
        raise InputError(f"{path}: --against compares parts of a network; this file has none")
    card = exported_card(path)
    if as_json:
        print_json(card)
    for line in () if as_json else card_lines(card):
        click.echo(line)


@click.command()
@click.argument("source")
@source_options
@against_options
@json_option
def inspect(
    source: str,
    as_json: bool,
    against: str | None,
    images: tuple[Path, ...],
    **options: Any,
) -> None:
    """Say which network a file holds, how it is used, and what is wrong with it.

    SOURCE is a .safetensors or PyTorch file, or hf:owner/name on the Hugging Face hub. Nothing is
    written, and nothing in the file is run. Where `jaxreid convert` would ask for an option or
    refuse the file, the last lines say so, and the rest is shown as far as it is known.

    --against runs your own network on the same images, and says how far features and gradients
    are apart and in which of its parts the difference begins.

    \b
    Examples:
      jaxreid inspect osnet_x1_0_market.pth
      jaxreid inspect transreid.pth --sie-factor 3
      jaxreid inspect runs/plain/best.safetensors --json
      jaxreid inspect osnet.pth --against mymodel:build --images query/
    """  # noqa: D301
    find_devices()
    from jaxreid.cli.tables import print_json
    from jaxreid.models import weights
    from jaxreid.models.exported import is_exported

    if is_exported(Path(source)):
        _show_exported(Path(source), as_json, against)
        return

    if against is None and images:
        raise click.UsageError("--images are for --against")
    found = weights.inspect(source, **options)
    beside = None
    if against is not None and found.config is not None:
        model = weights.load(source, **options)
        # The header of a file of ours names its layout in words of ours.
        layout = None if found.found_by == "header" else found.layout
        beside = compared(model, against, layout=layout, images=images)
    if as_json:
        told = _as_json(source, found)
        print_json(told if beside is None else {**told, "against": comparison_json(*beside)})
    else:
        lines = list(card_lines(_card(source, found)))
        lines += [] if beside is None else comparison_lines(beside[0], str(against), beside[1])
        for line in lines:
            click.echo(line)
    if found.config is None:
        raise InputError(f"{source}: {found.problems[-1]}")


def _as_json(source: str, found: "Inspection") -> dict[str, Any]:
    from jaxreid.models.kinds import architecture_name

    config = found.config
    return {
        "source": source,
        **found._asdict(),
        "ignored": {one.name: one.reason for one in found.ignored},
        "architecture": config and architecture_name(config.backbone),
        "config": config and dataclasses.asdict(config),
    }


def _card(source: str, found: "Inspection") -> dict[str, str]:
    """What is told of a file: label -> text."""
    card = {"file": click.format_filename(source)}
    if found.bytes is not None:
        card["file"] += f", {_bytes_text(found.bytes)}"
    types = ", ".join(f"{count} {name}" for name, count in sorted(found.types.items()))
    card["tensors"] = f"{found.tensors} ({types})"
    if found.sha256 is not None:
        card["sha256"] = found.sha256
    card["checksum"] = _CHECKSUMS[found.checksum]
    if found.peeled:
        card["taken off"] = ", ".join(found.peeled)
    if found.config is not None:
        card |= _network(found)
    return card | _verdict(found)


def _network(found: "Inspection") -> dict[str, str]:
    from jaxreid.models.kinds import KINDS, architecture_name, kind_of
    from jaxreid.models.weights.accounting import summary

    config = found.config
    assert config is not None
    name, kind = architecture_name(config.backbone), KINDS[kind_of(config.backbone)].title
    classes = f" ({config.classes} classes)" if config.has_logits else ""
    return {
        "library": f"{found.layout}, {_FOUND_BY[found.found_by]}",
        "network": f"{name}, {kind}; head {config.head}{classes}",
        "parameters": f"{found.parameters:,}, and {found.statistics:,} statistics",
        **pipeline_card(config),
        **({"left out": "; ".join(summary(found.ignored))} if found.ignored else {}),
    }


def _verdict(found: "Inspection") -> dict[str, str]:
    """What `jaxreid convert` makes of the file."""
    card = {}
    if found.asked:
        supposed = ", ".join(_option(name, value) for name, value in found.supposed.items())
        shown = f" (shown: as with {supposed})" if supposed else ""
        card["asked"] = "; ".join(found.asked) + shown
    # Where no network was found, the command's error says why.
    if found.problems and found.config is not None:
        card["refused"] = "; ".join(found.problems)
    if not card and found.config is not None:
        card["convert"] = "takes it as it is"
        if WIDE in found.types:
            card["convert"] += f"; {OF_WIDE}"
    return card


def _option(name: str, value: float | str) -> str:
    """A choice as the command takes it."""
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option} {value}"


def _bytes_text(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
