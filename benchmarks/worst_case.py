"""Measures the worst case of networks beside published attacks, and writes a record of it.

    python benchmarks/worst_case.py docs/benchmarks/worst-case-synthetic.json \
        --network undefended=runs/small/plain/last.safetensors \
        --network GOAT=runs/small/goat/last.safetensors --parts published,ensemble

Each row is a command of its own, which the record holds (`jaxreid evaluate` or
`benchmarks/objectives.py`), and is written to `--work` as soon as it is known: the same command
again goes on from there, and with `--known` it makes a table of what is there already.
"""

import argparse
import dataclasses
import hashlib
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from record import JAXREID, ROOT, printed, write_json, write_record

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.records import Result, RunFolder

CLEAN = "clean"
METRICS = ("mean_average_precision", "rank1")
OBJECTIVES = (
    ("cosine to the difference of means", "opposite_means"),
    ("matches against the 30 nearest others", "nearest_others"),
    ("margin", "margin"),
    ("soft margin, t 0.1", "soft_margin"),
    ("intruders, logarithm, t 0.1", "log_intruders"),
    ("SmoothAP, t 0.1", "smooth_ap"),
)
ANNEALED = "--temperatures 0.3,0.1,0.03 --steps 24"


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        title: of the attack.
        knowledge: what the attacker knows.
        options: what its command says beside network, dataset, eps, limit and seed.
        eps: in 1/255.
        draws: whether the seed changes anything.
        script: of this folder, in place of `jaxreid evaluate`.
    """

    title: str
    knowledge: str
    options: str
    eps: float
    draws: bool = True
    script: str = ""


def published(eps: float) -> Iterator[Row]:
    """Attacks as their authors have them."""
    yield Row(CLEAN, "", "--attacks odfa --steps 1", eps, draws=False)
    for name in ("sma", "odfa", "fna", "nna"):
        knowledge = "self" if name in ("sma", "odfa") else "guides"
        draws = name in ("sma", "nna")
        yield Row(name.upper(), knowledge, f"--attacks {name}", eps, draws)


def long(eps: float) -> Iterator[Row]:
    """FNA with more steps and more starts."""
    for steps in (100, 1000):
        yield Row(
            f"FNA, {steps:,} steps", "guides", f"--attacks fna --steps {steps}", eps, draws=False
        )
    yield Row("FNA, 20 restarts", "guides", "--attacks fna --restarts 20", eps)


def objectives(eps: float) -> Iterator[Row]:
    """One objective climbed by 100 adaptive steps, and one that is annealed."""
    for title, name in OBJECTIVES:
        options = f"--objective {name}"
        yield Row(title, "gallery", options, eps, draws=False, script="objectives.py")
    annealed = f"--objective smooth_ap {ANNEALED}"
    yield Row("SmoothAP, annealed", "gallery", annealed, eps, draws=False, script="objectives.py")


def ensemble(eps: float) -> Iterator[Row]:
    """The worst case."""
    yield Row("worst case, quick", "gallery", "--attacks worst --quick", eps)
    yield Row("worst case", "gallery", "--attacks worst", eps)


def knowledge(eps: float) -> Iterator[Row]:
    """The ensemble of an attacker who knows less."""
    for known in ("self", "guides"):
        yield Row("the same ensemble", known, f"--attacks worst --knowledge {known}", eps)


def doubled(eps: float) -> Iterator[Row]:
    """Whether the ensemble has arrived; of the first seed, since it costs four ensembles."""
    title = "worst case, everything doubled"
    yield Row(title, "gallery", "", eps, draws=False, script="doubled.py")


def budgets(eps: float) -> Iterator[Row]:
    """What a curve over eps needs."""
    for name in ("fna", "nna"):
        yield Row(name.upper(), "guides", f"--attacks {name}", eps, draws=name == "nna")
    yield from ensemble(eps)


PARTS = {
    each.__name__: each
    for each in (published, long, objectives, ensemble, knowledge, doubled, budgets)
}
USUAL = [name for name in PARTS if name != "budgets"]


def command_of(row: Row, path: str, seed: int, given: argparse.Namespace) -> list[str]:
    """The command that measures a row of a network, without where it writes to."""
    words = [path, "--dataset", given.dataset, *shlex.split(row.options), "--eps", f"{row.eps:g}"]
    for name in ("limit", "data_dir"):
        value = getattr(given, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    if row.script:
        return ["python", f"benchmarks/{row.script}", *words, "--seed", str(seed)]
    # `--seeds 1` would be a number of seeds: a comma makes it a list.
    return ["jaxreid", "evaluate", *words, "--seeds", f"{seed},"]


def run(words: list[str], folder: Path, *, clean: bool) -> dict[str, Any]:
    """Runs a command; gives the numbers of its result, or of the clean images beside it."""
    if words[0] == "python":
        script = [sys.executable, str(ROOT / words[1]), *words[2:], "--json"]
        script += ["--out", str(folder)] if words[1].endswith("doubled.py") else []
        found: dict[str, Any] = json.loads(printed(script))
        return found
    printed([*JAXREID, *words[1:], "--examples", "0", "--out", str(folder)])
    results = RunFolder.open(folder).results()
    return numbers_of(next(r for r in results if (r.condition.attack == CLEAN) == clean))


def numbers_of(result: Result) -> dict[str, Any]:
    """What the tables need of a result."""
    score, condition = result.scores[MAIN_PROTOCOL], result.condition
    found: dict[str, Any] = {
        "mean_average_precision": score.mean_average_precision,
        "rank1": score.rank1,
        "passes": condition.steps * condition.restarts if result.attacked else 0,
        "seconds": result.seconds,
    }
    if result.worst is not None:
        members = result.worst.members
        found["passes"] = sum(member.passes for member in members) / max(result.attacked, 1)
        found["members"] = [dataclasses.asdict(member) for member in members]
    return found


def measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row of every network and seed, from the work folder where it holds them."""
    given.work.mkdir(parents=True, exist_ok=True)
    parts = [PARTS[name](eps) for eps in given.eps for name in given.parts]
    for row in (row for part in parts for row in part):
        for name, _, path in (text.partition("=") for text in given.network):
            for seed in given.seeds if row.draws else given.seeds[:1]:
                words = command_of(row, path, seed, given)
                command = shlex.join(words)
                folder = given.work / hashlib.sha256(command.encode()).hexdigest()[:12]
                known = folder.with_suffix(".json")
                if given.known and not known.exists():
                    continue
                if not known.exists():
                    print(command, file=sys.stderr, flush=True)
                    write_json(known, run(words, folder, clean=row.title == CLEAN))
                fields = {**row._asdict(), "network": name, "seed": seed, "command": command}
                yield {**fields, **json.loads(known.read_text(encoding="utf-8"))}


