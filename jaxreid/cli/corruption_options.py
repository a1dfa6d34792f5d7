"""`--corruption`: images as weather, cameras and transmission leave them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from jaxreid.cli.parameters import Command, Kind, add_options
from jaxreid.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from jaxreid.data.source import ReidSource
    from jaxreid.evaluation import LoaderSettings

__all__ = ["CorruptionSettings", "corruption_options"]

_USUAL_SEVERITY = 3

_OPTIONS = (
    click.option(
        "--corruption",
        type=Kind("NAME[:SEVERITY]", lambda text: "{}:{}".format(*_parsed(text))),
        help="Corrupt the images first, such as fog:3 (severities 1 to 5; 3 where none is said): "
        "noise, blur, weather and compression, see docs/datasets.md.",
    ),
    click.option(
        "--corrupted",
        type=click.Choice(["query", "gallery", "both"]),
        default="query",
        show_default=True,
        help="The set whose images --corruption changes.",
    ),
)


def corruption_options(command: Command) -> Command:
    """Adds the options to a command."""
    return add_options(command, _OPTIONS)


def _parsed(text: str) -> tuple[str, int]:
    from jaxreid.data.corruptions import CORRUPTIONS, SEVERITIES

    name, colon, severity = text.partition(":")
    if name not in CORRUPTIONS:
        near = did_you_mean(name, list(CORRUPTIONS))
        raise InputError(
            f"unknown {name!r:.40}{near and f'; {near}'}; there are {', '.join(CORRUPTIONS)}"
        )
    if not colon:
        return name, _USUAL_SEVERITY
    if severity not in map(str, SEVERITIES):
        raise InputError(f"severity must be 1 to 5, got {severity!r:.40}")
    return name, int(severity)


@dataclass(frozen=True, kw_only=True)
class CorruptionSettings:
    """What was asked for; names are those of the options."""

    corruption: str | None = None
    corrupted: Literal["query", "gallery", "both"] = "query"

    def recorded_corruption(self) -> dict[str, Any]:
        """What a run folder keeps of the options; nothing where images stay clean."""
        if self.corruption is None:
            return {}
        name, severity = _parsed(self.corruption)
        return {"corruption": f"{name}:{severity}", "corrupted": self.corrupted}

    def corruption_note(self) -> str:
        """One line for below a table; "" where images stay clean."""
        found = self.recorded_corruption()
        if not found:
            return ""
        whose = {"both": "query and gallery"}.get(found["corrupted"], found["corrupted"])
        return f"{whose} images corrupted by {found['corruption']}, before anything else"

    def corrupts(
        self, sources: "dict[str, ReidSource]", loader: "LoaderSettings"
    ) -> "dict[str, ReidSource]":
        """The splits, query and gallery, of which the options corrupt one or both."""
        if self.corruption is None:
            return sources
        from jaxreid.data.corruptions import Corrupted

        name, severity = _parsed(self.corruption)
        return {
            part: Corrupted(source, name, severity, size=loader.size, filter=loader.filter)
            if self.corrupted in (part, "both")
            else source
            for part, source in sources.items()
        }
