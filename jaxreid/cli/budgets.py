"""Options of attacks that are more than a number or a word: budgets, names, a title."""

from typing import Any

import click

from jaxreid.cli.parameters import Words

__all__ = ["AttackCommand", "Budget", "Budgets", "Title"]

_LONGEST = 200
_MOST = 1000  # budgets: every one attacks all images again


class Budget(click.ParamType):
    """A budget or a step: a number, or a fraction such as 5/255; what it means, its norm says."""

    name = "N|N/255"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Checks that it is a number.

        Args:
            value: such as "5" or "5/255", or a number.
            param: of click.
            ctx: of click.

        Returns:
            The same, for `read_budget`.
        """
        from jaxreid.budgets import read_budget
        from jaxreid.errors import InputError

        try:
            # As a length, any number is one.
            read_budget(value, "l2", name="it")
        except InputError as error:
            self.fail(f"expected numbers such as 5 or 5/255: {error}", param, ctx)
        return value


class Budgets(click.ParamType):
    """Budgets with commas between them."""

    name = Words.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float | str, ...]:
        """Reads a list of budgets.

        Args:
            value: such as "1,2.5,5/255", or a tuple.
            param: of click.
            ctx: of click.

        Returns:
            The budgets, at least one, for `read_budget`.
        """
        parts = Words().convert(value, param, ctx)
        if not parts:
            self.fail(f"expected numbers such as 1,2.5,5 or 5/255, got {value!r}", param, ctx)
        if len(parts) > _MOST:
            self.fail(f"expected at most {_MOST} budgets, got {len(parts)}", param, ctx)
        return tuple(Budget().convert(part, param, ctx) for part in parts)


class Title(click.ParamType):
    """A line of text that any screen and any file can hold."""

    name = "TEXT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks a title.

        Args:
            value: what was typed.
            param: of click.
            ctx: of click.

        Returns:
            The same.
        """
        text = str(value)
        # Bytes that are no UTF-8 come as surrogates, which are not printable either.
        if not text.isprintable():
            self.fail(f"expected one line of printable UTF-8 text, got {text!a}", param, ctx)
        if len(text) > _LONGEST:
            self.fail(f"expected at most {_LONGEST} characters, got {len(text)}", param, ctx)
        return text


class AttackCommand(click.Command):
    """A command whose help ends with the table of attacks, read from where they are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the attacks.

        Args:
            ctx: of click.
            formatter: of click.
        """
        from jaxreid.attacks import ATTACKS

        with formatter.section("Attacks"):
            formatter.write_dl([(name, attack.title) for name, attack in ATTACKS.items()])
