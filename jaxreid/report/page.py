"""The page: one HTML file that loads nothing."""

import importlib.resources
import shlex
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from jaxreid.report.content import Content
from jaxreid.report.figures import Picture
from jaxreid.report.grouping import Spread
from jaxreid.report.style import percent
from jaxreid.report.text import printable

__all__ = ["render"]

_LINE = 90
_TEMPLATES = importlib.resources.files("jaxreid.report") / "templates"


def render(content: Content, *, version: str, commands: Sequence[str]) -> str:
    """Lays out a report.

    Args:
        content: what it shows.
        version: of jaxreid.
        commands: that make the report again, in order.

    Returns:
        HTML in which every name and label is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
    )
    environment.filters["percent"] = percent
    environment.filters["number"] = _number
    environment.filters["spread"] = _spread
    environment.globals["inline"] = _inline
    page = environment.get_template("report.html")
    return page.render(
        page=content, version=version, commands=[_continued(one) for one in commands]
    )


def _finalized(value: object) -> object:
    """Whatever a template prints, printable; markup is our own."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, lines=True)
    return value


def _source(name: str) -> str | None:
    file = _TEMPLATES / name
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _continued(command: str) -> str:
    """A long command with one option per line, which a shell reads as the same."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(command) <= _LINE or shlex.join(words) != command:
        return command
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(shlex.join(line) for line in lines if line)


def _inline(picture: Picture) -> Markup:
    """SVG that matplotlib made, which escapes all text in it."""
    return Markup(picture.inline)


def _number(share: float) -> str:
    return f"{100 * share:.1f}"


def _spread(spread: Spread | None) -> Markup:
    """A figure of a table in percent; over several seeds with deviation and range."""
    if spread is None:
        return Markup('<span class="none">–</span>')  # noqa: RUF001
    mean = _number(spread.mean)
    if spread.count == 1:
        return Markup(f'<span class="mean">{mean}</span>')
    low, high = _number(spread.low), _number(spread.high)
    return Markup(
        f'<span class="mean">{mean}</span><span class="pm"> ± {_number(spread.deviation)}</span>'
        f'<span class="range">{low} to {high}</span>'
    )
