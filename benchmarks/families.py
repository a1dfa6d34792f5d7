"""Times one network of every family beside itself in PyTorch, and writes a record of all.

    python benchmarks/families.py docs/benchmarks/families-cpu.json

Each row is `jaxreid benchmark attack`, in a process of its own, and is written as soon as it is
known: the same command again measures only what the record does not have (`--again`: everything).
The largest networks take two steps.
A row that fails is named at the end, and the others are measured all the same.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from record import JAXREID, finished, printed, write_json

ROWS = (
    "resnet50",
    "resnet50 --last-stride 1 --head embedding",
    "resnet50_ibn",
    "resnet50_nl --last-stride 1 --pool ceil",
    "resnet50_ibn_nl --last-stride 1 --pool ceil",
    "osnet_x1_0",
    "osnet_x0_25",
    "osnet_ibn_x1_0",
    "osnet_ain_x1_0",
    "vit_small",
    "vit_base",
    "vit_base --stride 12",
    "vit_base --cameras 6",
    "vit_base_jpm --stride 12 --cameras 6",
    "transreid_vit_small",
    "vit_small_ics",
    "clip_vit_b16",
    "clip_vit_b16 --cameras 6",
    "clip_rn50",
    "swin_tiny",
    "swin_tiny --semantic-weight 0.2",
    "swin_base",
    "mgn_resnet50",
)
"""What follows `--architecture`.

With more words: torchreid's resnet50_fc512; fast-reid's AGW, and SBS with IBN; TransReID and
CLIP-ReID with overlapping patches, embeddings of six cameras (SIE) and a jigsaw (JPM); SOLIDER.
"""

# Of a step of these PyTorch alone takes seconds.
LARGE = {"vit_base", "vit_base_jpm", "swin_base"}
STEPS_OF_LARGE = 2

Row = dict[str, Any]  # name, command, and the result of that command's --json

# In a process of its own, which lets go of the device.
_DESCRIBE = """
import json
from jaxreid.benchmark.timing import describe_machine
from jaxreid.cli.backend import find_devices
find_devices(divide_cpu=True)  # as the command has them
print(json.dumps(describe_machine()._asdict()))
"""


def command_of(name: str, given: argparse.Namespace) -> list[str]:
    """The command that measures a row."""
    steps = min(given.steps, STEPS_OF_LARGE) if name.split()[0] in LARGE else given.steps
    numbers = {"--batch": given.batch, "--steps": steps, "--repeats": given.repeats}
    options = [str(word) for pair in numbers.items() for word in pair]
    network = ["--architecture", *shlex.split(name)]
    return ["jaxreid", "benchmark", "attack", *network, *options, "--torch-compile"]


def measured(words: list[str]) -> dict[str, Any] | None:
    """The result of a command; None where it failed, and said why."""
    code, said = finished([*JAXREID, *words[1:], "--json"])
    if code:
        return None
    result: dict[str, Any] = json.loads(said)
    return result


def place_of(machine: dict[str, Any]) -> dict[str, Any]:
    """Where something is measured, and with what: all but the date."""
    return {name: value for name, value in machine.items() if name != "date"}


def this_machine() -> dict[str, Any]:
    """What stands beside measurements of now."""
    found: dict[str, Any] = json.loads(printed([sys.executable, "-c", _DESCRIBE]))
    return found


def record_of(rows: list[Row], given: argparse.Namespace) -> dict[str, Any]:
    """What is written: rows of one machine, in their usual order."""
    order = {name: place for place, name in enumerate(ROWS)}
    rows = sorted(rows, key=lambda row: order.get(row["name"], len(order)))
    about = rows[0]["result"]["machine"]
    devices = "" if about["device"] == "cpu" else f"{about['devices']} x {about['device']}, "
    dates = sorted({row["result"]["machine"]["date"] for row in rows})
    command = ["python", "benchmarks/families.py", given.record.as_posix()]
    for name in ("batch", "steps", "repeats"):
        command += [f"--{name}", str(getattr(given, name))]
    return {
        "date": dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
        "machine": f"{devices}{about['processor']}",
        "versions": {"python": about["python"], **about["versions"]},
        "commands": [shlex.join(command)],
        "benchmark": "families",
        "result": {"rows": rows},
    }


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(ROWS),
        help="architectures with commas between (more words of a command may follow a name)",
    )
    for name, value in (("batch", 16), ("steps", 3), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value, help="(default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="measure also what is known")
    return parser


def main() -> None:
    """Measures row by row."""
    given = arguments().parse_args()
    rows: list[Row] = []
    if given.record.exists():
        rows = json.loads(given.record.read_text(encoding="utf-8"))["result"]["rows"]
    here = place_of(this_machine()) if rows else {}
    if any(place_of(known["result"]["machine"]) != here for known in rows):
        sys.exit(
            f"{given.record}: its rows were measured on another machine, or with other versions; "
            "write to another file, or remove it"
        )
    failed = []
    for name in given.only:
        words = command_of(name, given)
        command = shlex.join(words)
        if not given.again and any(row["command"] == command for row in rows):
            continue
        print(command, flush=True)
        result = measured(words)
        if result is None:
            failed.append(name)
            continue
        row = {"name": name, "command": command, "result": result}
        rows = [known for known in rows if known["name"] != name]
        rows.append(row)
        write_json(given.record, record_of(rows, given))
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
