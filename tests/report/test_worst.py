"""The worst case comes first, and nothing else is called so."""

import dataclasses
import re

import pytest
from run_folders import result, run_in_memory, scores, worst_case, worst_result

from jaxreid.records import Member, Result
from jaxreid.report.caveats import find_caveats
from jaxreid.report.curves import draw_attacks
from jaxreid.report.findings import describe_findings
from jaxreid.report.headlines import headline_of
from jaxreid.report.style import style_of
from jaxreid.report.summary import summarize
from jaxreid.report.survival import draw_survivals
from jaxreid.report.worst import knowing, member_rows, survivals, worst_rows

PUBLISHED = (result(0.8), result(0.4, attack="fna", eps=5.0), result(0.5, attack="sma", eps=5.0))


def summary_of(*results: Result, label: str = "A"):
    return summarize([run_in_memory(label, *results)])


def text_of(*runs) -> list[str]:
    found = describe_findings(summarize(list(runs)))
    return [" ".join([one.headline, *one.rest]).replace("\u00a0", " ") for one in found]


def caveats(*runs) -> str:
    return "\n".join(find_caveats(summarize(list(runs)))).replace("\u00a0", " ")


def with_members(*rank1: float) -> Result:
    """A worst case of 4 images whose members left these shares of rank-1."""
    members = tuple(
        Member(f"m{number}", 4, number, 1, 0.1, share, 40, 1.5)
        for number, share in enumerate(rank1)
    )
    one = worst_result(0.1)
    worst = dataclasses.replace(worst_case(0.1), members=members, at_floor=1)
    score = {"market1501": dataclasses.replace(scores(0.1)["market1501"], rank1=rank1[-1])}
    return dataclasses.replace(one, scores=score, worst=worst, attacked=4)


def test_the_first_number_of_a_run_is_its_worst_case():
    summary = summary_of(*PUBLISHED, worst_result(0.1))
    bars = headline_of(summary.by_run["A"]).bars
    assert [(bar.value.mean, bar.what) for bar in bars] == [
        (0.1, "mAP in the worst case at 5/255"),
        (0.4, "mAP under FNA at 5/255, the strongest published attack"),
        (0.8, "mAP on clean images"),
    ]
    bars = headline_of(summary_of(*PUBLISHED).by_run["A"]).bars
    assert [bar.what for bar in bars] == ["mAP on clean images", "mAP under FNA at 5/255"]


def test_sentences_say_what_published_attacks_claimed_too_much():
    nna = result(0.2, attack="nna", eps=5.0)
    (text,) = text_of(run_in_memory("A", *PUBLISHED, nna, worst_result(0.1)))
    assert text.startswith(
        "An attacker who changes no pixel of a query by more than 5/255 brings mAP from 80.0 % to "
        "10.0 % in the worst case. FNA, the strongest published attack, leaves 40.0 %; the worst "
        "case leaves 10.0 %: by that attack alone one would claim 30.0 points too much, 4.0 times "
        "as much."
    )
    assert "in 96.0 % of all searches before the attack, in 48.0 % under FNA and in 12.0 %" in text
    assert "SMA leaves 50.0 % and NNA leaves 20.0 %." in text
    assert "quick" not in text
    (text,) = text_of(run_in_memory("A", *PUBLISHED, worst_result(0.395)))
    assert "here that attack says nearly all" in text


def test_runs_are_compared_in_the_worst_case_if_both_have_the_same_one():
    plain = run_in_memory("plain", result(0.8), worst_result(0.02), PUBLISHED[1])
    goat = run_in_memory("goat", result(0.7), worst_result(0.1), PUBLISHED[2])
    assert text_of(plain, goat)[2] == (
        "At 5/255, goat keeps more mAP in the worst case: 10.0 % against 2.0 %, 5.0 times as much; "
        "clean mAP is 10.0 points lower."
    )
    quick = run_in_memory(
        "goat", result(0.7), worst_result(0.1, attack="worst-1-quick"), PUBLISHED[2]
    )
    assert (
        "under its strongest attack: 50.0 % (SMA) against 40.0 % (FNA)" in text_of(plain, quick)[2]
    )


@pytest.mark.parametrize("knowledge", ["self", "guides"])
@pytest.mark.parametrize("attack", ["worst-1", "worst-1-quick"])
def test_only_who_knows_the_gallery_is_called_the_worst_case(knowledge, attack):
    restricted = worst_result(0.2, attack=attack, knowledge=knowledge)
    style = style_of(restricted.condition)
    assert "worst" not in (style.short + style.title).lower()
    assert not style.bold
    (text,) = text_of(run_in_memory("A", *PUBLISHED, restricted))
    assert "worst" not in text
    assert "No worst case was computed" in caveats(run_in_memory("A", *PUBLISHED, restricted))
    (text,) = text_of(run_in_memory("A", *PUBLISHED, restricted, worst_result(0.1)))
    assert "The same attacks leave 20.0 % where the attacker knows" in text


def test_a_quick_search_says_that_it_is_quick_and_the_full_one_wins():
    quick = worst_result(0.05, attack="worst-1-quick")
    run = run_in_memory("A", *PUBLISHED, quick)
    assert "This search was a quick one" in text_of(run)[0]
    assert "searched quickly" in caveats(run)
    assert "quick search" in headline_of(summarize([run]).by_run["A"]).bars[0].what
    both = run_in_memory("A", *PUBLISHED, quick, worst_result(0.06))
    assert "80.0 % to 6.0 % in the worst case" in text_of(both)[0]
    assert "quick" not in text_of(both)[0]


