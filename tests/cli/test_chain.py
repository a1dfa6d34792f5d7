"""A Market-1501 folder that jaxreid finds on disk, from its files to a report, as it is typed."""

import json
import re

import pytest
from commands import ended, start
from PIL import Image
from trainings import COMMAND

from jaxreid.data.prepare import prepare_dataset
from jaxreid.records import RunFolder

SMALL = (
    "--config.model.architecture=tiny",
    "--config.dataset.size=32,16",
    "--config.batch.size=16",
    "--config.goat.steps=2",
    "--config.epochs=1",
    "--config.augmentation.pad=3",
)


def make_odd(folder):
    """Turns a few files into what one meets; gives their names."""
    progressive, grey, large, upper = sorted((folder / "bounding_box_train").glob("*.jpg"))[:4]
    Image.open(progressive).save(progressive, progressive=True, quality=90)
    Image.open(grey).convert("L").save(grey)
    Image.open(large).resize((75, 201)).save(large)
    upper.rename(upper.with_suffix(".JPG"))
    for part in ("bounding_box_train", "query"):
        (folder / part / "Thumbs.db").write_bytes(b"left by Windows")
    return progressive, grey, large


@pytest.fixture
def jaxreid(tmp_path):
    def run(*words):
        where = {"data": tmp_path / "data", "cache": tmp_path / "cache", "cwd": tmp_path}
        process = start(*words, **where, script=COMMAND)
        code, out, err = ended(process)
        assert code == 0, (words, err[-3000:])
        return out + err

    return run


def test_from_a_folder_of_jpegs_to_a_report(jaxreid, tmp_path):
    prepare_dataset("synthetic_reid/tiny", data_dir=tmp_path / "data", workers=1)
    jaxreid("data", "export", "synthetic_reid/tiny", "--layout", "market1501", "found")
    progressive, grey, large = make_odd(tmp_path / "found")
    assert Image.open(progressive).info["progressive"]
    assert (Image.open(grey).mode, Image.open(large).size) == ("L", (75, 201))

    told = jaxreid("data", "prepare", "market1501", "--subset", "--manual-dir", "found")
    assert re.search(r"^query +22 +8 ", told, re.MULTILINE)
    assert re.search(r"^gallery +58 ", told, re.MULTILINE)
    assert "ignored: 2 files that are no images" in told
    counts = re.findall(r"^(?:train|validation_\w+) +(\d+) ", told, re.MULTILINE)
    assert sum(map(int, counts)) == 96

    told = jaxreid("train", "--config", "market1501:goat=fna", "--workdir", "work", *SMALL)
    assert "validation mAP" in told
    lines = (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, lines) if line["kind"] == "train"][-1]
    assert last["step"] == int(counts[0]) // 16
    assert last["objective_end"] > last["objective_start"]

    quick = ("--eps", 5, "--steps", 2, "--limit", 6, "--batch-size", 16, "--attacks", "noise,fna")
    told = jaxreid("evaluate", "work", "--dataset", "market1501", *quick, "--out", "evaluation")
    assert "run folder: evaluation" in told
    results = RunFolder.open(tmp_path / "evaluation").results()
    assert [result.condition.attack for result in results] == ["clean", *3 * ["noise"], "fna"]
    assert results[-1].attacked == 6

    assert jaxreid("report", "evaluation", "--training", "GOAT=work").startswith("evaluation/")
    page = (tmp_path / "evaluation" / "report" / "report.html").read_text(encoding="utf-8")
    assert "work on market1501" in page
