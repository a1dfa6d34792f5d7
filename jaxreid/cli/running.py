"""One command from its words to its exit code: whatever it raises becomes one line."""

import contextlib
import sys
from collections.abc import Callable, Sequence

import click

from jaxreid.cli.failures import explained, one_line
from jaxreid.cli.group import jaxreid
from jaxreid.cli.streams import discard, sound_streams
from jaxreid.errors import InputError

__all__ = ["run"]


def run(words: Sequence[str], asked_to_stop: Callable[[], str]) -> int:
    """Runs a command.

    Args:
        words: after `jaxreid`. With `--debug` among them, exceptions pass.
        asked_to_stop: name of a signal that came; exceptions pass then, and Ctrl-C always.

    Returns:
        The exit code.
    """
    with sound_streams():
        try:
            code = _coded(list(words), asked_to_stop)
            # What is still in the buffers can fail like everything that was printed before.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            return code
        except BrokenPipeError:
            # The reader has gone, as `head` does: nobody is left to be told.
            discard(sys.stdout, sys.stderr)
            return 1
        except OSError as error:
            if "--debug" in words or asked_to_stop():
                raise
            discard(sys.stdout)
            _say(explained(error)[0])
            return 1


def _coded(words: list[str], asked_to_stop: Callable[[], str]) -> int:
    try:
        # The words go along: what is written says by which command.
        return jaxreid.main(words, prog_name="jaxreid", standalone_mode=False, obj=words) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in words or asked_to_stop():
            raise
        text, code = (str(error), 2) if isinstance(error, InputError) else explained(error)
        _say(text)
        return code


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"jaxreid: {one_line(text)}", err=True)