def test_without_a_worst_case_a_caveat_says_what_an_attack_is_worth():
    without = run_in_memory("A", *PUBLISHED)
    assert (
        "No worst case was computed: the figure of an attack is an upper bound of what is left. "
        "`jaxreid evaluate --attacks worst` computes it."
    ) in caveats(without)
    having = run_in_memory("B", *PUBLISHED, worst_result(0.1))
    assert "No worst case was computed of A:" in caveats(without, having)
    assert "No worst case" not in caveats(having)
    assert "No worst case" not in caveats(run_in_memory("A", result(0.8)))


def test_an_attack_below_the_worst_case_is_a_fault_of_the_search():
    weak = run_in_memory("A", *PUBLISHED, worst_result(0.45))
    assert "A: FNA leaves less (40.0 %) than what was called the worst case (45.0 %)" in caveats(
        weak
    )
    assert "the search for the worst case was too weak" in text_of(weak)[0]


def test_every_search_survives_was_lost_to_somebody_or_was_wrong_before():
    # Clean rank-1 of `result(0.75)` is 0.9.
    summary = summary_of(result(0.75), with_members(0.6, 0.6, 0.25))
    (found,) = survivals(summary.groups[0])
    assert found.survivors == pytest.approx(0.25)
    assert [(one.number, one.name) for one in found.lost] == [(1, "m0"), (3, "m2")]
    assert [one.share for one in found.lost] == pytest.approx([0.3, 0.35])
    assert found.wrong == pytest.approx(0.1)
    drawn = draw_survivals([found], "x")
    assert "25.0" in drawn.alt
    assert "30.0\u00a0% lost to m0; 35.0\u00a0% lost to m2; 10.0\u00a0% wrong" in drawn.alt
    assert "A: 25.0\u00a0% survive" in drawn.svg


def test_a_first_match_that_ties_alone_give_back_is_nobodys():
    (found,) = survivals(summary_of(result(0.5), with_members(0.7, 0.2)).groups[0])
    assert (found.survivors, found.wrong) == (pytest.approx(0.2), pytest.approx(0.4))
    assert [one.number for one in found.lost] == [2]


def test_members_are_counted_per_image():
    (found,) = member_rows(summary_of(result(0.8), with_members(0.6, 0.2)).groups[0])
    assert (found.attacked, found.passes, found.seconds) == (4, 20.0, 3.0)
    assert [(row.won, row.won_first, row.passes) for row in found.rows] == [
        (0.0, 0.25, 10.0),
        (0.25, 0.25, 10.0),
    ]


def test_the_worst_case_is_counted_in_all_ways():
    (row,) = worst_rows(summary_of(result(0.8), worst_result(0.1)).groups[0])
    assert [spread.mean for spread in row.scores] == pytest.approx([0.1, 0.12, 0.12, 0.12])
    assert (row.one_image, row.eight_bit) == (pytest.approx(0.11), pytest.approx(0.105))
    assert (row.floor, row.at_floor, row.attacked, row.budget) == (0.005, 3, 24, "5/255")


def test_what_knowledge_buys_stands_in_one_row():
    less = [worst_result(v, knowledge=k) for k, v in (("guides", 0.2), ("self", 0.3))]
    assert knowing(summary_of(*PUBLISHED, worst_result(0.1)).groups[0]) == []
    (row,) = knowing(summary_of(*PUBLISHED, worst_result(0.1), *less).groups[0])
    assert (row.attack, row.published[0].mean) == ("FNA", 0.4)
    assert [cells[0].mean for cells in row.by_knowledge] == [0.3, 0.2, 0.1]
    (row,) = knowing(summary_of(result(0.8), less[0]).groups[0])
    assert row.published == row.by_knowledge[0] == row.by_knowledge[2] == [None, None]


def test_the_worst_case_is_the_boldest_line_and_has_a_floor():
    group = summary_of(*PUBLISHED, worst_result(0.1, 2.0), worst_result(0.05)).groups[0]
    assert [curve.name for curve in group.curves] == ["worst case", "FNA", "SMA"]
    drawn = draw_attacks(group, "A", "mean_average_precision", log=False, name="x")
    widths = [float(width) for width in re.findall(r"stroke-width: ([0-9.]+)", drawn.svg)]
    assert max(widths) == 3.2
    # The line, and its entry in the legend.
    assert widths.count(3.2) == 2
    assert "floor: matches last" in drawn.svg
    assert "floor" not in draw_attacks(group, "A", "rank1", log=False, name="x").svg


def test_a_worst_case_stands_beside_attacks_whose_guides_came_from_elsewhere():
    group, *others = summary_of(*PUBLISHED, worst_result(0.1, guides="gallery")).groups
    assert not others
    assert [one.name for one in group.outcomes["A"]] == ["worst case", "FNA", "SMA"]


def test_budgets_at_which_the_worst_case_is_known_are_compared():
    few = [result(0.1, attack=a, eps=e) for a in ("fna", "sma") for e in (1.0, 5.0)]
    (group,) = summary_of(*few, worst_result(0.3, 1.0)).groups
    assert group.eps == 1.0
    assert group.outcomes["A"][0].is_worst_case


def test_queries_in_an_attacked_gallery_are_apart():
    first, second = summary_of(*PUBLISHED, worst_result(0.05, attacked_gallery=True)).groups
    assert first.outcomes["A"][0].name == "FNA"
    assert second.panel.title.endswith("in a gallery attacked before")
    (text,) = text_of(run_in_memory("A", *PUBLISHED, worst_result(0.05, attacked_gallery=True)))
    assert "by more than 5/255, after the gallery was attacked, brings mAP" in text
