"""What an attack and training cost on slices of TPUs that are not here, as a record for a table.

    python benchmarks/chips.py docs/benchmarks/chips-v5e.json v5e

runs `jaxreid benchmark compile --target ...` for 1, 4, 64 and 256 chips, a program at a time; what
the record holds already is not run again. Needs libtpu (pip install 'jaxreid[tpu]').
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from record import JAXREID, machine

# Beside libtpu, JAX would look for a TPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Chips -> a topology, and how many of its chips: no slice is smaller than a host.
SLICES = {
    "v5e": {1: ("2x2", 1), 4: ("2x2", None), 64: ("8x8", None), 256: ("16x16", None)},
    "v5p": {1: ("2x2x1", 1), 4: ("2x2x1", None), 64: ("4x4x4", None), 256: ("4x8x8", None)},
    "v6e": {1: ("2x2", 1), 4: ("2x2", None), 64: ("8x8", None), 256: ("16x16", None)},
}
WORDS = {"attack": ["--batch", "128"], "goat": ["--batch", "32"], "recommended": ["--batch", "32"]}
COLUMNS = [
    "",
    "chips",
    "images on each",
    "GFLOP per image",
    "MB per image, all memories",
    "MB per image, large memory",
    "ms at least: arithmetic",
    "memory",
    "links",
    "GB held",
    "crosses chips",
]


def counted(kind: str, chips: int, program: str) -> list[str]:
    """A row of the table."""
    topology, devices = SLICES[kind][chips]
    command = ["benchmark", "compile", "--target", f"tpu:{kind}:{topology}", "--dtype", "bfloat16"]
    command += ["--program", program, *WORDS[program], "--json"]
    command += [] if devices is None else ["--devices", str(devices)]
    run = subprocess.run([*JAXREID, *command], stdout=subprocess.PIPE, text=True, check=True)
    return row(program, chips, json.loads(run.stdout)["programs"][program])


def row(program: str, chips: int, found: dict[str, Any]) -> list[str]:
    """What was counted, as cells."""
    cost, floors, images = found["cost"], found["floors"], found["images"]
    crosses = [
        f"{count:,} {kind}, {size / 1e6:,.1f} MB"
        for kind, (count, size) in cost["collectives"].items()
    ]
    return [
        program,
        str(chips),
        str(images),
        f"{found['flops'] / images / 1e9:,.1f}",
        f"{cost['bytes'] / images / 1e6:,.0f}",
        f"{cost['memory_bytes'] / images / 1e6:,.0f}",
        *(f"{1e3 * floors[name]:,.2f}" for name in ("arithmetic", "memory", "between")),
        f"{(cost['temporaries'] + cost['arguments']) / 1e9:,.1f}"
        + ("" if found["fits"] else ": too much"),
        "; ".join(crosses) or "nothing",
    ]


def main() -> None:
    """Adds to the record what it lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("kind", choices=SLICES)
    given = parser.parse_args()
    rows = json.loads(given.record.read_text())["rows"] if given.record.exists() else []
    done = {(line[0], line[1]) for line in rows}
    # Few chips first, which say most: on more of them only what crosses them differs.
    for chips in SLICES[given.kind]:
        for program in WORDS:
            if (program, str(chips)) in done:
                continue
            print(f"{given.kind}: {program} on {chips}", flush=True)
            rows.append(counted(given.kind, chips, program))
            rows.sort(key=lambda line: (list(WORDS).index(line[0]), int(line[1])))
            date, _, versions = machine()
            record = {
                "date": date,
                "machine": f"compiled for TPU {given.kind}",
                "versions": versions,
                "commands": [f"python benchmarks/chips.py {given.record} {given.kind}"],
                "columns": COLUMNS,
                "rows": rows,
            }
            given.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
