"""Paths that users type."""

import os
from pathlib import Path
from typing import Any

import click

__all__ = ["Place"]


class Place(click.Path):
    """click's, as a Path; an empty text, as of a variable that is not set, is none.

    Args:
        file_okay: whether it may be a file.
        dir_okay: whether it may be a folder.
    """

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads a path.

        Args:
            value: what was typed, or a Path.
            param: of click.
            ctx: of click.

        Returns:
            A Path.
        """
        # Path("") is the current folder, which would fill with what was meant for another.
        if not os.fspath(value):
            self.fail("expected a path, got an empty text; the current folder is .", param, ctx)
        return super().convert(value, param, ctx)
