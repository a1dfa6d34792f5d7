"""The ablation of nna runs as written, says each thing once, and leaves the table of attacks."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import people
import pytest

from jaxreid.attacks import ATTACKS
from jaxreid.evaluation import LoaderSettings, RetrievalTest, conditions, robustness

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nna_ablation.py"
script = SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.mark.slow
def test_it_shows_what_evaluation_finds():
    before = dict(ATTACKS)
    loader = LoaderSettings(people.SIZE, batch_size=16)
    test = RetrievalTest(people.embed, people.query(), people.gallery(), loader=loader)
    few = {line: script.VARIANTS[line] for line in (*list(script.VARIANTS)[:2], "k = 10")}
    found = script.ablation(test, few)
    assert before == ATTACKS
    assert list(found) == ["clean images", *few, script.PLAIN]
    named = robustness(test, conditions(["fna", "nna"], [5]))
    fna, nna = (result.scores["market1501"] for result in named[1:])
    assert [found["clean images"], found["`fna`"]] == [named[0].scores["market1501"], fna]
    own = next(line for line, spec in script.VARIANTS.items() if spec == ATTACKS["nna"])
    assert found[own] == nna
    # Of this toy's seven images all that show others pull, whether 10 or 30 of them may.
    assert found["k = 10"] == nna
    text = script.table({"toy": found})
    mean, rank1 = 100 * nna.mean_average_precision, 100 * nna.rank1
    assert f"| {own} | {mean:.1f} / {rank1:.1f} |" in text
    assert len(text.splitlines()) == 2 + len(found)


def test_without_models_it_says_how_it_is_called(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["nna_ablation.py"])
    with pytest.raises(SystemExit):
        script.main()
    assert "models" in capsys.readouterr().err
