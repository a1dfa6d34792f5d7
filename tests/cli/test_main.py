"""Exit codes, and one line for an error."""

import importlib
from types import SimpleNamespace

import click
import pytest

from jaxreid.cli import main
from jaxreid.errors import InputError


def ended(monkeypatch, error, *words):
    """Runs a command that raises; gives the exit code."""

    @click.command()
    def data():
        raise error

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(data=data))
    with pytest.raises(SystemExit) as end:
        main([*words, "data"])
    return end.value.code


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("eps must be\n  positive"), 2, "jaxreid: eps must be positive\n"),
        (OSError("disk full"), 1, "jaxreid: OSError: disk full (--debug shows where)\n"),
        (KeyboardInterrupt(), 1, "jaxreid: interrupted\n"),
    ],
)
def test_errors_are_one_line_and_a_code(monkeypatch, capsys, error, code, text):
    assert ended(monkeypatch, error) == code
    assert capsys.readouterr().err.strip() == text.strip()


def test_debug_shows_the_traceback(monkeypatch):
    with pytest.raises(InputError, match="eps"):
        ended(monkeypatch, InputError("eps"), "--debug")


def test_unknown_command_is_wrong_input(capsys):
    with pytest.raises(SystemExit) as end:
        main(["atack"])
    assert end.value.code == 2
    assert "No such command 'atack'" in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for command in ("benchmark", "convert", "data"):
        assert command in text
