from pathlib import Path

import numpy as np

from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.data.synthetic import CONFIGS, plan, render


def test_the_tiny_one_is_what_its_plan_says(tmp_path: Path) -> None:
    steps: set[str] = set()
    report = prepare_dataset(
        "synthetic_reid/tiny",
        data_dir=tmp_path,
        workers=1,
        progress=lambda step, done, total: steps.add(step),
    )
    assert "drawing" in steps
    assert report.source == ""
    config = CONFIGS["tiny"]
    planned = {
        "train_all": [item for item in plan(config) if item.split == "train"],
        "query": [item for item in plan(config) if item.split == "query"],
        "gallery": [item for item in plan(config) if item.split == "gallery"],
    }
    for split, items in planned.items():
        source = open_split("synthetic_reid/tiny", split, data_dir=tmp_path)
        by_name = {item.file_name: item for item in items}
        assert sorted(source.file_names) == sorted(by_name)
        for i, name in enumerate(source.file_names):
            assert source.identities[i] == by_name[name].identity
            assert source.cameras[i] == by_name[name].camera
        first = by_name[source.file_names[0]]
        assert source[0]["image"] == render(config, first)
        assert source[0]["frame"] == first.frame
    assert report.unmatched_query_images == 0
    assert report.splits["validation_query"].identities == 1
    assert np.unique(
        open_split("synthetic_reid/tiny", "train", data_dir=tmp_path).labels
    ).tolist() == (list(range(config.train_identities - 1)))
