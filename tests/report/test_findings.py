"""Sentences say what the results are, whatever attack is strongest."""

from run_folders import attacked_run as run_of

from jaxreid.report.findings import describe_findings
from jaxreid.report.runs import Run, open_runs
from jaxreid.report.summary import summarize


def sentences(*runs: Run) -> list[str]:
    found = describe_findings(summarize(runs))
    return [" ".join([one.headline, *one.rest]).replace("\u00a0", " ") for one in found]


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
