"""Writes the tables of some pages in docs/ from the records in docs/benchmarks/.

    python benchmarks/tables.py            rewrites them in place
    python benchmarks/tables.py --check    says whether they are up to date

A place for tables is a pair of marks in a page, with a name or a pattern of records:

    <!-- records: ranking-* -->
    <!-- end -->

A record is one JSON file: `date`, `machine`, `versions`, `commands`, and either `columns` and
`rows` as they are printed, or `benchmark` and the `result` of that benchmark's `--json`, and no
`rehearsal` (`benchmarks/record.py` writes such files). Needs the standard library only.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("benchmarks.md", "defenses.md", "models.md", "scaling.md")
PLACE = re.compile(r"(<!-- records: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Contestants of `jaxreid benchmark attack` -> what the table of families calls them.
FAMILIES = {
    "jaxreid": "jaxreid, frozen",
    "PyTorch, at its best": "PyTorch at its best",
    "PyTorch, at its best, compiled": "the same, compiled",
}

Table = tuple[list[str], list[list[str]], str]  # columns, rows, a closing sentence


def median(timing: dict[str, Any]) -> float:
    """Median seconds of the runs after the first."""
    return statistics.median(timing["runs"])


def ratio(numerator: dict[str, Any], denominator: dict[str, Any]) -> str:
    """Median of the ratios, taken round by round."""
    pairs = zip(numerator["runs"], denominator["runs"], strict=True)
    return f"{statistics.median(a / b for a, b in pairs):.2f}"


def attack(result: dict[str, Any]) -> Table:
    """Contestants, their speed, and by how much jaxreid is faster."""
    timings = result["timings"]
    work = result["batch_size"] * result["steps"]
    ours = timings["jaxreid"]
    rows = [
        [
            name,
            f"{work / median(timing):,.1f}",
            f"{median(timing):.3f}",
            "" if timing is ours else ratio(timing, ours),
            f"{timing['first']:.1f}",
        ]
        for name, timing in timings.items()
    ]
    rate, devices = work / median(ours), result["devices"]
    reached = rate * result["flops"]
    flops, bytes_per_second = result["ceilings"]["flops"], result["ceilings"]["bytes"]
    # Neither arithmetic nor memory lets an image's step pass in less time.
    floor = max(result["flops"] / flops, (result["bytes"] or 0) / bytes_per_second)
    batches: dict[str, float] = next(iter(result.get("batches", {}).values()), {})
    tried = ", ".join(f"{size}: {speed:,.1f}" for size, speed in batches.items())
    closing = [
        f"Batches of {result['batch_size']}, {result['steps']} steps: "
        f"{reached / 1e9:,.0f} GFLOP/s, {reached / flops:.0%} of what a bare matrix "
        f"product reached in the same run ({flops / 1e9:,.0f}), {rate * floor:.0%} of the "
        f"roofline, and {result['program_bytes'] / 1e6:,.0f} MB of memory beside weights "
        f"and images{f' on each of {devices} devices' if devices > 1 else ''}.",
        f"Images x steps per second by batch: {tried}." if tried else "",
        *(f"{name}: left out, {why}." for name, why in result["missing"].items()),
    ]
    columns = ["", "images x steps per second", "s per batch", "jaxreid is faster by"]
    return [*columns, "first call, s"], rows, " ".join(filter(None, closing))


def families(result: dict[str, Any]) -> Table:
    """One network of each family: ours, PyTorch's at its best, and the ratio of every round."""
    rows = []
    for row in result["rows"]:
        found = row["result"]
        timings = {name: found["timings"].get(name) for name in FAMILIES}
        work = found["batch_size"] * found["steps"]
        speeds = [f"{work / median(each):,.2f}" if each else "" for each in timings.values()]
        ours, *theirs = timings.values()
        rivals = [each for each in theirs if each]
        ratios = [min(rivals, key=median)["runs"]] if rivals else []
        rounds = [a / b for runs in ratios for a, b in zip(runs, ours["runs"], strict=True)]
        apart = max(found["agreement"].values(), default=None)
        rows.append(
            [
                row["name"].replace(" --", ", "),
                *speeds,
                f"{statistics.median(rounds):.2f} ({min(rounds):.2f} to {max(rounds):.2f})"
                if rounds
                else "",
                "" if apart is None else f"{apart:.0e}",
            ]
        )
    columns = ["images x steps per second", *FAMILIES.values()]
    columns += ["jaxreid is faster than the faster one by", "features differ by"]
    return columns, rows, ""


def ranking(result: dict[str, Any]) -> Table:
    """Exact ranks beside the bare distance product and a sort per query."""
    argsort = result["argsort_to_ranking"]
    columns = ["size", "ranking, s", "ranking / bare distance product"]
    columns += ["NumPy argsort per query / ranking", "extra memory"]
    row = [
        result["size"],
        f"{result['seconds']['ranking']:.3g}",
        f"{result['to_product']:.2f}",
        "not run" if argsort is None else f"{argsort:.2f}",
        f"{result['extra_bytes'] / 1e6:,.0f} MB of the {result['memory_of']}",
    ]
    return columns, [row], ""


def surrogates(result: dict[str, Any]) -> Table:
    """A step's look at the whole gallery, beside a step of the network."""
    rows = [
        [
            name,
            f"{1e3 * median(timing):,.1f}",
            f"{result['shares'][name]:.1%}" if name in result["shares"] else "",
        ]
        for name, timing in result["timings"].items()
    ]
    closing = (
        f"Batches of {result['batch_size']}, {result['architecture']} forwards and to the images, "
        f"gallery {result['size']}, at most {result['matches']} matches per row."
    )
    return ["", "ms per step", "of the network"], rows, closing


