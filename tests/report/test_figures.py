"""Figures survive odd data, and their SVG can stand in a page beside others."""

import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from run_folders import feature_map, per_query, result, run_in_memory

import jaxreid
from jaxreid.attacks import ATTACKS
from jaxreid.constants import LEARNED
from jaxreid.records import FeatureMap
from jaxreid.report.breakdown import (
    Pair,
    draw_average_precisions,
    draw_cameras,
    draw_people,
    means_by,
)
from jaxreid.report.canvas import canvas, legend_below, log_ticks, picture
from jaxreid.report.curves import draw_attacks, draw_runs
from jaxreid.report.feature_map import draw_feature_map, principal_plane
from jaxreid.report.style import attack_style
from jaxreid.report.summary import summarize
from jaxreid.report.training import TrainingLog, draw_training, thinned


def pair_of(clean=0.8, attacked=0.1, **kwargs) -> Pair:
    return Pair.of(
        "A",
        attack_style("fna"),
        "FNA at 5/255",
        clean=per_query(clean, **kwargs),
        attacked=per_query(attacked, **kwargs),
        protocol="market1501",
    )


def group_of(*levels: float, label: str = "A"):
    results = [result(0.8), *(result(v, attack="fna", eps=i + 1.0) for i, v in enumerate(levels))]
    return summarize([run_in_memory(label, *results)]).groups[0]


def map_of(stored, side="query"):
    return draw_feature_map(stored, run="A", attack="FNA", side=side, name="x")


def test_every_attack_has_a_look_of_its_own_and_its_title():
    looks = {
        (attack_style(name).colour, attack_style(name).marker, attack_style(name).hollow)
        for name in (*ATTACKS, *LEARNED)
    }
    assert len(looks) == len(ATTACKS) + len(LEARNED)
    assert {name: attack_style(name).title for name in (*ATTACKS, *LEARNED)} == {
        **{name: attack.title for name, attack in ATTACKS.items()},
        **LEARNED,
    }
    assert attack_style("from the future").title == "from the future"


