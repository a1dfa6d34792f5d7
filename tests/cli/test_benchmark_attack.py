"""`jaxreid benchmark attack` prints a table or one JSON object."""

import json

import pytest
from PIL import Image

from jaxreid.cli import main

TINY = ["--architecture", "resnet_patch", "--size", "16x8", "--steps", "2", "--repeats", "1"]


def output_of(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "attack", *TINY, *words])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_table(capsys):
    text = output_of(["--batch", "2", "--no-rivals", "--attack", "sma"], capsys)
    for words in ("image-steps/s", "of a matrix product's", "of memory beside", "jaxlib"):
        assert words in " ".join(text.split())


@pytest.mark.slow
def test_json_on_two_devices_after_a_search(capsys):
    words = ["--auto-batch", "--devices", "2", "--no-rivals", "--json"]
    result = json.loads(output_of(words, capsys))
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
def test_the_plot_shows_all_numbers_of_devices(capsys, tmp_path, name):
    words = ["--devices", "2", "--no-rivals", "--plot", str(tmp_path / name)]
    text = output_of(words, capsys)
    assert "1 device(s)" in text
    assert "2 device(s)" in text
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(".svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert all(words in drawn for words in ("1 device<", "2 devices<", "fna, resnet_patch"))
    else:
        assert Image.open(tmp_path / name).format == "PNG"


@pytest.mark.torch
def test_rivals_compute_the_same_features(capsys):
    result = json.loads(output_of(["--batch", "2", "--json"], capsys))
    assert {"PyTorch, as the paper's code", "PyTorch, at its best"} <= set(result["timings"])
    assert max(result["agreement"].values()) < 1e-5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "3", "--batch", "4"], "3 devices do not divide a batch of 4"),
        (["--plot", "drawn.pdf"], "expected a name that ends in .svg or .png, got drawn.pdf"),
        (["--plot", "nowhere/drawn.svg"], "there is no folder nowhere"),
        (["--devices", "99"], "devices: there are 4, not 99"),
        (["--architecture", "deit_tiny"], "architecture: expected one of resnet18"),
    ],
)
def test_bad_input(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "attack", *TINY, *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
