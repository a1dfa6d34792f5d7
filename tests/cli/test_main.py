"""Exit codes and messages of the one entry point."""

import os
import subprocess
import sys

import click
import pytest
from commands import above

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


@pytest.mark.parametrize(("wrong", "near"), [("doctr", "doctor"), ("bench", "benchmark")])
def test_an_unknown_command_suggests_the_nearest(capsys, wrong, near):
    code, printed = run(capsys, wrong)
    assert code == 2
    assert printed.err.endswith(f"No such command '{wrong}'. Did you mean '{near}'?\n")
    assert "mean" not in run(capsys, "xyz")[1].err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("jaxreid do", {"plain,doctor"}),
        ("jaxreid data ex", {"plain,export"}),
        ("jaxreid doctor --js", {"plain,--json"}),
    ],
)
def test_the_shell_completes_commands_and_options(words, offered):
    asked = {
        "_JAXREID_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    script = "from jaxreid.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **asked},
    )
    assert set(done.stdout.split()) == offered


def test_help_tells_how_to_complete(capsys):
    assert "_JAXREID_COMPLETE=bash_source jaxreid" in run(capsys, "--help")[1].out


@pytest.mark.parametrize(
    "words",
    [
        ("attack",),
        ("doctor",),
        ("quickstart",),
        ("report",),
        ("train",),
        ("evaluate",),
        ("data", "prepare"),
        ("data", "export"),
        ("data", "show"),
        ("convert",),
        ("benchmark", "data"),
        ("benchmark", "guides"),
        ("benchmark", "ranking"),
        ("benchmark", "surrogates"),
    ],
    ids=" ".join,
)
def test_every_command_shows_an_example_as_it_is_typed(capsys, words):
    code, printed = run(capsys, *words, "--help")
    assert code == 0
    assert f"jaxreid {' '.join(words)}" in printed.out.split("Example")[1]
    assert "\\b" not in printed.out


def test_every_help_fits_80_columns():
    def too_long(context):
        lines = context.command.get_help(context).splitlines()
        yield from ((context.command_path, line) for line in lines if len(line) > 80)
        for name, inner in getattr(context.command, "commands", {}).items():
            yield from too_long(click.Context(inner, context, name))

    root = above()
    root.max_content_width = 80
    contexts = [
        click.Context(jaxreid.cli.command(name), root, name) for name in jaxreid.cli.COMMANDS
    ]
    found = [one for context in [root, *contexts] for one in too_long(context)]
    assert found == []
