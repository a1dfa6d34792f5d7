"""Paths that users type."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from jaxreid.cli import COMMANDS, command
from jaxreid.cli.parameters import Place


def parameters(group, names=()):
    for parameter in group.params:
        yield (*names, parameter.name), parameter
    for name, inner in getattr(group, "commands", {}).items():
        yield from parameters(inner, (*names, name))


def test_every_path_refuses_an_empty_text():
    found = [pair for name in COMMANDS for pair in parameters(command(name), (name,))]
    paths = [(names, one) for names, one in found if isinstance(one.type, click.Path)]
    assert len(paths) > 10
    assert [names for names, one in paths if not isinstance(one.type, Place)] == []


def test_an_empty_text_is_no_path_and_a_dot_is(tmp_path, kind):
    @click.command()
    @click.option("--out", type=Place(file_okay=False))
    def show(out):
        click.echo(repr(out))

    done = CliRunner().invoke(show, ["--out", ""])
    assert done.exit_code == 2
    said = done.output.splitlines()[-1]
    assert said.endswith("'--out': expected a path, got an empty text; the current folder is .")
    kind("a path option with an empty text", f"exit 2; {said}")
    for given in (".", str(tmp_path)):
        assert CliRunner().invoke(show, ["--out", given]).output == f"{Path(given)!r}\n"


def test_an_option_that_is_not_given_stays_none():
    @click.command()
    @click.option("--out", type=Place())
    def show(out):
        click.echo(repr(out))

    assert CliRunner().invoke(show, []).output == "None\n"


@pytest.mark.parametrize("name", [b"caf\xe9", b"a b", b"-x"])
def test_any_bytes_make_a_path(tmp_path, name):
    assert Place().convert(os.fsdecode(name), None, None) == Path(os.fsdecode(name))
