"""Attacks on this machine's accelerator against the golden numbers of `tests/golden/attacks.npz`.

    python benchmarks/golden_attacks.py out/golden-attacks-gpu.json

Writes a record for `benchmarks/tables.py`: of each attack the largest difference of a pixel in
float64, and how many pixels end elsewhere in float32, at full precision and at what the machine
does by default (TF32 on an NVIDIA GPU), where the sign of a gradient near zero may flip. Exits with
1 if a pixel is off by more than 1e-9 in float64, or one in a thousand elsewhere in float32 at full
precision. Images that are guided by themselves, whose gradient is rounding noise, do not count.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from record import ROOT, write_record

EXACT, SAME, ELSEWHERE = 1e-9, 1e-6, 1e-3
"""In float64 of a pixel; two pixels in float32; share of pixels that may end elsewhere."""

COLUMNS = ["attack", "float64, largest difference", "float32, elsewhere", "by default, elsewhere"]


def differences(dtype: str, precision: str | None) -> dict[str, Any]:
    """Attack -> how far each pixel is from the golden one."""
    import jax
    import numpy as np

    # That of tests/, which has the name of this one.
    golden = importlib.import_module("golden_attacks")
    numbers = np.load(ROOT / "tests" / "golden" / "attacks.npz")
    settings = {name: value for name, value in numbers.items() if value.ndim == 0}
    arrays = {name: value for name, value in numbers.items() if value.ndim}
    # All in one program: on an accelerator each takes seconds to compile.
    attacked = jax.jit(lambda arrays: golden.recomputed({**settings, **arrays}, np.dtype(dtype)))
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(precision):
        found = attacked(arrays)
        rows = {name: golden.rows_with_a_gradient(numbers, name) for name in found}
        return {
            name: np.abs(np.asarray(images) - numbers[f"adv_{name}"])[rows[name]]
            for name, images in found.items()
        }


def main() -> None:
    """Writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    exact, full, usual = (
        differences(*how)
        for how in (("float64", "highest"), ("float32", "highest"), ("float32", None))
    )
    largest = {name: float(off.max()) for name, off in exact.items()}
    shares = [
        {name: float((off > SAME).mean()) for name, off in of.items()} for of in (full, usual)
    ]
    command = ["python", "benchmarks/golden_attacks.py", str(given.record)]
    record = {
        "columns": COLUMNS,
        "rows": [
            [f"`{name}`", f"{largest[name]:.1e}", *(f"{share[name]:.2%}" for share in shares)]
            for name in largest
        ],
    }
    hardware = write_record(given.record, command, record)
    print(f"{given.record}: {hardware}; at most {max(largest.values()):.1e} off in float64")
    wrong = [n for n in largest if largest[n] > EXACT or shares[0][n] > ELSEWHERE]
    if wrong:
        sys.exit(f"not the golden numbers: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
