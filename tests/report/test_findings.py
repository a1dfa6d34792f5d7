"""Sentences say what the results are, whatever attack is strongest; caveats say what is off."""

import dataclasses

from run_folders import provenance, result, scores

from jaxreid.records import RunFolder
from jaxreid.report.caveats import find_caveats
from jaxreid.report.findings import describe_findings
from jaxreid.report.runs import Run, open_runs
from jaxreid.report.summary import summarize


def run_of(label: str, **left) -> Run:
    """A run in memory: mAP 0.8 clean, and what each attack leaves at 5/255."""
    results = [result(0.8), *(result(level, attack=a, eps=5.0) for a, level in left.items())]
    return Run(label, RunFolder("/nowhere", provenance(label)), tuple(results))


def sentences(*runs: Run) -> list[str]:
    found = describe_findings(summarize(runs))
    return [" ".join([one.headline, *one.rest]).replace("\u00a0", " ") for one in found]


def caveats(*runs: Run) -> str:
    return "\n".join(find_caveats(summarize(runs))).replace("\u00a0", " ")


def test_a_run_that_ignored_cameras_is_named():
    blind = run_of("blind", fna=0.1)
    blind.folder.provenance.settings["cameras"] = "ignore"
    text = caveats(run_of("usual", fna=0.1), blind)
    assert "blind: ranked without camera labels" in text
    assert "without camera labels" not in caveats(run_of("usual", fna=0.1))


def test_the_strongest_attack_is_the_one_that_leaves_least():
    (text,) = sentences(run_of("A", fna=0.05, odfa=0.02, sma=0.3))
    assert text.startswith(
        "An attacker who changes no pixel of a query by more than 5/255 brings mAP from 80.0 % to "
        "2.0 % (ODFA, the strongest of three attacks)."
    )
    assert "FNA leaves 5.0 % and SMA leaves 30.0 %." in text
    assert "in 96.0 % of all searches before the attack, and in 2.4 % after it" in text


def test_attacks_within_a_point_are_called_equally_strong():
    (text,) = sentences(run_of("A", fna=0.04, odfa=0.045, sma=0.3))
    assert "ODFA (4.5 %) is as strong, within one point. SMA leaves 30.0 %." in text


def test_noise_is_set_against_attacks():
    (text,) = sentences(run_of("A", fna=0.04, noise=0.79))
    assert "Random noise of the same size leaves 79.0 %: the harm lies in where" in text
    (text,) = sentences(run_of("A", fna=0.1, noise=0.3))
    assert "Random noise of the same size leaves 30.0 %." in text


def test_an_attack_that_does_nothing_is_not_said_to_lower_anything():
    (text,) = sentences(run_of("A", noise=0.8))
    assert "does not lower mAP: 80.0 % before and 80.0 % after (noise)." in text


def test_runs_are_compared_each_under_its_worst_attack():
    texts = sentences(run_of("plain", fna=0.04, odfa=0.05), run_of("goat", fna=0.5, odfa=0.4))
    assert texts[2] == (
        "At 5/255, goat keeps more mAP under its strongest attack: 40.0 % (ODFA) against 4.0 % "
        "(FNA), 10.0 times as much; clean mAP is the same."
    )
    texts = sentences(run_of("goat", fna=0.5), run_of("plain", fna=0.04))
    assert "plain keeps less mAP under its strongest attack: 4.0 % (FNA) against" in texts[2]
    texts = sentences(run_of("a", fna=0.041), run_of("b", fna=0.04))
    assert "b resists the strongest attack no better than a" in texts[2]
    assert "times" not in sentences(run_of("a", fna=0.0), run_of("b", fna=0.04))[2]


def test_the_budget_that_halves_is_found(make_run):
    run = make_run(eps=(1.0, 2.0, 5.0), attacks=("fna",), with_examples=False)
    (text,) = sentences(*open_runs([run.path]))
    assert "A budget of 2/255 is enough to lose half: 24.1 % is left." in text


def test_runs_that_were_attacked_elsewhere_are_judged_there(make_run):
    runs = [
        make_run("a", title="a", with_examples=False),
        make_run("b", title="b", with_examples=False, side="gallery", guides="gallery"),
        make_run("c", title="c", with_examples=False, eps=(3.0,)),
    ]
    texts = sentences(*open_runs([run.path for run in runs]))
    assert len(texts) == 3
    assert "the gallery images by more than 5/255" in texts[1]
    assert "Setting: L∞ attacks on gallery images, guides from gallery" in texts[1]
    assert "more than 3/255" in texts[2]


def test_l2_budgets_are_lengths(make_run):
    run = make_run(norm="l2", eps=(0.5,), attacks=("sma",), with_examples=False)
    (text,) = sentences(*open_runs([run.path]))
    assert text.startswith("An attacker whose change of a query has a length of at most 0.5 (L2)")


def test_signs_of_broken_or_weak_attacks_are_named():
    assert "one large step (FGSM) harms more" in caveats(run_of("A", fgsm=0.1, ifgsm=0.4))
    assert "FGSM" not in caveats(run_of("A", fgsm=0.4, ifgsm=0.1))
    assert "noise harms more than every attack" in caveats(run_of("A", noise=0.1, fna=0.4))
    weak = run_of("A", fna=0.3)
    later = result(0.5, attack="fna", eps=8.0)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, later)))
    assert "FNA of A harms less at 8/255 (50.0 %) than at 5/255 (30.0 %)" in text
    over = dataclasses.replace(later, largest_change=9.0, unguided=3)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, over)))
    assert "broke its budget: a pixel changed by 9.00/255 at 8/255" in text
    assert "3 of 24 images had no guide" in text
    assert "gradient" not in text
    lost = {"nonfinite_gradients": 2, "first_without_gradient": "0011_c1.jpg"}
    stuck = dataclasses.replace(later, zero_gradients=5, **lost)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, stuck)))
    assert "FNA of A: the gradient was NaN or infinite at 2 of 24 images (0011_c1.jpg for" in text
    assert "FNA of A: the gradient was zero at 5 of 24 images" in text


def test_what_makes_figures_incomparable_is_named():
    one, two = run_of("A", fna=0.3), run_of("B", fna=0.3)
    other = dataclasses.replace(two.folder.provenance, dataset={"name": "market1501"})
    two = dataclasses.replace(two, folder=RunFolder("/nowhere", other))
    assert "different datasets" in caveats(one, two)
    assert "different datasets" not in caveats(one)
    assert "one seed" in caveats(one)
    split = dataclasses.replace(
        one.results[1], scores=scores(0.1) | {"torchreid": scores(0.2)["market1501"]}
    )
    one = dataclasses.replace(one, results=(one.results[0], split))
    assert "10.0 % by Market-1501's and 20.0 % by torchreid's" in caveats(one)
