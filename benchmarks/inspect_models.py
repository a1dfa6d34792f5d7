"""What `jaxreid inspect` says of a file of every family: docs/models.md.

    python benchmarks/inspect_models.py docs/benchmarks/inspect.json

Names and shapes are those of `tests/family_files.py`, which says where they are from; weights are
drawn by recipe, as for `benchmarks/golden_models.py`. Every file, of half a gigabyte at most, is
written to a temporary folder and removed again. A file that is refused, or of which anything is
asked, ends it.
"""

import argparse
import contextlib
import importlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import ROOT, write_record

GOLDEN = ROOT / "tests" / "golden"
FAMILIES = {
    "torchreid": "torchreid",
    "fast-reid": "fast-reid",
    "fast-reid-mgn": "fast-reid",
    "fast-reid-v0.1": "fast-reid's zoo",
    "transreid": "TransReID",
    "transreid-ssl": "TransReID-SSL",
    "clip-reid": "CLIP-ReID",
    "solider": "SOLIDER",
    "torchvision": "torchvision, timm",
    "timm": "timm",
}
COLUMNS = (
    *("family", "file of", "told", "architecture", "head", "classes", "size"),
    *("million parameters", "left out"),
)
COUNTER = ".num_batches_tracked"
# The part of a network that a tensor is of: base.blocks.11, base.fc, text_encoder.
PART = re.compile(r"(?:base\.)?\w+(?:\.\d+)?")


def inspected(path: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """What the command says of a file, as JSON."""
    from jaxreid.cli.inspect import inspect

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        inspect.main([str(path), "--json", *options], standalone_mode=False)
    found: dict[str, Any] = json.loads(said.getvalue())
    if found["problems"] or found["asked"]:
        sys.exit(f"{path}: {found['problems']} {found['asked']}")
    return found


def row_of(name: str, options: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    config = found["config"]
    size = config["training_size"] or config["backbone"].get("image_size")
    left = (tensor for tensor in found["ignored"] if not tensor.endswith(COUNTER))
    parts = dict.fromkeys(PART.match(tensor)[0] for tensor in left)  # type: ignore[index]
    return [
        FAMILIES[found["layout"]],
        name,
        f"`{' '.join(options)}`" if options else "",
        f"`{found['architecture']}`",
        config["head"],
        str(config["classes"]),
        "x".join(map(str, size)) if size else "not said",
        f"{found['parameters'] / 1e6:.2f}",
        ", ".join(f"`{part}`" for part in parts),
    ]


def measured() -> list[list[str]]:
    """The rows of all files."""
    from safetensors.numpy import save_file

    sys.path.insert(0, str(ROOT / "tests"))
    files = importlib.import_module("family_files")
    rows = []
    for name, file in files.FILES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_file(files.drawn(GOLDEN, file), path)
            rows.append(row_of(name, file.options, inspected(path, file.options)))
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    given = parser.parse_args()
    record = {"columns": list(COLUMNS), "rows": measured()}
    command = ["python", "benchmarks/inspect_models.py", given.record.as_posix()]
    write_record(given.record, command, record)


if __name__ == "__main__":
    main()
