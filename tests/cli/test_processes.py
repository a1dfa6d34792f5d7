"""Commands as two processes type them: the results of one, which may go on with them."""

import json
import math
import shutil

import numpy as np
import pytest
from commands import EMBEDDING, EMBEDDINGS, ended, start
from evaluations import WORDS, results
from PIL import Image
from trainings import free_port

from jaxreid.processors import usable_processors
from jaxreid.records import CARD_FILE, CERTIFICATE_FILE, Card, Certificate, RankingAttacks


def same(one, other, least=4):
    assert results(other) == results(one)
    arrays = sorted(path.relative_to(one) for path in one.rglob("*.npz"))
    assert len(arrays) >= least
    assert arrays == sorted(path.relative_to(other) for path in other.rglob("*.npz"))
    for path in arrays:
        expected, found = np.load(one / path), np.load(other / path)
        assert found.files == expected.files
        for name in expected.files:
            given = expected[name], found[name]
            if given[0].dtype.kind == "f":
                np.testing.assert_allclose(given[1], given[0], rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(given[1], given[0])


def as_one_and_as_two(words, where):
    """Runs WORDS into "one", then by two processes into "two"; gives what was printed."""
    code, table, err = ended(start(*words, "--out", "one", **where))
    assert code == 0, err
    address = ("--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2)
    both = [
        start(*words, "--out", "two", *address, "--process", process, **where) for process in (0, 1)
    ]
    first, second = map(ended, both)
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    return table, first, second


@pytest.fixture
def where(tmp_path, tiny_data, compiled):
    """What `start` is to know: modules of the user's in a folder, data, compiled programs."""
    (tmp_path / "mine.py").write_text(EMBEDDING, encoding="utf-8")
    (tmp_path / "ours.py").write_text(EMBEDDINGS, encoding="utf-8")
    return {"data": tiny_data, "cache": compiled, "cwd": tmp_path}


@pytest.mark.slow
def test_two_processes_evaluate_as_one_and_one_goes_on_for_them(where, tmp_path):
    table, first, second = as_one_and_as_two(WORDS, where)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    # A CPU of one process is several devices; those of several processes are one each.
    devices = [json.loads((run / "run.json").read_text())["devices"] for run in (one, two)]
    assert devices == [f"{math.gcd(usable_processors(), 4)} x cpu", "2 x cpu"]
    attacks = [line["condition"]["attack"] for line in results(one)]
    assert attacks == ["clean", "sma", "fna", "worst-1-quick"]
    same(one, two)
    # Only the first one speaks.
    rows = [line for line in table.splitlines() if line.startswith(("  clean", "  sma", "  fna"))]
    assert len(rows) == 3
    assert all(row in first[1].splitlines() for row in rows)
    assert not any(row in second[1].splitlines() for row in rows)

    # As if the two had been stopped after the first attack.
    shutil.copytree(two, three)
    lines = (two / "results.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (three / "results.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    for attack in ("fna", "worst"):
        for path in three.rglob(f"{attack}*"):
            path.unlink()
    code, _, err = ended(start(*WORDS, "--out", "three", **where))
    assert code == 0, err
    assert "sma, eps 5" not in err
    assert "fna, eps 5" in err
    same(one, three)


@pytest.mark.slow
def test_two_processes_certify_as_one(where, tmp_path):
    words = ("certify", "mine:embed", "--dataset", "synthetic_reid/tiny", "--samples", 64)
    words += ("--gallery-samples", 16, "--radii", "0,0.02,0.2", "--attack", "--batch-size", 16)
    _, first, second = as_one_and_as_two(words, where)
    assert "not certified" in first[1]
    assert "certified" not in second[1]
    one, two = (Certificate.load(tmp_path / name / CERTIFICATE_FILE) for name in ("one", "two"))
    assert one.clean == two.clean
    assert one.levels == two.levels
    assert one.levels[1].attacked is not None
    assert two.error == pytest.approx(one.error, rel=1e-4)
    said = [np.load(tmp_path / name / "certificate.npz") for name in ("one", "two")]
    np.testing.assert_allclose(said[1]["radius"], said[0]["radius"], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_attack_ranks_as_one(where, tmp_path):
    words = ("ers", "mine:embed", "--dataset", "synthetic_reid/tiny", "--steps", 3)
    words += ("--attacks", "ca+,es", "--random-start", "--best-iterate", "--batch-size", 16)
    _, first, second = as_one_and_as_two(words, where)
    assert "CA+" in first[1]
    assert "CA+" not in second[1]
    one, two = (RankingAttacks.load(tmp_path / name).attacks for name in ("one", "two"))
    assert [each.attack for each in one] == [each.attack for each in two] == ["ca+", "es"]
    for single, double in zip(one, two, strict=True):
        assert (single.climb, single.trials) == (double.climb, double.trials)
        for measure, measured in single.measured.items():
            assert double.measured[measure].before == pytest.approx(measured.before, abs=1e-6)
            assert double.measured[measure].after == pytest.approx(measured.after, abs=1e-3)


@pytest.mark.slow
def test_two_processes_write_the_images_of_one(where, tmp_path):
    words = ("attack", "mine:embed", "--dataset", "synthetic_reid/tiny", "--attack", "fna")
    _, first, second = as_one_and_as_two((*words, "--steps", 3, "--batch-size", 16), where)
    assert "22 images, changed by at most 3/255" in first[1]
    assert "22 images" not in second[1]
    folders = [tmp_path / name for name in ("one", "two")]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    guided = [
        {
            name: (entry["source"], entry["push"], entry["pull"])
            for name, entry in each["files"].items()
        }
        for each in manifests
    ]
    assert len(guided[0]) == 22
    assert guided[1] == guided[0]
    levels = [
        np.stack([np.asarray(Image.open(folder / name), int) for name in guided[0]])
        for folder in folders
    ]
    # Where a gradient is near zero, rounding turns its sign: three steps of a level, there or back.
    apart = np.abs(levels[1] - levels[0])
    assert apart.max() <= 6
    assert np.mean(apart > 0) < 1e-3


@pytest.mark.slow
def test_two_processes_transfer_as_one(where, tmp_path):
    words = ("transfer", "ours:first", "ours:second", "--dataset", "synthetic_reid/tiny")
    words += ("--attack", "fna", "--steps", 3, "--batch-size", 16)
    _, first, second = as_one_and_as_two(words, where)
    assert "made on" in first[1]
    assert "made on" not in second[1]
    one, two = (json.loads((tmp_path / n / "transfer.json").read_text()) for n in ("one", "two"))
    assert len(one["models"]) == 2
    assert two["models"] == one["models"]
    # Ranks are whole numbers: what is no tie in one layout is none in the other.
    assert len(one["cells"]) == 6
    assert two["cells"] == one["cells"]
    for label in one["models"]:
        same(tmp_path / "one" / label, tmp_path / "two" / label, least=3)


@pytest.mark.slow
def test_two_processes_audit_as_one(where, tmp_path):
    words = ("audit", "ours:first", "--dataset", "synthetic_reid/tiny", "--quick")
    words += ("--surrogate", "ours:second", "--examples", 0, "--batch-size", 16)
    _, first, second = as_one_and_as_two(words, where)
    assert "Can these figures be trusted?" in first[1]
    assert "trusted" not in second[1]
    one, two = (Card.load(tmp_path / name / CARD_FILE) for name in ("one", "two"))
    assert len(one.flags) >= 15
    for single, double in zip(one.flags, two.flags, strict=True):
        assert (double.name, double.raised) == (single.name, single.raised)
        assert (double.number is None) == (single.number is None)
        assert (double.number or 0) == pytest.approx(single.number or 0, rel=1e-3, abs=1e-4)
    same(tmp_path / "one", tmp_path / "two")
