"""`jaxreid benchmark` prints a table or one JSON object per thing that it times."""

import dataclasses
import json
import re

import pytest
from commands import ROOT, run
from PIL import Image

from jaxreid.benchmark import attack, ranking, surrogates, worst
from jaxreid.benchmark.timing import Ceilings, Timing
from jaxreid.benchmark.work import program_cost
from jaxreid.cli.benchmark import group
from jaxreid.models import ARCHITECTURES, ViTConfig
from jaxreid.models.cpu import attention
from jaxreid.models.resnet import RESNETS

ATTACK = ("--architecture", "tiny", "--size", "16x8", "--steps", "2", "--repeats", "1")
SECOND = Timing(2.0, (1.0,))
FEW = ("plain", "GOAT (4,1)")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A network that takes less time to compile than those of the package."""
    config = dataclasses.replace(ARCHITECTURES["resnet_patch"], depths=(1,), widths=(4,))
    for table in (ARCHITECTURES, RESNETS):
        monkeypatch.setitem(table, "tiny", config)


@pytest.fixture
def ceilings(monkeypatch):
    """Known ones: to measure them takes a good machine seconds, and a busy one minutes."""
    monkeypatch.setattr(attack, "measure_ceilings", lambda dtype, devices: Ceilings(1e12, 1e11))


def output_of(capsys, *words):
    code, out, err = run(capsys, "benchmark", *words)
    assert code == 0, err
    return out


def test_the_table_of_attacks(ceilings, capsys):
    words = ("--batch", "2", "--no-rivals", "--attack", "sma")
    text = " ".join(output_of(capsys, "attack", *ATTACK, *words).split())
    for found in ("image-steps/s", "of a matrix product's 1,000;", "of memory beside", "jaxlib"):
        assert found in text


def test_a_cpu_s_devices_share_a_batch_and_exchange_nothing(ceilings, capsys, monkeypatch):
    def cost(program):
        programs.append(program)
        return program_cost(program)

    programs = []
    monkeypatch.setattr(attack, "program_cost", cost)
    vit = ViTConfig(width=16, depth=1, heads=2, patch=8)
    monkeypatch.setitem(ARCHITECTURES, "tiny", vit)
    # Attention goes through the batch in blocks, which whoever splits arrays must gather again.
    monkeypatch.setattr(attention, "_WEIGHTS", 1)
    words = ("--architecture", "tiny", "--size", "16x8", "--steps", "1", "--repeats", "1")
    result = json.loads(
        output_of(capsys, "attack", *words, "--batch", "6", "--no-rivals", "--json")
    )
    assert result["devices"] == 2  # of the four, those that divide six images
    (program,) = programs
    assert "num_partitions=2" in program.as_text()
    exchanged = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    assert not any(f" {name}" in program.as_text() for name in exchanged)


@pytest.mark.slow
def test_attacks_on_two_devices_after_a_search(capsys):
    words = ("--auto-batch", "--devices", "2", "--no-rivals", "--json")
    result = json.loads(output_of(capsys, "attack", *ATTACK, *words))
    assert list(result["timings"]) == ["jaxreid"]
    assert list(result["batches"]) == ["2"]
    assert str(result["batch_size"]) in result["batches"]["2"]
    assert result["program_flops"] > 0
    assert result["compile_seconds"] > 0
    assert result["batch_size"] % 2 == 0
    assert result["flops"] > 0
    assert result["ceilings"]["flops"] > 0
    assert result["machine"]["versions"]["jax"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drawn.svg", "drawn.png"])
def test_the_plot_shows_all_numbers_of_devices(ceilings, capsys, tmp_path, name):
    words = ("--devices", "2", "--no-rivals", "--plot", tmp_path / name)
    text = output_of(capsys, "attack", *ATTACK, *words)
    assert "1 device(s)" in text
    assert "2 device(s)" in text
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(".svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert all(words in drawn for words in ("1 device<", "2 devices<", "fna, tiny"))
    else:
        assert Image.open(tmp_path / name).format == "PNG"


@pytest.mark.torch
def test_rivals_compute_the_same_features(ceilings, capsys):
    result = json.loads(output_of(capsys, "attack", *ATTACK, "--batch", "2", "--json"))
    assert {"PyTorch, as the paper's code", "PyTorch, at its best"} <= set(result["timings"])
    assert max(result["agreement"].values()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_training_steps(capsys, as_json):
    words = ("--architecture", "tiny", "--size", "16x8", "--batch", "4", "--repeats", "1", "--few")
    text = output_of(capsys, "goat", *words, *(["--json"] if as_json else []))
    if as_json:
        printed = json.loads(text)
        assert set(printed["timings"]) == {"forward", "image gradient", *FEW}
        assert set(printed["predicted"]) == set(FEW)
    else:
        for found in ("ms per", "x sum of", "GOAT (4,1)", "forward"):
            assert found in text


def test_guides(capsys, monkeypatch):
    times = {name: Timing(2.0, (1.0,)) for name in ("centroids", "furthest other identity")}
    monkeypatch.setattr(ranking, "benchmark_guides", lambda size, repeats: times)
    words = ("guides", "--size", "tiny", "--repeats", "1")
    assert "furthest other identity" in output_of(capsys, *words)
    assert len(json.loads(output_of(capsys, *words, "--json"))["centroids"]["runs"]) == 1
    assert "jaxreid benchmark guides --size market1501" in output_of(capsys, "guides", "-h")


def test_guides_have_the_sizes_of_ranking():
    chosen = [
        next(each for each in command.params if each.name == "size").type.choices
        for command in (group.guides, group.ranking)
    ]
    assert chosen[0] == chosen[1] == tuple(ranking.GUIDES_SIZES) == tuple(ranking.SIZES)


def test_ranking(capsys):
    words = ("ranking", "--size", "tiny", "--repeats", "1")
    text = output_of(capsys, *words)
    for line in ("product", "ranking", "argsort", "ranking / bare product in float32, from"):
        assert line in text
    assert re.search(r"peak memory in ranking: \+\d+ MB, (process|device)\n", text)
    result = json.loads(output_of(capsys, *words, "--no-argsort", "--json"))
    assert result["size"] == "tiny"
    assert set(result["seconds"]) == {"product", "ranking"}


@pytest.mark.parametrize("as_json", [False, True])
def test_surrogates(capsys, monkeypatch, as_json):
    found = surrogates.SurrogatesBenchmark(
        "tiny", "resnet18", 2, 7, {"network": SECOND, "margin": SECOND}, {"margin": 0.25}
    )
    monkeypatch.setattr(surrogates, "benchmark_surrogates", lambda *_, **__: found)
    words = ("surrogates", "--gallery", "tiny", "--batch", "2", *(["--json"] if as_json else []))
    text = output_of(capsys, *words)
    if as_json:
        assert json.loads(text)["shares"] == {"margin": 0.25}
    else:
        for part in ("margin", "25.00%", "1,000.0", "at most 7 matches"):
            assert part in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("attack", "--devices", "3", "--batch", "4"), "3 devices do not divide a batch of 4"),
        (("attack", "--plot", "drawn.pdf"), "a name that ends in .svg or .png, got drawn.pdf"),
        (("attack", "--plot", "nowhere/drawn.svg"), "there is no folder nowhere"),
        (("attack", "--devices", "99"), "devices: there are 4, not 99"),
        (("attack", "--architecture", "resnet5"), "architecture: expected one of resnet18"),
        (("compile", "--architecture", "resnet5"), "architecture: expected one of resnet18"),
        (("compile", "--program", "goat"), "--program and --devices belong to a --target"),
        (("compile", "--target", "tpu:v9:2x2"), "target: expected cuda, rocm, or one of tpu:v5e"),
        (("compile", "--target", "cuda", "--devices", "2"), "cuda is lowered for one device"),
        (("compile", "--target", "cuda", "--stride", "12"), "--stride: an architecture's own"),
        (
            ("compile", "--target", "cuda", "--architecture", "resnet5", "--program", "plain"),
            "unknown architecture 'resnet5'; there are resnet18",
        ),
        (("attack", "--stride", "12"), "stride belongs to vision transformers; a ResNet has none"),
        (
            ("attack", "--architecture", "vit_base", "--size", "8x8"),
            "images (8, 8) are smaller than a 16 patch",
        ),
        (("guides", "--size", "huge"), "'huge' is not one of"),
        (("ranking", "--size", "huge"), "'huge' is not one of"),
        (("data", "--images", "5", "--repeats", "1"), "need 64 images or more"),
        (("train", "--preset", "synthetik"), "did you mean 'synthetic'?"),
        (("train", "--config.batch.sise=8"), "did you mean 'batch.size'?"),
    ],
)
def test_bad_input(capsys, monkeypatch, words, message):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of `compile`'s processes
    code, _, err = run(capsys, "benchmark", *words)
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_the_worst_case(capsys):
    words = ("--architecture", "tiny", "--size", "16x8", "--gallery", "tiny", "--batch", "3")
    result = json.loads(output_of(capsys, "worst", *words, "--repeats", "1", "--json"))
    assert list(result["timings"]) == ["network alone", "annealed ap", "soft margin"]
    assert result["passes"] == {"annealed ap": 31, "soft margin": 17}


@pytest.mark.parametrize("as_json", [False, True])
def test_the_worst_case_per_query(capsys, monkeypatch, as_json):
    found = worst.WorstTimings({worst.PASS: SECOND, "margin": SECOND}, {"margin": 4}, 2, "tiny", 7)
    monkeypatch.setattr(worst, "benchmark_worst", lambda *_, **__: found)
    text = output_of(capsys, "worst", "--batch", "2", *(["--json"] if as_json else []))
    if as_json:
        assert json.loads(text)["passes"] == {"margin": 4}
    else:
        for part in ("margin", "500.0", "0.25", "500.0 ms per query that meets all"):
            assert part in text
