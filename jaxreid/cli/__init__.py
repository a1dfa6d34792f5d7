"""Strings from a user: parse, then one call. One file per subcommand, imported when asked for.

Exit codes: 0 done, 1 the run failed, 2 the user's input was wrong, 75 preempted (resume me).
"""

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from jaxreid.errors import InputError

__all__ = ["command", "main"]

# subcommand -> module that defines a click command of the same name
_COMMANDS = {
    "attack": "jaxreid.cli.attack",
    "benchmark": "jaxreid.cli.benchmark",
    "convert": "jaxreid.cli.convert",
    "data": "jaxreid.cli.data",
    "doctor": "jaxreid.cli.doctor",
    "evaluate": "jaxreid.cli.evaluate",
    "quickstart": "jaxreid.cli.quickstart",
    "report": "jaxreid.cli.report",
    "train": "jaxreid.cli.train",
}

_COMPLETION = """\b
Completion of commands and options by the Tab key; add to the shell's start-up file:
  bash  eval "$(_JAXREID_COMPLETE=bash_source jaxreid)"
  zsh   eval "$(_JAXREID_COMPLETE=zsh_source jaxreid)"
  fish  _JAXREID_COMPLETE=fish_source jaxreid | source
"""


def command(name: str) -> click.Command:
    """Finds a subcommand.

    Args:
        name: a key of _COMMANDS.

    Returns:
        The command.
    """
    return getattr(importlib.import_module(_COMMANDS[name]), name)


class _LazyGroup(click.Group):
    """Imports a subcommand when it is used: `jaxreid --help` must not wait for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in _COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the subcommand; click knows near names of commands that are loaded, so none."""
        wanted = args[0]
        known = wanted in _COMMANDS or wanted.startswith("-")
        if not known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(wanted, _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {wanted!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_COMPLETION,
)
@click.version_option(package_name="jaxreid")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def _jaxreid(debug: bool) -> None:
    """Attack, measure and defend person re-identification models."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with 0 (done), 1 (failed) or 2 (wrong input).

    Args:
        args: the words after `jaxreid`; the process's own by default.

    Raises:
        SystemExit: always, with the exit code.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        # The words go along: what is written says by which command.
        done = _jaxreid.main(words, prog_name="jaxreid", standalone_mode=False, obj=words)
        sys.exit(done or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("jaxreid: interrupted", err=True)
        sys.exit(1)
    except InputError as error:
        if "--debug" in words:
            raise
        click.echo(f"jaxreid: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except Exception as error:
        if "--debug" in words:
            raise
        click.echo(f"jaxreid: {type(error).__name__}: {error} (--debug shows where)", err=True)
        sys.exit(1)
