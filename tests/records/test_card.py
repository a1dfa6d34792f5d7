"""The card of a model: written whole, read back as it was, refused where it is damaged."""

import dataclasses
import json

import pytest

from jaxreid.errors import InputError
from jaxreid.records import CARD_SCHEMA, Card, Figure, Flag, ThreatModel

FLAGS = (
    Flag("randomised", False, 0.0, 1e-3, "ratio", "Passes agree.", "Nothing."),
    Flag("above floor", True, 12.5, 1.0, "points", "It is above.", "Look for masking."),
    Flag("transfer", None, None, None, "share", "No surrogate.", "Name one."),
)
CARD = Card(
    title="GOAT on drawn people",
    command="jaxreid audit goat.safetensors --dataset synthetic_reid",
    model={"architecture": "resnet18", "sha256": "0" * 64},
    dataset={"name": "synthetic_reid"},
    settings={"size": [64, 32]},
    threat=ThreatModel("linf", 5.0, "query", "euclidean", "gallery"),
    versions={"jax": "0.10.2"},
    devices="1 x cpu",
    created="2026-01-01T00:00:00+00:00",
    clean=Figure(0.8, 0.9),
    attacks={"fna": Figure(0.24, 0.29)},
    worst=Figure(0.09, 0.02),
    ensemble="worst-1",
    best_known="worst-1",
    sample=32,
    flags=FLAGS,
)


def test_it_comes_back_as_it_was(tmp_path):
    assert Card.found(tmp_path) is None
    CARD.save(tmp_path)
    assert Card.load(tmp_path / "card.json") == Card.load(tmp_path) == CARD
    assert Card.found(tmp_path) == CARD
    assert [flag.name for flag in CARD.raised] == ["above floor"]
    # Written over, nothing of the former one is left.
    shorter = dataclasses.replace(CARD, flags=(), settings={})
    shorter.save(tmp_path)
    assert Card.load(tmp_path / "card.json") == shorter
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_it_is_json_that_other_programs_read(tmp_path):
    CARD.save(tmp_path)
    fields = json.loads((tmp_path / "card.json").read_text())
    assert fields["worst"] == {"mean_average_precision": 0.09, "rank1": 0.02}
    assert fields["threat"]["knowledge"] == "gallery"
    assert fields["flags"][2]["raised"] is None


def test_a_number_that_is_none_is_not_written(tmp_path):
    broken = dataclasses.replace(FLAGS[0], number=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(CARD, flags=(broken,)).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"worst": {"mean_average_precision": 1.5, "rank1": 0.0}}, "worst.mean_average_precision"),
        ({"threat": {**dataclasses.asdict(CARD.threat), "eps": -1.0}}, "threat.eps is -1"),
        ({"threat": {**dataclasses.asdict(CARD.threat), "knowledge": "all"}}, "threat.knowledge"),
        ({"sample": -3}, "sample is -3"),
        ({"best_known": "square"}, "best_known is 'square'"),
        ({"flags": [dataclasses.asdict(FLAGS[0])] * 2}, "same flag twice"),
        ({"flags": [{**dataclasses.asdict(FLAGS[0]), "number": None}]}, "flag randomised"),
        ({"flags": [{**dataclasses.asdict(FLAGS[0]), "name": "a\nb"}]}, "no name"),
        ({"flags": [{"name": "x"}]}, r"flags\[0\].raised is missing"),
        ({"attacks": {"fna": 0.5}}, "attacks.fna"),
        ({"verdict": "robust"}, "verdict is no field"),
        ({"schema": CARD_SCHEMA + 1}, f"this version of jaxreid reads {CARD_SCHEMA}"),
    ],
)
def test_a_damaged_one_is_refused_by_its_field(tmp_path, changed, named):
    path = tmp_path / "card.json"
    CARD.save(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(InputError, match=named) as refused:
        Card.load(path)
    assert "card.json" in str(refused.value)
    assert "jaxreid audit" in str(refused.value)


@pytest.mark.parametrize("content", [None, "", "[]", '{"schema": 1', b"\xff\xfe"])
def test_what_is_no_card_is_refused(tmp_path, content):
    path = tmp_path / "card.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"card\.json"):
        Card.load(path)
