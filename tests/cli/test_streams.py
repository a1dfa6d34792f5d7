"""Standard streams that are closed, full, narrow of letters, or read by nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, WHOLE

ASCII = """
import sys
from jaxreid.cli import streams
with streams.sound_streams():
    print("é \\udcff")
    print(sys.stdout.errors)
print(sys.stdout.errors)
"""


def run(words, script=WHOLE, redirection="", **variables):
    """Through a shell, which closes streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(kind, tmp_path, closed):
    done = run(["doctor", "--json", "--workdir", str(tmp_path)], redirection=closed)
    assert done.returncode in (0, 1), done.stderr  # as the machine is
    assert "Traceback" not in done.stderr
    kind(f"doctor {closed}", "exit 0; nothing is printed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output(kind):
    done = run(["--help"], redirection="> /dev/full")
    assert done.returncode == 1
    assert done.stderr == "jaxreid: cannot write: No space left on device; free some space\n"
    kind("--help > /dev/full", f"exit 1: {done.stderr}")


def test_a_reader_that_has_gone(kind):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, "evaluate", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    kind("evaluate --help | true", "exit 1, and no word: nobody reads")


def test_letters_that_a_stream_does_not_have():
    done = run([], script=ASCII, PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines() == [r"\xe9 \udcff", "backslashreplace", "strict"], done.stderr


def test_the_null_device_takes_the_number_of_a_closed_stream(tmp_path):
    script = (
        "import os, sys\n"
        "from jaxreid.cli import streams\n"
        "with streams.sound_streams():\n"
        "    numbers = [open(sys.argv[1], 'w').fileno()]\n"
        "    sys.exit(0 if min(numbers) > 2 else 3)\n"
    )
    assert run([str(tmp_path / "file")], script=script, redirection=">&- <&-").returncode == 0
