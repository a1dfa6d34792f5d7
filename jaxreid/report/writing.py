"""Reports on disk: one HTML file that loads nothing and its figures, whole or not at all."""

import importlib.resources
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

import jaxreid
from jaxreid.errors import InputError, is_of_the_disk, reason_of
from jaxreid.files import replacing_folder
from jaxreid.records import Spread
from jaxreid.report.beyond import is_beyond, measured_beyond
from jaxreid.report.canvas import Picture
from jaxreid.report.examples import rank_list_strip
from jaxreid.report.page import Page, compose
from jaxreid.report.runs import open_runs
from jaxreid.report.spreadsheet import as_csv
from jaxreid.report.style import percent, printable
from jaxreid.report.summary import summarize
from jaxreid.report.training import find_logs

__all__ = ["render", "write_report"]

_PAGE, _FIGURES, _TABLE = "report.html", "figures", "results.csv"
_LINE = 90
_TEMPLATES = importlib.resources.files("jaxreid.report") / "templates"


def write_report(
    runs: Sequence[Path],
    *,
    out: Path | None = None,
    training: Sequence[tuple[str | None, Path]] = (),
    command: str = "",
    on_note: Callable[[str], object] | None = None,
) -> Path:
    """Writes report.html, which opens from disk and loads nothing, figures/ and results.csv.

    Args:
        runs: folders that `jaxreid evaluate` wrote, of which the first one is what others are
            compared with; and those of `blackbox`, `certify`, `corruptions` and `ers`.
        out: folder of the report; `report` in the first run by default. A former report there is
            replaced.
        training: label (or None for the folder's name) and folder of trainings to draw, besides
            those that the runs name.
        command: that makes the report again, quoted for a shell; shown in it.
        on_note: called with each sentence on what was left out.

    Returns:
        Path of report.html.

    Raises:
        InputError: a run is missing, empty, damaged or of another schema; a training has no log;
            `out` holds something else or cannot be written.
        OSError: the disk is full or broken.
    """
    opened = open_runs(_evaluations(runs))
    beyond = measured_beyond(runs)
    named = out or opened[0].folder.path / "report"
    target = _target(named)
    logs = find_logs(opened, training)
    for note in (*(run.note for run in opened), *(log.note for log in logs)):
        if note and on_note is not None:
            on_note(note)
    summary = summarize(opened)
    page = compose(summary, logs, beyond)
    made = [run.folder.provenance.command for run in opened]
    commands = dict.fromkeys([*made, *(one.command for one in beyond), command])
    html = render(page, version=jaxreid.__version__, commands=[c for c in commands if c])
    try:
        with replacing_folder(target) as folder:
            _write_figures(page, folder / _FIGURES)
            (folder / _TABLE).write_text(as_csv(summary.groups), encoding="utf-8")
            (folder / _PAGE).write_text(html, encoding="utf-8")
    except OSError as error:
        if is_of_the_disk(error):
            raise
        raise InputError(f"cannot write the report to {target}: {reason_of(error)}") from None
    return named / _PAGE


def _evaluations(paths: Sequence[Path]) -> list[Path]:
    """Those that hold results of attacks, or nothing that is known."""
    found = [path for path in paths if not is_beyond(path)]
    if paths and not found:
        raise InputError(
            f"{paths[0]} has no results of `jaxreid evaluate`: a report needs one such run; name "
            "it, too"
        )
    return found


def _write_figures(page: Page, folder: Path) -> None:
    folder.mkdir()
    for picture in page.pictures:
        picture.save(folder)
    for run_number, run in enumerate(page.runs, 1):
        for number, shown in enumerate(run.examples, 1):
            strip = folder / f"rank-lists-run{run_number}-{number}.png"
            strip.write_bytes(rank_list_strip(shown))


def _target(named: Path) -> Path:
    try:
        target = named.resolve()
        exists, is_folder = target.exists(), target.is_dir()
    # Names that are too long, loops of links: whatever stops a look at the path.
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot write the report to {named}: {reason_of(error)}") from None
    if exists and not is_folder:
        raise InputError(f"{target} is a file; --out names a folder")
    if exists:
        _refuse_strangers(target)
    return target


def _refuse_strangers(target: Path) -> None:
    """Only a former report is replaced: a wrong --out must not cost anyone a folder of work."""
    try:
        strangers = [
            path for path in target.iterdir() if path.name not in (_PAGE, _FIGURES, _TABLE)
        ]
        if (target / _FIGURES).is_dir():
            strangers += [
                path
                for path in (target / _FIGURES).iterdir()
                if path.suffix not in (".png", ".svg") or path.is_dir()
            ]
    except OSError as error:
        raise InputError(f"{target} cannot be read: {reason_of(error)}") from None
    if strangers:
        raise InputError(
            f"{target} holds {strangers[0].name}, which is no part of a report; name another folder"
        )


def render(page: Page, *, version: str, commands: Sequence[str]) -> str:
    """Lays out a page as HTML in which every name and label is escaped.

    Args:
        page: what it shows.
        version: of jaxreid.
        commands: that make the report again, in order.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
    )
    environment.filters.update(percent=percent, number=_number, spread=_spread, prose=_prose)
    environment.globals["inline"] = _inline
    template = environment.get_template("report.html")
    lines = [_broken_into_lines(command) for command in commands]
    return template.render(page=page, version=version, commands=lines)


def _finalized(value: object) -> object:
    """Whatever the template prints, as text that is safe to show; markup comes from here alone."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, lines=True)
    return value


def _source(name: str) -> str | None:
    file = _TEMPLATES / name
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _broken_into_lines(command: str) -> str:
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


def _prose(sentence: str) -> Markup:
    """A sentence whose commands, which stand between backticks, are set as such."""
    # As a str: what is put into Markup is escaped once more.
    escaped = str(escape(printable(sentence, lines=True)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _number(share: float) -> str:
    return f"{100 * share:.1f}"


def _spread(spread: Spread | None) -> Markup:
    """A cell of a table in percent; over several seeds with deviation and range."""
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
