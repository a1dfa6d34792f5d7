"""Runs have labels that tell them apart; logs are read as far as they can be."""

import math

import pytest
from run_folders import provenance

from jaxreid.errors import InputError
from jaxreid.records import RunFolder
from jaxreid.report.runs import open_runs
from jaxreid.report.training import find_logs, read_log


def test_equal_titles_are_told_apart_by_folder_and_number(make_run, tmp_path):
    folders = [make_run(name, attacks=()) for name in ("x", "deep/x", "y")]
    labels = [run.label for run in open_runs([one.path for one in folders])]
    assert labels == ["Plain (x)", "Plain (x, 2)", "Plain (y)"]
    assert [run.label for run in open_runs([folders[0].path] * 2)] == ["Plain"]
    assert open_runs([make_run("z", title="  ", attacks=()).path])[0].label == "z"


def test_runs_that_cannot_be_reported_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        open_runs([])
    with pytest.raises(InputError, match="holds no evaluation"):
        open_runs([tmp_path / "nowhere"])
    RunFolder.create(tmp_path / "new", provenance("new"))
    with pytest.raises(InputError, match="has no results yet"):
        open_runs([tmp_path / "new"])


def test_a_log_gives_what_it_has(training):
    log = read_log(training, "GOAT")
    assert len(log.lines) == 51
    times, values = log.series("train", "loss")
    assert (times[10], values[10]) == (1.0, 4.5)
    assert log.series("train", "accuracy") == ([], [])
    assert log.series("evaluation", "mean_average_precision") == ([4.9], [0.7])


def test_lines_that_make_no_sense_are_skipped(tmp_path):
    lines = [
        "[]",
        "7",
        "",
        "\x00",
        '{"kind": "train", "step": 1, "loss": NaN}',
        '{"kind": "train"}',
    ]
    good = '{"kind": "train", "step": 2, "loss": 3}'
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, good, '{"loss": "big", "step": 1}']))
    log = read_log(tmp_path, "x")
    assert log.time == "step"
    assert log.series("train", "loss") == ([2.0], [3.0])
    assert all(math.isfinite(value) for value in log.series("train", "loss")[1])


def test_logs_come_from_settings_and_from_names_and_once_each(make_run, training, tmp_path):
    run = make_run(attacks=())
    RunFolder.create(run.path, provenance("Plain", workdir=str(training)))
    runs = open_runs([run.path])
    assert [log.label for log in find_logs(runs, [])] == ["Plain"]
    assert [log.label for log in find_logs(runs, [("mine", training)])] == ["mine"]
    assert [log.label for log in find_logs(runs, [(None, training)])] == ["work"]
    RunFolder.create(run.path, provenance("Plain", workdir=str(tmp_path / "moved away")))
    assert find_logs(open_runs([run.path]), []) == []
    with pytest.raises(InputError, match="holds no training log"):
        find_logs(runs, [("x", tmp_path / "moved away")])