def goat(result: dict[str, Any]) -> Table:
    """Ways to train, beside plain training and the sum of their pieces."""
    timings = result["timings"]
    rows = [
        [
            name,
            f"{1e3 * median(timings[name]):,.0f}",
            f"{result['batch_size'] / median(timings[name]):,.0f}",
            ratio(timings[name], timings["plain"]),
            ratio(timings[name], timings["GOAT (4,1)"]),
            f"{median(timings[name]) / predicted:.2f}",
            f"{result['program_bytes'][name] / 1e6:,.0f}",
        ]
        for name, predicted in result["predicted"].items()
    ]
    columns = ["", "ms per batch", "images/s", "x plain", "x GOAT (4,1)", "x sum of pieces", "MB"]
    closing = f"Batches of {result['batch_size']}; MB of memory beside what a step is given."
    return columns, rows, closing


def worst(result: dict[str, Any]) -> Table:
    """The quick worst case per query, beside as many passes of the network alone."""
    timings, batch = result["timings"], result["batch_size"]
    alone = next(name for name in timings if name not in result["passes"])
    passes = {alone: 1, **result["passes"]}
    rows = [
        [
            name,
            str(passes[name]),
            f"{1e3 * median(timing) / batch:,.2f}",
            f"{median(timing) / passes[name] / median(timings[alone]):.2f}",
            f"{timing['first']:.1f}",
        ]
        for name, timing in timings.items()
    ]
    whole = sum(median(timings[name]) for name in result["passes"]) / batch
    columns = ["", "passes", "ms per query", "x as many passes alone", "first call, s"]
    closing = (
        f"{1e3 * whole:,.1f} ms per query that meets all attacks, {batch} at a time, gallery "
        f"{result['gallery']}, at most {result['matches']} matches per query."
    )
    return columns, rows, closing


def data(result: dict[str, Any]) -> Table:
    """Images read per second, beside a plain loop."""
    timings = result["timings"]
    plain = next(iter(timings.values()))
    rows = [
        [name, f"{result['images'] / median(timing):,.0f}", ratio(plain, timing)]
        for name, timing in timings.items()
    ]
    return ["", "images/s", "x plain loop"], rows, ""


def defenses(result: dict[str, Any]) -> Table:
    """Defenses in one budget, as `jaxreid benchmark defenses` writes the table itself."""
    return result["columns"], result["cells"], result["closing"]


def guides(result: dict[str, Any]) -> Table:
    """Milliseconds of each selection."""
    rows = [
        [name, f"{1e3 * median(timing):.1f}", f"{1e3 * timing['first']:,.0f}"]
        for name, timing in result.items()
    ]
    return ["", "ms", "first call, ms"], rows, ""


def train(result: dict[str, Any]) -> Table:
    """Images per second of the whole loop."""
    rows = [
        [
            name,
            f"{statistics.median(speed['images_per_second']):,.0f}",
            f"{statistics.median(speed['waiting']):.1%}",
        ]
        for name, speed in result.items()
    ]
    return ["", "images/s", "waiting for data"], rows, ""


def compilation(result: dict[str, Any]) -> Table:
    """Seconds until the first attack runs, in the first process and in the next."""
    rows = [[name, f"{start['compile_seconds']:.1f}"] for name, start in result.items()]
    return ["", "compilation, s"], rows, ""


TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {
    "attack": attack,
    "compile": compilation,
    "data": data,
    "families": families,
    "defenses": defenses,
    "goat": goat,
    "guides": guides,
    "ranking": ranking,
    "surrogates": surrogates,
    "train": train,
    "worst": worst,
}


def section(record: dict[str, Any]) -> str:
    """One record as Markdown: where and how it was measured, and the table."""
    if "rows" in record:
        columns, rows, closing = record["columns"], record["rows"], ""
    else:
        columns, rows, closing = TABLES[record["benchmark"]](record["result"])
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row must have {len(columns)} cells: {rows}")
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    commands = "; ".join(f"`{command}`" for command in record["commands"])
    where = f"*{record['date']}, {record['machine']}; {versions}.* {commands}"
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(
        "|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines
    )
    return "\n\n".join(filter(None, [where, table, closing]))


def read(path: Path) -> Any:
    """A record. One of a rehearsal ends this process, with a line that names it."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record.get("rehearsal"):
        sys.exit(f"{path}: a rehearsal wrote it, which measures nothing; remove it")
    return record


def rewritten(page: str, folder: Path) -> str:
    """The page with the tables of the records in a folder."""

    def fill(place: re.Match[str]) -> str:
        records = map(read, sorted(folder.glob(f"{place[2]}.json")))
        in_order = sorted(records, key=lambda record: record["date"])
        tables = "\n\n".join(map(section, in_order)) or "Not measured yet."
        return f"{place[1]}\n{tables}\n\n{place[3]}"

    return PLACE.sub(fill, page)


def main() -> None:
    """Rewrites the pages, or checks them; none of them where a record is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if stale")
    given = parser.parse_args()
    pages = {DOCS / name: (DOCS / name).read_text(encoding="utf-8") for name in PAGES}
    fresh = {path: rewritten(page, DOCS / "benchmarks") for path, page in pages.items()}
    for path in (path for path, page in pages.items() if fresh[path] != page):
        if given.check:
            sys.exit(f"{path}: tables are not those of docs/benchmarks/; run benchmarks/tables.py")
        path.write_text(fresh[path], encoding="utf-8")


if __name__ == "__main__":
    main()
