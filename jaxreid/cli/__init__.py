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
    "adaptive": "jaxreid.cli.adaptive",
    "attack": "jaxreid.cli.attack",
    "audit": "jaxreid.cli.audit",
    "benchmark": "jaxreid.cli.benchmark.group",
    "blackbox": "jaxreid.cli.blackbox",
    "certify": "jaxreid.cli.certify",
    "convert": "jaxreid.cli.convert",
    "corruptions": "jaxreid.cli.corruptions",
    "data": "jaxreid.cli.data",
    "doctor": "jaxreid.cli.doctor",
    "ers": "jaxreid.cli.ers",
    "evaluate": "jaxreid.cli.evaluate",
    "inspect": "jaxreid.cli.inspect",
    "quickstart": "jaxreid.cli.quickstart",
    "report": "jaxreid.cli.report",
    "train": "jaxreid.cli.train",
    "transfer": "jaxreid.cli.transfer",
    "universal": "jaxreid.cli.universal",
}
"""subcommand -> module that defines a click command of the same name."""

# Typed again, these go on where they were stopped; the others begin anew.
_GO_ON = (
    *("adaptive", "audit", "benchmark defenses", "blackbox", "certify", "corruptions", "ers"),
    *("evaluate", "quickstart", "train", "transfer", "universal"),
)


def command(name: str) -> "click.Command":
    """Imports a subcommand, a key of COMMANDS."""
    found: click.Command = getattr(importlib.import_module(COMMANDS[name]), name)
    return found


def main(args: Sequence[str] | None = None) -> None:
    """Runs the words after `jaxreid`, by default the process's own, and exits with the code."""
    words = list(sys.argv[1:] if args is None else args)
    code: int | None = None
    with stop_signals(until_exit=args is None) as received:
        try:
            # Imported here, so that signals are heard before anything takes time.
            from jaxreid.cli.running import run

            code = run(words, received)
            received.decided()
        except KeyboardInterrupt:
            received.name = "SIGINT"
        except BaseException:
            # A library may have made another exception of the one that the signal raised.
            if not received.name:
                received.decided()
                raise
        received.decided()
        if code is None:
            code = _stopped(received.name, words)
            if args is None:
                from jaxreid.distributed import leave

                leave(code)
    sys.exit(code)


def _stopped(signal: str, words: Sequence[str]) -> int:
    """Says by which signal the command was stopped; gives the exit code."""
    named = [word for word in words if not word.startswith("-")][:2]
    goes_on = {" ".join(named), *named[:1]} & {*_GO_ON}
    afterwards = "goes on" if goes_on else "begins again"
    asked = f"asked to stop ({signal}); the same command {afterwards}"
    # A terminal that closes sends a signal, too, and cannot be written to.
    with contextlib.suppress(OSError, ValueError):
        print(f"jaxreid: {'interrupted' if signal == 'SIGINT' else asked}", file=sys.stderr)
    return 1 if signal == "SIGINT" else PREEMPTED
