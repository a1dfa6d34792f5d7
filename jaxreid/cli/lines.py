"""Sentences on a screen: as lines no wider than a terminal."""

import textwrap

import click

__all__ = ["WIDTH", "say", "wrapped"]

WIDTH = 80
"""Columns of a terminal."""


def wrapped(text: str) -> list[str]:
    """A sentence as lines; its words stay whole, such as names and paths without spaces."""
    return textwrap.wrap(
        text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def say(text: str) -> None:
    """Prints a sentence on standard output."""
    for line in wrapped(text):
        click.echo(line)
