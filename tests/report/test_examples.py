"""Rank lists: the change is amplified as said, images come back as they were."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from run_folders import HEIGHT, RANKS, WIDTH, examples

from jaxreid.records import Condition
from jaxreid.report.examples import example_sets, perturbation, rank_list_strip
from jaxreid.report.runs import open_runs
from jaxreid.report.summary import summarize


def sets_of(run):
    runs = open_runs([run.path])
    return example_sets(runs[0], summarize(runs))


def pixels(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head.startswith("data:image/")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize(("change", "gain"), [(5, 25), (1, 127), (0, 1), (200, 1)])
def test_changes_are_amplified_to_the_full_range(change, gain):
    clean = np.full((2, 2, 3), 20, np.uint8)
    attacked = clean.astype(np.float32)
    attacked[0, 0, 0] += change
    picture, found = perturbation(clean, attacked / np.float32(255))
    assert found == gain
    assert picture[1, 1, 1] in (127, 128)
    assert abs(int(picture[0, 0, 0]) - min(255, 127.5 + gain * change)) <= 0.5


def test_the_strongest_attack_comes_first_and_only_the_budget_of_comparison(make_run):
    run = make_run()
    examples().save(run.examples_of(Condition(attack="fna", eps=1.0)))
    sets = sets_of(run)
    assert [one.attack.short for one in sets] == ["ODFA", "FNA", "IFGSM", "SMA", "noise"]
    assert {one.budget for one in sets} == {"5/255"}
    first = sets[0].examples[0]
    assert (first.camera, first.identity, first.gain) == (1, 1, 25)
    assert np.array_equal(pixels(first.clean), examples().clean[0])
    assert [item.correct for item in first.before] == [True, True, False, False]
    assert pixels(first.before[0].source).shape == (HEIGHT, WIDTH, 3)


def test_examples_at_another_budget_are_better_than_none(make_run):
    run = make_run(attacks=("fna",), eps=(1.0, 5.0), with_examples=False)
    examples().save(run.examples_of(Condition(attack="fna", eps=1.0)))
    assert [one.budget for one in sets_of(run)] == ["1/255"]


def test_no_query_is_no_set(make_run):
    run = make_run(attacks=("fna",), eps=(5.0,))
    examples(count=0).save(run.examples_of(Condition(attack="fna", eps=5.0)))
    assert sets_of(run) == []


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_strips_show_every_query_twice(make_run, side):
    run = make_run(attacks=("fna",), eps=(5.0,), side=side)
    (shown,) = sets_of(run)
    with Image.open(io.BytesIO(rank_list_strip(shown))) as strip:
        assert strip.width > RANKS * 64
        assert strip.height > 2 * len(shown.examples) * 128


def test_maps_are_found_at_the_largest_budget_too(make_run):
    run = make_run(attacks=("fna", "sma"), eps=(1.0, 5.0, 8.0))
    runs = open_runs([run.path])
    summary = summarize(runs)
    assert summary.groups[0].eps == 5.0
    found = summary.stored("Plain", run.map_of)
    assert [(one.attack, one.eps) for one, _ in found] == [("fna", 8.0), ("sma", 8.0)]
    assert [one.budget for one in sets_of(run)] == ["8/255", "8/255"]