def table(found_rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; over seeds the mean, and how far one is from it."""
    networks = list(dict.fromkeys(row["network"] for row in found_rows))
    budgets = {row["eps"] for row in found_rows}
    lines: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in found_rows:
        key = (
            row["title"],
            row["knowledge"],
            f"{row['eps']:g}",
            f"{row['script']} {row['options']}".strip(),
        )
        lines.setdefault(key, {}).setdefault(row["network"], []).append(row)
    rows = []
    for (title, knowledge, eps, command), found in lines.items():
        passes = [statistics.fmean(row["passes"] for row in each) for each in found.values()]
        # Networks differ in how many queries still have something to lose.
        bounds = dict.fromkeys(f"{amount:,.0f}" for amount in (min(passes), max(passes)))
        cells = [
            " / ".join(percent(found[name], metric) for metric in METRICS) if name in found else ""
            for name in networks
        ]
        budget = [eps] if len(budgets) > 1 else []
        rows.append([title, *budget, knowledge, " to ".join(bounds), *cells, f"`{command}`"])
    columns = ["", *(["eps"] if len(budgets) > 1 else []), "knows", "passes per query"]
    return [*columns, *(f"{name}: mAP / rank-1" for name in networks), "command"], rows


def percent(rows: list[dict[str, Any]], metric: str) -> str:
    """The mean over seeds in %, and the largest distance from it where one can see it."""
    values = [100 * row[metric] for row in rows]
    mean = statistics.fmean(values)
    spread = max(abs(value - mean) for value in values)
    return f"{mean:.1f}" + (f" ± {spread:.1f}" if spread >= 0.05 else "")


def arguments() -> argparse.ArgumentParser:
    """The command line."""

    def listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("--network", action="append", required=True, help="NAME=FILE, repeatedly")
    parser.add_argument("--dataset", default="synthetic_reid")
    parser.add_argument("--data-dir")
    parser.add_argument("--parts", type=listed(str), default=USUAL, help=", ".join(PARTS))
    parser.add_argument("--eps", type=listed(float), default=[5.0], help="in 1/255, with commas")
    parser.add_argument("--seeds", type=listed(int), default=[0], help="with commas")
    parser.add_argument("--limit", type=int, help="queries, evenly spaced")
    parser.add_argument("--known", action="store_true", help="measure nothing")
    parser.add_argument("--work", type=Path, default=Path("runs/worst-case"))
    return parser


def main() -> None:
    """Measures what is not known yet, and writes the record."""
    given = arguments().parse_args()
    rows = list(measured(given))
    columns, lines = table(rows)
    # The command that measures, also where this one did not.
    words = [word for word in sys.argv[1:] if word != "--known"]
    record = {"columns": columns, "rows": lines, "measured": rows}
    write_record(given.record, ["python", "benchmarks/worst_case.py", *words], record)
    print(f"{given.record}: {len(rows)} rows")


if __name__ == "__main__":
    main()
