"""A request to stop that comes when the outcome is known: the exit code stays the outcome's."""

import pytest
from commands import ended, start

# `jaxreid`, which is asked to stop once its outcome is known: when a message about it has been
# written, among what runs at exit, or while Python takes its modules apart.
AT_THE_END = """
import atexit, os, pathlib, signal, sys

when, sent = sys.argv.pop(1), pathlib.Path("sent")
for name in ("SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)


def ask(kill=os.kill, process=os.getpid(), numbers=(signal.SIGTERM, signal.SIGHUP), sent=sent):
    sent.touch()
    for number in numbers:
        kill(process, number)


class Told:
    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        self.stream.write(text)
        ask()


class Last:
    def __del__(self, ask=ask):
        ask()


if when == "told":
    sys.stderr = Told(sys.stderr)
elif when == "atexit":
    atexit.register(ask)
else:
    last = Last()
from jaxreid.cli import main

main()
"""
WRONG = ("evaluate", "nowhere:embed", "--dataset", "market1501", "--out", "out")


@pytest.mark.parametrize("when", ["told", "atexit", "teardown"])
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--version",), 0, "jaxreid, version"),
        (("attak",), 2, "Error: No such command 'attak'."),
        (WRONG, 2, "jaxreid: "),
        (("--debug", *WRONG), 1, "jaxreid.errors.InputError: "),
    ],
)
def test_after_its_end_a_command_ends_with_its_own_code(tmp_path, when, words, code, line):
    process = start(when, *words, script=AT_THE_END, data="", cache="", cwd=tmp_path)
    found, out, err = ended(process)
    assert found == code, err
    assert line in out + err
    assert "asked to stop" not in err
    assert (tmp_path / "sent").exists() or (when, code) == ("told", 0)  # no error, no message
