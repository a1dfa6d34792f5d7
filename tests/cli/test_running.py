"""What goes wrong becomes a line and the right code, whatever the standard streams are."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from commands import ROOT, WHOLE

from jaxreid.cli.running import explained, one_line

ASCII = """
import sys
from jaxreid.cli import running
with running.safe_streams():
    print("é \\udcff")
    print(sys.stdout.errors)
print(sys.stdout.errors)
"""


def raised(code, *names):
    return OSError(code, os.strerror(code), *names)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (raised(errno.ENOSPC, "a/b"), "a/b: No space left on device; free some space", 1),
        (raised(errno.ENOSPC), "cannot write: No space left on device; free some space", 1),
        (raised(errno.EDQUOT, "a"), "a: Disk quota exceeded; free some space", 1),
        (raised(errno.EROFS, "a"), "a: Read-only file system", 2),
        (raised(errno.EACCES, "a"), "a: Permission denied", 2),
        (raised(errno.ENAMETOOLONG, 300 * "a"), f"{300 * 'a'}: File name too long", 2),
        (raised(errno.ENOTDIR, b"a\xff"), "a\udcff: Not a directory", 2),
        (raised(errno.EIO, "a"), "a: Input/output error", 1),
        (OSError(errno.ENOSPC, "a: all before is whole"), "a: all before is whole; free some", 1),
        (OSError(errno.EFBIG, "a: all before is whole"), "a: all before is whole", 1),
        (OSError("odd"), "OSError: odd (--debug shows where)", 1),
        (MemoryError(), "out of memory; a smaller --batch-size", 1),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), "out of memory;", 1),
        (RecursionError("too deep"), "RecursionError: too deep (--debug shows where)", 1),
        (RuntimeError("the device is gone"), "RuntimeError: the device is gone (--debug", 1),
    ],
)
def test_a_line_and_a_code(kind, error, text, code):
    said, found = explained(error)
    assert found == code
    assert said.startswith(text)
    if len(said) < 200:
        kind(f"any command: {type(error).__name__} {error}", f"exit {code}: {one_line(said)}")


def test_jax_out_of_memory_is_told_for_real():
    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED") as told:
        # More than any machine has; nothing is written to it.
        jax.numpy.zeros((1 << 40, 1 << 10)).block_until_ready()
    assert explained(told.value)[0].startswith("out of memory")


def test_a_name_that_is_no_utf8():
    with pytest.raises(UnicodeEncodeError) as told:
        "a\udcff".encode()
    assert explained(told.value) == (r"expected a name in UTF-8, got 'a\udcff'", 2)


def test_a_folder_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert explained(raised(errno.ENOENT)) == (
        "the current folder is gone; change to another one",
        2,
    )


def test_one_line_for_any_terminal():
    assert one_line("a\n  b\tc\x1b[2J \udcff é") == r"a b c\x1b[2J \udcff é"


def shell(words, script=WHOLE, redirection="", **variables):
    """Through a shell, which closes streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize(
    ("words", "closed"),
    [
        (["data", "--help"], ">&-"),
        (["data", "--help"], "2>&-"),
        (["data", "--help"], "<&-"),
        # This one starts a process of its own, which has what is left.
        (["doctor", "--json"], ">&- 2>&- <&-"),
    ],
)
def test_closed_streams(kind, words, closed):
    done = shell(words, redirection=closed)
    assert done.returncode in ((0, 1) if "doctor" in words else (0,)), done.stderr
    assert "Traceback" not in done.stderr
    kind(f"{words[0]} {closed}", "exit 0; nothing is printed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output(kind, unbuffered):
    done = shell(["--help"], redirection="> /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == "jaxreid: cannot write: No space left on device; free some space\n"
    kind("--help > /dev/full", f"exit 1: {done.stderr}")


def test_a_reader_that_has_gone(kind):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, "data", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    kind("data --help | true", "exit 1, and no word: nobody reads")


def test_letters_that_a_stream_does_not_have():
    done = shell([], script=ASCII, PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines() == [r"\xe9 \udcff", "backslashreplace", "strict"], done.stderr


def test_the_null_device_takes_the_number_of_a_closed_stream(tmp_path):
    script = (
        "import os, sys\n"
        "from jaxreid.cli import running\n"
        "with running.safe_streams():\n"
        "    numbers = [open(sys.argv[1], 'w').fileno()]\n"
        "    sys.exit(0 if min(numbers) > 2 else 3)\n"
    )
    assert shell([str(tmp_path / "file")], script=script, redirection=">&- <&-").returncode == 0
