"""Strings from a user: parse, then one call. One file per subcommand, imported when asked for.

Exit codes: 0 done, 1 the run failed, 2 the user's input was wrong, 75 preempted (resume me).
"""

import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxreid.cli.stopping import PREEMPTED, stop_signals

if TYPE_CHECKING:
    import click

__all__ = ["COMMANDS", "command", "main"]

COMMANDS = {
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
"""subcommand -> module that defines a click command of the same name."""

# Of these, what is done is not done again.
_GO_ON = ("evaluate", "quickstart", "train")


def command(name: str) -> "click.Command":
    """Finds a subcommand.

    Args:
        name: a key of COMMANDS.

    Returns:
        The command.
    """
    return getattr(importlib.import_module(COMMANDS[name]), name)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 wrong input, 75 asked to stop.

    Args:
        args: the words after `jaxreid`; the process's own by default.

    Raises:
        SystemExit: always, with the exit code.
    """
    words = list(sys.argv[1:] if args is None else args)
    code: int | None = None
    with stop_signals() as come:
        try:
            # Imported here, so that signals are heard before anything takes time.
            from jaxreid.cli.running import run

            code = run(words, lambda: come.name)
        except KeyboardInterrupt:
            come.name = "SIGINT"
        except BaseException:
            # Whatever became of the exception on its way through others' code.
            if not come.name:
                raise
        if code is None:
            code = _farewell(come.name, words)
    sys.exit(code)


def _farewell(signal: str, words: Sequence[str]) -> int:
    named = next((word for word in words if not word.startswith("-")), "")
    afterwards = "goes on" if named in _GO_ON else "begins again"
    asked = f"asked to stop ({signal}); the same command {afterwards}"
    # As far as there is somebody to listen: a terminal that closes sends a signal, too.
    with contextlib.suppress(OSError, ValueError):
        print(f"jaxreid: {'interrupted' if signal == 'SIGINT' else asked}", file=sys.stderr)
    return 1 if signal == "SIGINT" else PREEMPTED
