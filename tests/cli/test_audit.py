"""`jaxreid audit`, as it is typed."""

import json
import sys

import pytest
from commands import run

from jaxreid.cli.audit_table import amount
from jaxreid.records import Card, RunFolder

MODULE = """
import jax.numpy as jnp
import numpy as np

WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(96, 16)), jnp.float32)


def embed(images):
    b, h, w, _ = images.shape
    small = images.reshape(b, 8, h // 8, 4, w // 4, 3).mean((2, 4))
    return jnp.tanh((small.reshape(b, -1) - 0.5) @ WEIGHTS)


def rounded(images):
    return embed(jnp.round(images * 15) / 15)
"""
TINY = ("--dataset", "synthetic_reid/tiny")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny_data))
    monkeypatch.delitem(sys.modules, "audited", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "audited.py").write_text(MODULE)
    return tmp_path


def test_a_network_with_a_masked_gradient_is_caught(capsys, place):
    words = ("audit", "audited:rounded", *TINY, "--quick", "--limit", 6, "--examples", 0)
    words += ("--surrogate", "audited:embed", "--title", "mine [bold]")
    code, out, err = run(capsys, *words, "--out", "out")
    assert code == 0, err
    card = Card.load(place / "out" / "card.json")
    names = {flag.name for flag in card.raised}
    assert {"no gradient", "backward pass", "random search"} <= names
    assert names <= {flag.name for flag in card.flags}
    assert len(card.flags) == 17
    # Nothing is known of what somebody's function needs.
    assert [flag.name for flag in card.flags if flag.raised is None] == ["preprocessing"]
    assert "warning: no gradient: 100 %, above 1 %" in err
    assert max(map(len, out.split("card: ")[0].splitlines()[:-1])) <= 80
    for name in names:
        assert f"  {name} " in out
    assert "do not trust these figures" in out
    # The figures are those of the run folder, which `evaluate` may go on with.
    results = {one.condition.attack: one for one in RunFolder.open(place / "out").results()}
    assert set(results) == {"clean", "worst-1-quick", *card.attacks}
    worst = results["worst-1-quick"].scores["market1501"]
    assert card.worst.mean_average_precision == worst.mean_average_precision
    assert card.title == "mine [bold]"
    assert card.threat.eps == 5
    assert card.model["function"] == "audited:rounded"
    assert card.command.startswith("jaxreid audit audited:rounded --dataset synthetic_reid/tiny")
    assert card.best_known in results

    code, out, err = run(capsys, *words, "--out", "out", "--strict", "--json")
    assert code == 1
    again = json.loads(out)
    assert "mAP" not in err  # nothing was attacked again but the sample
    assert again["worst"] == {"mean_average_precision": worst.mean_average_precision} | {
        "rank1": worst.rank1
    }
    assert again["flags"] == json.loads((place / "out" / "card.json").read_text())["flags"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--norm", "l2"), "--norm l2 needs --eps"),
        (("--eps", "0"), "eps is 0, at which nothing is attacked"),
        (("--surrogate", "audited:embed"), "is the model itself"),
        (("--surrogate", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_audited_is_one_line(capsys, place, words, said):
    code, out, err = run(capsys, "audit", "audited:embed", *TINY, *words, "--limit", 4)
    assert (code, out) == (2, "")
    assert said in err
    assert not (place / "runs").exists()


def test_amounts_are_in_the_unit_of_their_flag():
    assert amount(0.125, "share") == "12.5 %"
    assert amount(1.0, "share") == "100 %"
    assert amount(0.5, "points") == "0.50 points"
    assert amount(0.95, "ratio") == "0.95"
    assert amount(None, "share") == ""
