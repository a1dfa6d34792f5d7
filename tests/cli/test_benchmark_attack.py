"""`jaxreid benchmark attack` prints a table or one JSON object."""

import json

import pytest

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


def test_json_on_two_devices_after_a_search(capsys):
    words = ["--auto-batch", "--devices", "2", "--no-rivals", "--json"]
    result = json.loads(output_of(words, capsys))
    assert list(result["timings"]) == ["jaxreid"]
    assert str(result["batch_size"]) in result["batches"]
    assert result["batch_size"] % 2 == 0
    assert result["flops"] > 0
    assert result["ceilings"]["flops"] > 0
    assert result["machine"]["versions"]["jax"]


@pytest.mark.torch
def test_rivals_compute_the_same_features(capsys):
    result = json.loads(output_of(["--batch", "2", "--json"], capsys))
    assert {"PyTorch, as the paper's code", "PyTorch, at its best"} <= set(result["timings"])
    assert max(result["agreement"].values()) < 1e-5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "3", "--batch", "4"], "3 devices do not divide a batch of 4"),
        (["--devices", "99"], "devices: there are 4, not 99"),
        (["--architecture", "deit_tiny"], "architecture: expected one of resnet18"),
    ],
)
def test_bad_input(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "attack", *TINY, *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
