"""Draws how clean and worst-case mAP grow with the number of people to learn from.

    python benchmarks/people.py

Reads docs/benchmarks/people-synthetic.json and writes docs/people.png.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"


def draw(record: Path, out: Path) -> None:
    """A line for clean images, and one for each budget of the record."""
    given = json.loads(record.read_text(encoding="utf-8"))
    people = [int(row[0].replace(",", "")) for row in given["rows"]]
    lines = given["columns"][2:-1]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for place, name in enumerate(lines):
        values = [float(row[2 + place].partition(" / ")[0]) for row in given["rows"]]
        shade = pyplot.colormaps["viridis"](place / len(lines))
        axes.plot(people, values, marker="o", color=shade)
        axes.annotate(name, (people[-1], values[-1]), (8, -3), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xticks(people, [f"{count:,}" for count in people])
    axes.minorticks_off()
    axes.set_xlim(people[0] * 0.9, people[-1] * 1.35)
    axes.set_ylim(0, 100)
    axes.set_xlabel("people to learn from, in about as many images")
    axes.set_ylabel("mAP in %, clean and in the worst case")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(DOCS / "benchmarks" / "people-synthetic.json", DOCS / "people.png")
