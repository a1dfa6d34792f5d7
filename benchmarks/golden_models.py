"""How far our networks are from the same ones in their own projects' code: docs/models.md.

    python benchmarks/golden_models.py docs/benchmarks/golden-models.json

Weights, images and expected numbers are those of `tests/golden/models`: weights by recipe, noise
and images of 16x8 blocks, features, what is on the other side of the neck, and the gradient of
sum (feature - 1)^2 to the pixels of an image, from the projects' code in float64. Each network is
computed in a process of its own, in float64 and in float32, and written to `--work` as soon as it
is known: the same command again goes on from there, and with `--known` it makes a table of what is
there already. Programs are compiled without most optimisations, as in the tests.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from record import ROOT, printed, write_json, write_record

GOLDEN = ROOT / "tests" / "golden"
PRECISIONS = ("float64", "float32")
FAMILIES = {
    "clipreid": "CLIP-ReID",
    "fast-reid": "fast-reid",
    "fast-reid v0.1.1": "fast-reid v0.1.1",
    "solider": "SOLIDER",
    "torchreid": "torchreid",
    "transreid": "TransReID",
    "tssl": "TransReID-SSL",
}


def errors_of(name: str) -> dict[str, Any]:
    """Family and relative errors of a network, by precision."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
    import jax
    import numpy as np

    # That of tests/, which has the name of this one.
    sys.path.insert(0, str(ROOT / "tests"))
    golden_models = importlib.import_module("golden_models")
    expected = golden_models.GoldenModel(GOLDEN, name)
    found: dict[str, Any] = {"family": FAMILIES[expected.meta["family"]], "network": name}
    for precision in PRECISIONS:
        with jax.enable_x64(precision == "float64"):
            model = expected.load(dtype=np.dtype(precision))
            features = golden_models.feature_errors(model, expected, dtype=precision)
            gradient = golden_models.gradient_errors(model, expected, dtype=precision)
        found[precision] = {"features": features, "gradient": gradient}
    return found


def measured(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The errors of all networks that are known by now."""
    given.work.mkdir(parents=True, exist_ok=True)
    every = sorted(path.stem for path in (GOLDEN / "models").glob("*.npz"))
    found = []
    for name in every:
        path = given.work / f"{name}.json"
        wanted = not given.known and name in (given.networks or every)
        if wanted and not path.exists():
            row = json.loads(printed([sys.executable, __file__, "--one", name]))
            write_json(path, row)
            print(f"{name}: {worst(row)}", flush=True)
        if path.exists():
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return found


def worst(row: dict[str, Any]) -> list[str]:
    """The largest errors of features and of the gradient, in float64 and in float32."""
    return [
        f"{max(row[precision][part].values()):.1e}"
        for precision in PRECISIONS
        for part in ("features", "gradient")
    ]


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, nargs="?", help="the .json file to write")
    parser.add_argument("--networks", type=lambda text: text.split(","), help="only these")
    parser.add_argument("--known", action="store_true", help="measure nothing")
    parser.add_argument("--work", type=Path, default=Path("runs/golden-models"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measures what is not known yet, and writes the record."""
    given = arguments().parse_args()
    if given.one is not None:
        print(json.dumps(errors_of(given.one)))
        return
    rows = measured(given)
    if given.record is None:
        return
    # The command that measures, also where this one did not.
    words = [word for word in sys.argv[1:] if word != "--known"]
    record = {
        "columns": [
            *("family", "network", "features", "gradient"),
            *("features, float32", "gradient, float32"),
        ],
        "rows": [[row["family"], f"`{row['network']}`", *worst(row)] for row in rows],
        "measured": rows,
    }
    write_record(given.record, ["python", "benchmarks/golden_models.py", *words], record)
    print(f"{given.record}: {len(rows)} networks")


if __name__ == "__main__":
    main()
