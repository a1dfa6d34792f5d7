"""The command `jaxreid` with its subcommands, which are imported when they are used."""

import difflib

import click

from jaxreid.cli import COMMANDS, command

__all__ = ["jaxreid"]

_COMPLETION = """\b
Completion by the Tab key; add to your shell's start-up file:
  bash  eval "$(_JAXREID_COMPLETE=bash_source jaxreid)"
  zsh   eval "$(_JAXREID_COMPLETE=zsh_source jaxreid)"
  fish  _JAXREID_COMPLETE=fish_source jaxreid | source
"""


class _LazyGroup(click.Group):
    """Imports a subcommand when it is used: `jaxreid --help` must not wait for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the subcommand; click knows near names of commands that are loaded, so none."""
        wanted = args[0]
        known = wanted in COMMANDS or wanted.startswith("-")
        if not known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(wanted, COMMANDS, n=1)
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
def jaxreid(debug: bool) -> None:
    """Attack, measure and defend person re-identification models."""
