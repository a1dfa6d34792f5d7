"""The worst case with everything doubled: what a second helping of the ensemble would still find.

    python benchmarks/doubled.py runs/small/goat/last.safetensors --limit 100

Every ascent takes twice the steps and is followed by one more, from a random start; noise and the
random search draw twice as often. Published attacks stay what they are. With `--out` an interrupted
run goes on from that folder.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from objectives import opened

from jaxreid.constants import MAIN_PROTOCOL
from jaxreid.evaluation.worst import MemberSpec, members_of, worst_case
from jaxreid.records import Condition


def longer(one: MemberSpec) -> MemberSpec:
    """A member with twice the steps and twice the draws."""
    stages = tuple(stage._replace(steps=2 * stage.steps) for stage in one.stages)
    return one._replace(stages=stages, draws=2 * one.draws)


def twice(condition: Condition) -> tuple[MemberSpec, ...]:
    """The members of an ensemble, longer, and each ascent once more at the end."""
    specs = [longer(one) for one in members_of(condition)]
    again = [
        one._replace(name=f"{one.name} again", start="random")
        for one in specs
        if one.kind == "ascent"
    ]
    return (*specs, *again)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Gives mAP and rank-1 in [0, 1], and passes per query."""
    condition = Condition(attack="worst-1", eps=given.eps, seed=given.seed)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    found = worst_case(opened(given), condition, specs=twice(condition), folder=given.out)
    score, members = found.scored.scores[MAIN_PROTOCOL], found.worst.members
    return {
        "mean_average_precision": score.mean_average_precision,
        "rank1": score.rank1,
        "passes": sum(member.passes for member in members) / len(found.targets.indices),
        "seconds": found.seconds,
    }


def main() -> None:
    """Prints what is left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="a .safetensors file")
    parser.add_argument("--dataset", default="synthetic_reid")
    parser.add_argument("--data-dir")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eps", type=float, default=5.0, help="in 1/255")
    parser.add_argument("--limit", type=int, help="queries, evenly spaced")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="where to keep what is done")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measured(given)
    score = f"mAP {result['mean_average_precision']:.2%}, rank-1 {result['rank1']:.1%}"
    print(json.dumps(result) if given.json else f"{score}, {result['passes']:.0f} passes per query")


if __name__ == "__main__":
    main()
