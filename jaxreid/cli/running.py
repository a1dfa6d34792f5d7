"""The command `jaxreid`, from its words to its exit code: whatever goes wrong becomes one line.

Subcommands are imported when they are used.
"""

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import click

from jaxreid.cli import COMMANDS, command
from jaxreid.cli.backend import no_devices
from jaxreid.cli.stopping import StopSignals
from jaxreid.errors import InputError, did_you_mean

__all__ = ["discard", "explained", "jaxreid", "one_line", "run", "safe_streams"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
# The name that was given is wrong, not what happened to a run.
_NAMED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR),
    *(errno.EISDIR, errno.ELOOP, errno.EEXIST),
)
_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "Unable to allocate")


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
        """Finds the subcommand; click suggests names of loaded commands only, and none is."""
        wanted = args[0]
        known = wanted in COMMANDS or wanted.startswith("-")
        if not known and not ctx.resilient_parsing:
            hint = did_you_mean(wanted, COMMANDS).replace("did", "Did")
            ctx.fail(f"No such command {wanted!r}. {hint}".rstrip())
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


def run(words: Sequence[str], signals: StopSignals) -> int:
    """Runs the words after `jaxreid`; gives the exit code, which is decided before it is explained.

    Exceptions are not caught with `--debug`, nor once a signal asked to stop; Ctrl-C never.
    """
    code = 0
    with safe_streams():
        try:
            code = _coded(list(words), signals)
            # What is still in the buffers may fail to be written, too.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            return code
        except BrokenPipeError:
            # The reader is gone, as of `| head`.
            discard(sys.stdout, sys.stderr)
            return 1
        except OSError as error:
            if "--debug" in words or signals.name:
                raise
            signals.decided()
            discard(sys.stdout)
            # A command that failed has said why: of a full disk, this very reason.
            if not code:
                _say(explained(error)[0])
            return code or 1


def _coded(words: list[str], signals: StopSignals) -> int:
    try:
        # The words are recorded beside results.
        return jaxreid.main(words, prog_name="jaxreid", standalone_mode=False, obj=words) or 0
    except click.ClickException as error:
        signals.decided()
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in words or signals.name:
            raise
        signals.decided()
        text, code = (str(error), 2) if isinstance(error, InputError) else explained(error)
        _say(text)
        return code
    except SystemExit as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # click ends so after completion by the Tab key, and where its reader is gone.
        if Path(frame.filename).parent == Path(click.__file__).parent or signals.name:
            raise
        signals.decided()
        _say(f"{frame.filename}:{frame.lineno} ends the process: SystemExit: {error.code}")
        return 2


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"jaxreid: {one_line(text)}", err=True)


def one_line(text: str) -> str:
    """A message in one line; what cannot be printed is written as backslash and number."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def explained(error: Exception) -> tuple[str, int]:
    """The line for an exception, and the exit code: 2 if the environment or a name is at fault."""
    if _is_memory(error):
        return "out of memory; a smaller --batch-size (or --config.batch.size) needs less", 1
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    if isinstance(error, UnicodeEncodeError) and error.reason.startswith("surrogates"):
        return f"expected a name in UTF-8, got {error.object!r}", 2
    where = _innermost(error)
    # The frame is missing where JAX filters its own out of tracebacks.
    if where.endswith("xla_bridge.py") or "Unable to initialize backend" in str(error):
        return no_devices(error), 2
    if where.endswith("config.py") and isinstance(error, ValueError):
        return f"a variable of the environment is wrong: {error}", 2
    return f"{type(error).__name__}: {error} (--debug shows where)", 1


def _is_memory(error: Exception) -> bool:
    named = isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)
    return isinstance(error, MemoryError) or named


def _of_system(error: OSError) -> tuple[str, int]:
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    what, reason = "cannot write", os.strerror(error.errno or 0)
    # Raised by jaxreid with more to say than the system has, such as what of a run is whole.
    said = "" if name or error.strerror in (None, reason) else str(error.strerror)
    if error.errno in _FULL:
        return f"{said or f'{name or what}: {reason}'}; free some space", 1
    if said:
        return said, 1
    if error.errno == errno.ENOENT and not os.path.isdir(os.curdir):
        return "the current folder is gone; change to another one", 2
    if not name:
        return f"{type(error).__name__}: {error} (--debug shows where)", 1
    return f"{name}: {reason}", 2 if error.errno in _NAMED else 1


def _innermost(error: Exception) -> str:
    """The file of JAX's own in which an exception was raised; "" if it was not in JAX."""
    last = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        last = frame.f_code.co_filename
    return last if "/jax/_src/" in last.replace(os.sep, "/") else ""


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Printing in the block cannot fail because a stream is closed or lacks a character.

    A closed stream becomes the null device: otherwise the next file that is opened gets its number,
    and whatever prints to that number ends up in the file. Characters that the encoding of a
    stream lacks are printed as backslash and number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given out: this one.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with contextlib.ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
                stack.callback(_strict_again, stream)
        yield


def _strict_again(stream: io.TextIOWrapper) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.reconfigure(errors="strict")


def discard(*streams: TextIO) -> None:
    """Redirects streams of `sys` to the null device, so that flushing at exit does not fail."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
