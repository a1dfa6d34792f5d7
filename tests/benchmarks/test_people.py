"""The picture of how robustness grows with people: a line for every budget of the record."""

import json
import runpy
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from PIL import Image

ROOT = Path(__file__).parents[2]
script = runpy.run_path(str(ROOT / "benchmarks" / "people.py"))


def test_it_draws_what_the_record_holds(tmp_path, monkeypatch):
    record = {
        "columns": ["training people", "epochs", "clean", "3/255", "mean"],
        "rows": [
            ["180", "8, 16", "70.5 / 84", "30.0 / 27", "36"],
            ["1,440", "3, 2", "85.0 / 93", "40 / 1", "44"],
        ],
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    drawn, save = [], pyplot.Figure.savefig

    def kept(figure, *args, **options):
        drawn.extend(figure.axes[0].lines)
        save(figure, *args, **options)

    monkeypatch.setattr(pyplot.Figure, "savefig", kept)
    script["draw"](tmp_path / "record.json", tmp_path / "people.png")
    lines = [line.get_xydata().tolist() for line in drawn]
    assert lines == [[[180, 70.5], [1440, 85]], [[180, 30], [1440, 40]]]
    with Image.open(tmp_path / "people.png") as picture:
        assert picture.size == (770, 440)
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_pictures_record_is_there_and_whole(tmp_path):
    script["draw"](ROOT / "docs/benchmarks/people-synthetic.json", tmp_path / "people.png")
    assert (tmp_path / "people.png").stat().st_size > 10_000
