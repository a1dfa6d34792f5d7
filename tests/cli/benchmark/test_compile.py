"""`jaxreid benchmark compile`: the time it takes, and what programs do on chips not here."""

import dataclasses
import json

import jax
import pytest
from commands import ROOT, run

from jaxreid.benchmark.targets import counting
from jaxreid.benchmark.targets.cost import Cost
from jaxreid.benchmark.targets.counting import Floors
from jaxreid.benchmark.targets.programs import PROGRAMS, Network
from jaxreid.cli.benchmark.compile import _PROGRAMS
from jaxreid.errors import InputError
from jaxreid.models import ARCHITECTURES, ViTConfig
from jaxreid.models.resnet import RESNETS


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A network that takes less time to compile than those of the package."""
    config = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    for table in (ARCHITECTURES, RESNETS):
        monkeypatch.setitem(table, "tiny", config)


def output_of(capsys, *words):
    code, out, err = run(capsys, "benchmark", *words)
    assert code == 0, err
    return out


@pytest.mark.slow
def test_compilations(capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ("--architecture", "resnet_patch", "--size", "16x8", "--batch", "2", "--json")
    starts = json.loads(output_of(capsys, "compile", *words))
    assert list(starts) == ["empty cache", "filled cache"]
    for start in starts.values():
        assert 0 < start["compile_seconds"] < start["process_seconds"]


@pytest.mark.parametrize("as_json", [False, True])
def test_programs_for_a_target(capsys, monkeypatch, as_json):
    cost = Cost(64e9, 128e6, 32_000_000, 10**9, 2 * 10**9, {"all-reduce": (52, 10_780_000)})
    floors = Floors(1e-3, 2e-3, 3e-3)

    def counted(target, programs, network, *, count):
        assert (target, count, network.batch_size) == ("tpu:v5e:2x2", 2, 8)
        for name in programs:
            yield name, counting.Counted(2, 8, cost.flops, cost, floors, name == "attack")

    monkeypatch.setattr(counting, "count_for", counted)
    words = ("compile", "--target", "tpu:v5e:2x2", "--devices", "2", "--batch", "8", "--program")
    words += ("attack", "--program", "goat", *(["--json"] if as_json else []))
    text = output_of(capsys, *words)
    if as_json:
        record = json.loads(text)
        assert record["chip"]["flops"] == 197e12
        assert record["chip"]["source"] == "https://docs.cloud.google.com/tpu/docs/v5e"
        found = record["programs"]
        assert list(found) == ["attack", "goat"]
        assert found["goat"]["cost"]["collectives"] == {"all-reduce": [52, 10_780_000]}
        assert found["goat"]["per_image"] == {"flops": 8e9, "bytes": 16e6, "memory_bytes": 4e6}
        return
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines() if line.startswith("│")]
    [each, _, attack, goat] = [line[1:-1:2] for line in lines]
    # Per image: 64 GFLOP, 128 and 32 MB by 8 images.
    assert each == ["attack", "8", "8.00", "16.0", "4.0"]
    assert attack == ["attack", "1.00", "2.00", "3.00", "2.00", "1.00", "yes"]
    assert goat[-1] == "no"  # more than the memory
    assert "goat: 52 all-reduce of 10.78 MB" in text
    said = " ".join(text.split())
    assert "197 TFLOP/s in bfloat16, memory 819 GB/s and 16 GB, links 200 GB/s in each" in said
    assert "https://docs.cloud.google.com/tpu/docs/v5e" in text


def test_all_programs_fit_a_terminal(capsys, monkeypatch):
    # What the largest programs of the pages ask for, and more.
    cost = Cost(64e12, 4567e9, 1234e9, 90 * 10**9, 388_000, {"all-gather": (1, 67_100_000)})
    floors = Floors(0.11462, 7.61e-7, 2.34e-7)

    def counted(target, programs, network, *, count):
        for name in programs:
            yield name, counting.Counted(256, 3456, cost.flops, cost, floors, True)

    monkeypatch.setattr(counting, "count_for", counted)
    text = output_of(capsys, "compile", "--target", "tpu:v5p:16x20x28", "--dtype", "bfloat16")
    assert max(map(len, text.splitlines())) <= 80
    assert all(text.count(f" {name} ") >= 2 for name in PROGRAMS)
    assert "The images of a ranking are its queries." in text


def test_what_does_not_fit_is_said_and_the_others_are_counted(capsys, monkeypatch):
    said = "RESOURCE_EXHAUSTED: Ran out of memory, 21.04G exceed 15.75G.\n\nAnd so on."

    def compiled(chips, program):
        raise jax.errors.JaxRuntimeError(said)

    monkeypatch.setattr(counting, "compiled_for", compiled)
    chips = counting.Slice("tpu:v5e:2x2", counting.Chip(1, 1, 1, 1, (), ""), (None, None))
    monkeypatch.setattr(counting, "slice_of", lambda *_, **__: chips)
    words = ("compile", "--target", "tpu:v5e:2x2", "--architecture", "tiny", "--size", "16x8")
    words += ("--batch", "2", "--program", "features", "--program", "plain")
    found = json.loads(output_of(capsys, *words, "--json"))["programs"]
    assert list(found) == ["features", "plain"]
    for each in found.values():
        assert (each["fits"], each["cost"], each["devices"]) == (False, None, 2)
        assert each["flops"] > 0
    text = output_of(capsys, *words)
    assert "features does not fit: Ran out of memory, 21.04G exceed 15.75G." in text
    said = "INTERNAL: no"
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        counting._compiled("features", Network("tiny", (16, 8), 2, "float32", "fna", "tpu"), chips)


def test_what_was_counted_is_kept_where_a_program_fails(capsys, monkeypatch):
    def counted(target, programs, network, *, count):
        yield programs[0], counting.Counted(1, 2, 8.4e6, None, None, None)
        raise InputError("too large")

    monkeypatch.setattr(counting, "count_for", counted)
    words = ("compile", "--target", "cuda", "--program", "ranking", "--program", "goat")
    code, out, err = run(capsys, "benchmark", *words)
    assert code == 2
    assert "program goat failed" in err
    assert "too large" in err
    (row,) = [line.split() for line in out.splitlines() if line.startswith("│")]
    assert row[1:-1:2] == ["ranking", "2", "0.0042"]  # 8.4 MFLOP of two queries
    code, out, _ = run(capsys, "benchmark", *words, "--json")
    assert code == 2
    assert list(json.loads(out)["programs"]) == ["ranking"]


@pytest.mark.parametrize(
    ("target", "forms"), [("cuda", "gpu"), ("rocm", "gpu"), ("tpu:v5e:2x2", "tpu")]
)
def test_the_forms_of_a_target_are_named(capsys, monkeypatch, target, forms):
    def counted(target, programs, network, *, count):
        yield programs[0], counting.Counted(1, 2, 8.4e6, None, None, None)

    monkeypatch.setattr(counting, "count_for", counted)
    words = ("compile", "--target", target, "--program", "ranking", "--json")
    assert json.loads(output_of(capsys, *words))["network"]["target"] == forms


def test_programs_for_gpus_are_lowered_in_the_forms_of_gpus(monkeypatch):
    def lowered(platform, program):
        texts[platform] = lower(platform, program)
        return texts[platform]

    texts, lower = {}, counting.lowered_for
    monkeypatch.setattr(counting, "lowered_for", lowered)
    tiny = Network("tiny", (16, 8), 2, "float32", "fna", "cpu")
    list(counting.count_for("cuda", ["features"], tiny))
    by_forms = {
        forms: lower("cuda", PROGRAMS["features"](tiny._replace(target=forms), 1)).as_text()
        for forms in ("gpu", "cpu")
    }
    assert texts["cuda"].as_text() == by_forms["gpu"] != by_forms["cpu"]


def test_a_transformer_is_made_for_the_size_of_the_images(capsys, monkeypatch):
    vit = ViTConfig(image_size=(24, 24), width=16, depth=1, heads=2, patch=8)
    monkeypatch.setitem(ARCHITECTURES, "tiny", vit)
    words = ("--architecture", "tiny", "--size", "16x8", "--batch", "2", "--program", "plain")
    found = json.loads(output_of(capsys, "compile", "--target", "cuda", *words, "--json"))
    assert found["programs"]["plain"]["images"] == 2


def test_programs_are_offered_by_their_names():
    assert list(_PROGRAMS) == list(PROGRAMS)


def test_programs_for_gpus(capsys):
    words = ("--architecture", "tiny", "--size", "16x8", "--batch", "2", "--program", "features")
    text = output_of(capsys, "compile", "--target", "cuda", *words)
    assert "GFLOP" in text
    assert "features" in text
