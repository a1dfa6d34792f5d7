"""What every program costs on slices of TPUs that are not here, as a record for a table.

    python benchmarks/chips.py docs/benchmarks/chips-v5e.json v5e

runs `jaxreid benchmark compile --target ...` for 1, 4, 64 and 256 chips, a program at a time; what
the record holds already is not run again. Needs libtpu (pip install 'jaxreid[tpu]').
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from record import JAXREID, printed, words_of, write_record

# Beside libtpu, JAX would look for a TPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Chips -> a topology, and how many of its chips: no slice is smaller than a host.
SLICES = {
    "v5e": {1: ("2x2", 1), 4: ("2x2", None), 64: ("8x8", None), 256: ("16x16", None)},
    "v5p": {1: ("2x2x1", 1), 4: ("2x2x1", None), 64: ("4x4x4", None), 256: ("4x8x8", None)},
    "v6e": {1: ("2x2", 1), 4: ("2x2", None), 64: ("8x8", None), 256: ("16x16", None)},
}
# Images on each chip; a ranking's block has as many items whatever they are.
ATTACKED, TRAINED = ["--batch", "128"], ["--batch", "32"]
WORDS = {
    "features": ATTACKED,
    "attack": ATTACKED,
    "worst": ATTACKED,
    "ranking": ATTACKED,
    "plain": TRAINED,
    "goat": TRAINED,
    "recommended": TRAINED,
}
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
    found = json.loads(printed([*JAXREID, *command]))
    return row(program, chips, found["programs"][program])


def digits(amount: float, places: int) -> str:
    """So many places, or two digits of what would be written as nothing."""
    return f"{amount:.2g}" if 0 < amount < 0.5 / 10**places else f"{amount:,.{places}f}"


def row(program: str, chips: int, found: dict[str, Any]) -> list[str]:
    """What was counted, as cells."""
    cost, floors, images = found["cost"], found["floors"], found["images"]
    begin = [program, str(chips), f"{images:,}", digits(found["flops"] / images / 1e9, 1)]
    if cost is None:  # the compiler found no room for it
        return [*begin, "", "", "", "", "", "too much", ""]
    crosses = [
        f"{count:,} {kind}, {size / 1e6:,.1f} MB"
        for kind, (count, size) in cost["collectives"].items()
    ]
    return [
        *begin,
        digits(cost["bytes"] / images / 1e6, 0),
        digits(cost["memory_bytes"] / images / 1e6, 0),
        *(digits(1e3 * floors[name], 2) for name in ("arithmetic", "memory", "between")),
        digits((cost["temporaries"] + cost["arguments"]) / 1e9, 1)
        + ("" if found["fits"] else ": too much"),
        "; ".join(crosses) or "nothing",
    ]


def compilers() -> dict[str, str]:
    """Versions of what compiles; without libtpu where it is not installed."""
    found = {}
    for name in ("jax", "jaxlib", "libtpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def known_rows(record: Path, versions: dict[str, str]) -> list[list[str]]:
    """The rows of a record; ends the process where others compiled them."""
    if not record.exists():
        return []
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    if found["versions"] != versions:
        sys.exit(
            f"{record} was counted with {words_of(found['versions'])}, and here are "
            f"{words_of(versions)}: write to another file, or remove it"
        )
    rows: list[list[str]] = found["rows"]
    return rows


def main() -> None:
    """Adds to the record what it lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("kind", choices=SLICES)
    given = parser.parse_args()
    rows = known_rows(given.record, compilers())
    done = {(line[0], line[1]) for line in rows}
    # Few chips first, which say most: on more of them only what crosses them differs.
    for chips in SLICES[given.kind]:
        for program in WORDS:
            if (program, str(chips)) in done:
                continue
            print(f"{given.kind}: {program} on {chips}", flush=True)
            rows.append(counted(given.kind, chips, program))
            rows.sort(key=lambda line: (list(WORDS).index(line[0]), int(line[1])))
            record = {
                "machine": f"compiled for TPU {given.kind}",
                "versions": compilers(),
                "columns": COLUMNS,
                "rows": rows,
            }
            command = ["python", "benchmarks/chips.py", str(given.record), given.kind]
            write_record(given.record, command, record)


if __name__ == "__main__":
    main()
