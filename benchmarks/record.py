"""Runs a benchmark and keeps its result with the date, the machine, the versions and the command.

    python benchmarks/record.py docs/benchmarks/ranking-market1501-h100.json \
        ranking --size market1501

runs `jaxreid benchmark ranking --size market1501 --json` and writes the record that
`benchmarks/tables.py` makes a table of. Needs no package that the benchmark itself does not need.
With REHEARSAL=1 in the environment the record says that it is of a rehearsal, and becomes no table.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
JAXREID = [sys.executable, "-c", "from jaxreid.cli import main; main()"]


def machine() -> tuple[str, str, dict[str, str]]:
    """Date, words for the hardware, and versions; after the benchmark, which wants the device."""
    from jaxreid.benchmark.timing import describe_machine

    about = describe_machine()
    devices = "" if about.device == "cpu" else f"{about.devices} x {about.device}, "
    versions = {"python": about.python, **about.versions}
    return about.date, f"{devices}{about.processor}", versions


def rehearsed() -> dict[str, bool]:
    """What a record of a rehearsal says of itself, beside the machine; nothing in any other."""
    return {"rehearsal": True} if os.environ.get("REHEARSAL") else {}


def words_of(versions: dict[str, str]) -> str:
    """Names and versions, as they are printed."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def write_json(path: Path, content: Any) -> None:
    """Writes a file that takes its place whole: what was measured for hours outlives a kill."""
    from jaxreid.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_record(path: Path, command: Sequence[str], content: dict[str, Any]) -> str:
    """Writes a record of this machine, of what a command measured; gives the machine's words."""
    date, hardware, versions = machine()
    about = {**rehearsed(), "date": date, "machine": hardware, "versions": versions}
    write_json(path, {**about, "commands": [shlex.join(command)], **content})
    return hardware


def finished(command: Sequence[str]) -> tuple[int, str]:
    """Runs a command; gives its exit code, as a shell would, and what it printed.

    Who stops this process stops the command: SIGTERM is handed on, the command waited for, and then
    this process ends, too, with the command's exit code if that is not 0.
    """
    told = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:

        def stop(*_: object) -> None:
            # A signal to the whole group of processes has reached it by itself; a second one would
            # cut short what the first began.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            told.set()
            later = threading.Timer(1, run.terminate)
            later.daemon = True
            later.start()

        before = signal.signal(signal.SIGTERM, stop)
        said, _ = run.communicate()
        signal.signal(signal.SIGTERM, before)
    code = run.returncode if run.returncode >= 0 else 128 - run.returncode
    if told.is_set():
        sys.exit(code or 128 + signal.SIGTERM)
    return code, said


def printed(command: Sequence[str]) -> str:
    """What a command prints; where it fails, this process ends with its exit code, and names it."""
    code, said = finished(command)
    if code:
        print(f"exit code {code}: {shlex.join(command)}", file=sys.stderr)
        sys.exit(code)
    return said


def main() -> None:
    """Writes the record, or nothing if the benchmark fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="after `jaxreid benchmark`")
    given = parser.parse_args()
    words = given.words[1:] if given.words[:1] == ["--"] else given.words
    command = ["benchmark", *words]
    said = printed([*JAXREID, *command, "--json"])
    found = {"benchmark": words[0], "result": json.loads(said)}
    hardware = write_record(given.record, ["jaxreid", *command], found)
    print(f"{given.record}: {hardware}")


if __name__ == "__main__":
    main()
