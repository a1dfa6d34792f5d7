"""Exit codes and messages of the one entry point."""

import subprocess
import sys

import click
import pytest

import jaxreid.cli
from jaxreid.errors import InputError


@pytest.fixture
def failing(monkeypatch):
    """A subcommand that raises what it is told to."""

    def install(error):
        @click.command()
        def data():
            raise error

        monkeypatch.setattr(jaxreid.cli.importlib, "import_module", lambda name: _Module(data))

    return install


class _Module:
    def __init__(self, command):
        self.data = self.benchmark = self.convert = command


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        jaxreid.cli.main(words)
    return end.value.code, capsys.readouterr()


def test_wrong_input_is_one_line_and_two(failing, capsys):
    failing(InputError("the file\n  a.jpg is empty"))
    code, printed = run(capsys, "data")
    assert code == 2
    assert printed.err == "jaxreid: the file a.jpg is empty\n"


def test_a_failed_run_is_one_line_and_one(failing, capsys):
    failing(RuntimeError("the device is gone"))
    code, printed = run(capsys, "data")
    assert code == 1
    assert printed.err == "jaxreid: RuntimeError: the device is gone (--debug shows where)\n"


@pytest.mark.parametrize("error", [InputError("a"), RuntimeError("b")])
def test_debug_shows_the_traceback(failing, error):
    failing(error)
    with pytest.raises(type(error)):
        jaxreid.cli.main(["--debug", "data"])


def test_an_interrupt_is_one(failing, capsys):
    failing(KeyboardInterrupt())
    code, printed = run(capsys, "data")
    assert code == 1
    assert "interrupted" in printed.err


def test_the_installed_command_runs():
    script = [sys.executable, "-c", "from jaxreid.cli import main; main()"]
    shown = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True)
    for command in ("benchmark", "convert", "data"):
        assert command in shown.stdout
    wrong = subprocess.run([*script, "attak"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("data", "prepare"),
        ("data", "export"),
        ("data", "show"),
        ("convert",),
        ("benchmark", "data"),
        ("benchmark", "guides"),
        ("benchmark", "ranking"),
    ],
    ids=" ".join,
)
def test_every_command_shows_an_example_as_it_is_typed(capsys, words):
    code, printed = run(capsys, *words, "--help")
    assert code == 0
    assert f"jaxreid {' '.join(words)}" in printed.out.split("Example")[1]
    assert "\\b" not in printed.out