def test_zeros_lie_on_the_floor_of_a_logarithmic_axis():
    group = group_of(0.02, 0.0)
    drawn = draw_attacks(group, "A", "rank1", log=True, name="x")
    assert "logarithmic" in drawn.alt
    assert "to 0.0" in drawn.alt
    draw_attacks(group_of(0.0), "A", "mean_average_precision", log=True, name="x")
    # A network that finds nobody even without an attack: its first point lies on the floor, too.
    nobody = run_in_memory("A", result(0.0), result(0.0, attack="fna", eps=5.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_attacks(summarize([nobody]).groups[0], "A", "rank1", log=True, name="x")


def test_the_same_data_make_the_same_files():
    one, two = (draw_attacks(group_of(0.2), "A", "rank1", log=False, name="x") for _ in range(2))
    assert (one.svg, one.png) == (two.svg, two.png)


def test_ids_of_two_pictures_never_meet_and_every_reference_is_met():
    group = group_of(0.2, 0.1)
    one, two = (draw_attacks(group, "A", "rank1", log=False, name=n).inline for n in "ab")
    found = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert not found[0] & found[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', one)) <= found[0]
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", one)
    assert "#ffffff" not in one
    assert "currentColor" in one


def test_labels_are_drawn_as_they_are(monkeypatch):
    names = ["_hidden", "$x^$", "行人", "<b>", "x" * 200]
    for name in names:
        group = group_of(0.2, label=name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_attacks(group, name, "rank1", log=False, name="x")
    with canvas() as (paper, (axes,)):
        lines = axes.plot([0, 1], [0, 1], [0, 1], [1, 0])
        legend_below(paper, [(lines[0], "_hidden"), (lines[1], "$a$")])
        svg = picture(paper, "x", alt="x").svg
    assert "_hidden" in svg
    assert "$a$" in svg


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["short"] * 31, 3),
        (["short"] * 20 + ["a name of 19 letters"] + ["short"] * 10, 3),
        (["a name of 19 letters"] * 31, 2),
        (["a name of a model and of its training, of sixty letters or so"] * 4, 1),
        (["W"] * 2, 2),
    ],
)
def test_a_legend_has_as_many_columns_as_fit(names, columns):
    with canvas(height=8, wide=True) as (figure, [axes]):
        (line,) = axes.plot([0, 1], [0, 1])
        legend_below(figure, [(line, name) for name in names])
        figure.canvas.draw()
        (legend,) = figure.legends
        assert legend._ncols == columns
        assert legend.get_window_extent().width <= figure.bbox.width


def test_no_logarithmic_axis_is_left_to_matplotlib():
    """Its ticks are formulas, which a style that takes labels as they are would show as code."""
    package = Path(jaxreid.__file__).parent
    drawn = [path for path in package.rglob("*.py") if 'scale("log"' in path.read_text("utf-8")]
    assert len(drawn) >= 5
    assert [path.name for path in drawn if "log_ticks(" not in path.read_text("utf-8")] == []
    with canvas() as (figure, (axes,)):
        axes.plot([1, 10_000], [0, 1])
        axes.set_xscale("log")
        log_ticks(axes.xaxis, "{:,.0f}".format)
        svg = picture(figure, "x", alt="x").svg
    assert ">10,000</text>" in svg
    assert "mathdefault" not in svg


def test_drawing_leaves_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    draw_people(pair_of(), "x")
    assert dict(matplotlib.rcParams) == before


def test_side_by_side_needs_an_attack_that_two_runs_share():
    results = (result(0.8), result(0.1, attack="fna", eps=5.0))
    other = (result(0.8), result(0.1, attack="sma", eps=5.0))
    runs = [run_in_memory(label, *results) for label in "AB"] + [run_in_memory("C", *other)]
    assert draw_runs(summarize(runs[1:]).groups[0], "rank1", log=False, name="x") is None
    drawn = draw_runs(summarize(runs).groups[0], "rank1", log=True, name="x")
    assert "FNA: A ends at" in drawn.alt


def test_side_by_side_axes_reach_the_largest_budget_of_any_attack():
    results = (
        result(0.8),
        result(0.7, attack="noise", eps=1.0),
        result(0.1, attack="fna", eps=8.0),
    )
    runs = [run_in_memory(label, *results) for label in "AB"]
    with warnings.catch_warnings():
        # Lines that end far outside of their axes leave the layout no room.
        warnings.simplefilter("error")
        drawn = draw_runs(summarize(runs).groups[0], "rank1", log=False, name="x")
    assert ">8</text>" in drawn.svg


def test_pairs_hold_valid_queries_only():
    pair = pair_of()
    assert len(pair.before) == per_query(0.8).valid.sum()
    assert pair_of(attacked=np.nan) is None
    other = per_query(0.1, identities=5)
    style = attack_style("fna")
    assert (
        Pair.of("A", style, "x", clean=per_query(0.8), attacked=other, protocol="market1501")
        is None
    )


def test_one_person_can_be_drawn():
    pair = pair_of(identities=1)
    for draw in (draw_average_precisions, draw_cameras, draw_people):
        assert "A" in draw(pair, "x").alt
    assert "of 1 people" in map_of(feature_map(people=1)).alt


def test_means_within_groups():
    names, means, counts = means_by(np.array([3, 1, 3]), np.array([0.2, 0.5, 0.4]))
    assert names.tolist() == [1, 3]
    assert means.tolist() == [0.5, pytest.approx(0.3)]
    assert counts.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(2, 1), (1, 5), (3, 2), (40, 64)])
def test_the_plane_keeps_distances_as_well_as_it_says(shape):
    features = np.random.default_rng(0).normal(size=shape)
    plane, kept = principal_plane(features)
    assert plane.shape == (shape[0], 2)
    total = np.sum((features - features.mean(0)) ** 2)
    assert np.sum(plane**2) == pytest.approx(kept * total if total else 0)


def test_maps_of_few_people_one_image_or_nothing():
    assert "1 people" not in map_of(feature_map()).alt
    full = feature_map(people=9)
    assert "of 7 people" in map_of(full, "gallery").alt
    one = FeatureMap(*(getattr(full, n)[:1] for n in vars(full)))
    assert map_of(one)
    none = FeatureMap(*(getattr(full, n)[:0] for n in vars(full)))
    assert map_of(none) is None


def test_long_trainings_are_thinned_by_averages():
    times, values = thinned(range(1000), range(1000))
    assert len(times) <= 150
    assert values.mean() == pytest.approx(499.5, rel=0.01)
    assert thinned([1.0], [2.0])[1].tolist() == [2.0]


def test_training_is_drawn_as_far_as_logs_know_it():
    lines = tuple({"kind": "train", "step": s, "loss": 1.0, "learning_rate": 0.0} for s in range(3))
    drawn = draw_training([TrainingLog("A", lines), TrainingLog("B", ())])
    assert [one.name for one in drawn] == ["training-loss", "training-learning-rate"]
    assert draw_training([]) == []
