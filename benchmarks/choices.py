"""What the choice of forms is worth on a TPU that is not here, as a record for a table.

    python benchmarks/choices.py docs/benchmarks/choices-v5e.json

compiles programs as they are and with one change of their source, for one v5e in bfloat16 and
images of 256x128, and counts both as `jaxreid benchmark compile` does. Each is compiled in a
process of its own; what the record holds already is not compiled again. Needs libtpu (pip install
'jaxreid[tpu]').
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

# Imported first, it lets JAX look for no TPU.
from chips import compilers, digits, known_rows
from record import printed, write_record

TARGET = "tpu:v5e:2x2"


class Choice(NamedTuple):
    """A row: a program, a network, a key of CHANGES or "", and how many images."""

    program: str
    architecture: str
    change: str
    images: int


CHOICES = (
    Choice("features", "resnet50", "", 32),
    Choice("features", "resnet50", "", 64),
    Choice("features", "resnet50", "", 160),
    Choice("attack", "resnet50", "", 32),
    Choice("attack", "resnet50", "", 64),
    Choice("attack", "resnet50", "1x1 convolutions as products", 64),
    Choice("attack", "resnet50", "", 128),
    Choice("attack", "resnet50", "1x1 convolutions as products", 128),
    Choice("attack", "resnet50", "objective summed over its guides", 128),
    Choice("attack", "vit_base", "", 16),
    Choice("attack", "vit_base", "", 32),
    Choice("attack", "vit_base", "attention of 4 images at a time", 32),
    Choice("attack", "vit_base", "", 128),
    Choice("attack", "vit_base", "attention of 4 images at a time", 128),
    Choice("attack", "vit_base", "attention computed again for its gradient", 128),
    Choice("plain", "resnet50", "", 32),
    Choice("plain", "resnet50", "state not donated", 32),
    Choice("goat", "resnet50", "", 32),
    Choice("goat", "resnet50", "state not donated", 32),
    Choice("goat", "resnet50", "all pushing guides at once", 32),
)
COLUMNS = [
    "program",
    "network",
    "changed",
    "images",
    "GFLOP per image",
    "MB per image, all memories",
    "MB per image, large memory",
    "GB held, results too",
]


@contextmanager
def _as_products() -> Iterator[None]:
    """As on a CPU or GPU."""
    from jaxreid.models import layers

    windows, product = layers._windows, layers._product

    def convolve(images: Any, kernel: Any, *, stride: int, **how: Any) -> Any:
        if kernel.shape[0] == stride == 1:
            return product(images, kernel)
        return windows(images, kernel, stride=stride, **how)

    with mock.patch.object(layers, "_windows", convolve):
        yield


@contextmanager
def _summed() -> Iterator[None]:
    """Squared distances one by one, in place of the closed form."""
    from jaxreid.attacks import objectives

    def height(features: Any, guides: Any) -> Any:
        places, weights = guides
        return (weights * ((features - places) ** 2).sum(-1)).sum()

    with (
        mock.patch.object(objectives, "_paraboloids", lambda *guides: guides),
        mock.patch.object(objectives, "_height", height),
    ):
        yield


@contextmanager
def _in_blocks() -> Iterator[None]:
    """Some images after the other, and what the derivative needs of each kept."""
    import jax

    from jaxreid.models import transformer

    attend = transformer._attend

    def in_blocks(query: Any, key: Any, value: Any, bias: Any, **how: Any) -> Any:
        def block(parts: Any) -> Any:
            query, key, value = parts
            return attend(query, key, value, bias, **how)

        size = min(4, len(query))  # of one image alone it is asked how wide a feature is
        blocks = [part.reshape(-1, size, *part.shape[1:]) for part in (query, key, value)]
        found = jax.lax.map(block, blocks)
        return found.reshape(query.shape)

    with mock.patch.object(transformer, "_attend", in_blocks):
        yield


@contextmanager
def _again() -> Iterator[None]:
    """Its weights, the largest arrays of a block, are not kept."""
    import jax

    from jaxreid.models import transformer

    attend = transformer._attend

    def again(query: Any, key: Any, value: Any, bias: Any, **how: Any) -> Any:
        return jax.checkpoint(partial(attend, **how))(query, key, value, bias)

    with mock.patch.object(transformer, "_attend", again):
        yield


@contextmanager
def _not_donated() -> Iterator[None]:
    import jax

    pmap = jax.pmap
    with mock.patch.object(
        jax, "pmap", lambda *given, donate_argnums, **more: pmap(*given, **more)
    ):
        yield


@contextmanager
def _at_once() -> Iterator[None]:
    """As on a CPU."""
    from jaxreid.training import adversaries

    with mock.patch.object(adversaries, "_together", return_value=True):
        yield


CHANGES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "1x1 convolutions as products": _as_products,
    "objective summed over its guides": _summed,
    "attention of 4 images at a time": _in_blocks,
    "attention computed again for its gradient": _again,
    "state not donated": _not_donated,
    "all pushing guides at once": _at_once,
}


def changed(name: str) -> AbstractContextManager[None]:
    """What is traced in the block has a change of CHANGES, or none for ""."""
    return CHANGES[name]() if name else nullcontext()


def counted(choice: Choice) -> dict[str, Any]:
    """What a program does per image, and holds."""
    from jaxreid.benchmark.targets.chips import slice_of
    from jaxreid.benchmark.targets.cost import cost_of
    from jaxreid.benchmark.targets.programs import PROGRAMS, Network, compiled_for

    network = Network(choice.architecture, (256, 128), choice.images, "bfloat16", "fna", "tpu")
    with changed(choice.change):
        program = PROGRAMS[choice.program](network, 1)
        compiled = compiled_for(slice_of(TARGET, count=1), program)
    cost, memory = cost_of(compiled, steps=program.steps), compiled.memory_analysis()
    assert memory is not None  # a TPU's programs have it
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "flops": cost.flops / choice.images,
        "bytes": cost.bytes / choice.images,
        "memory_bytes": cost.memory_bytes / choice.images,
        "held": cost.arguments + cost.temporaries + results,
    }


def row(choice: Choice, found: dict[str, Any]) -> list[str]:
    """What was counted, as cells."""
    return [
        choice.program,
        choice.architecture,
        choice.change,
        str(choice.images),
        digits(found["flops"] / 1e9, 2),
        digits(found["bytes"] / 1e6, 1),
        digits(found["memory_bytes"] / 1e6, 1),
        digits(found["held"] / 1e9, 2),
    ]


def main() -> None:
    """Adds to the record what it lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path, help="the .json file to write")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(counted(CHOICES[given.one])))
        return
    known = {tuple(line[:4]): line for line in known_rows(given.record, compilers())}
    places = [tuple(map(str, choice)) for choice in CHOICES]
    for number, place in enumerate(places):
        if place in known:
            continue
        print(", ".join(filter(None, place)), flush=True)
        command = [sys.executable, __file__, str(given.record), "--one", str(number)]
        known[place] = row(CHOICES[number], json.loads(printed(command)))
        record = {
            "machine": "compiled for one TPU v5e",
            "versions": compilers(),
            "columns": COLUMNS,
            "rows": [known[each] for each in places if each in known],
        }
        write_record(given.record, ["python", "benchmarks/choices.py", str(given.record)], record)


if __name__ == "__main__":
    main()
