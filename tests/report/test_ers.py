"""Ranking attacks in a report: a sentence for each way to climb, and a figure."""

import pytest
from pages import checked
from run_folders import write_run

from jaxreid.errors import InputError
from jaxreid.records import ERS_FILE, ERS_TERMS, Climb, Measured, RankingAttack, RankingAttacks
from jaxreid.report import write_report
from jaxreid.report.ers import ers_rows


def attacks_of(climb):
    measured = {}
    for term in ERS_TERMS:
        measured.setdefault(term.attack, {})[term.measure] = Measured(0.5, 0.125)
    guarded = {"rank": Measured(0.4, 0.3), "guards": Measured(0.01, 0.02)}
    measured |= {"spqa+": guarded, "spqa-": guarded}
    return [RankingAttack(name, climb, 40, found) for name, found in measured.items()]


CLIMBS = (Climb(), Climb(random_start=True, best_iterate=True))


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    write_run(path, title="Plain")
    RankingAttacks(tuple(one for climb in CLIMBS for one in attacks_of(climb))).save(path)
    return path


@pytest.mark.slow
def test_a_report_tells_each_climb(run):
    written = write_report([run])
    text = checked(written).text.replace("\u00a0", " ")
    assert "Chosen items: Plain" in text
    for end in ("clean start, last iterate", "random start, best iterate"):
        # Before: 100, 50, 100, 50, 50, 75 and four times 50.
        told = f"ERS 45.6, of 62.5 before: 40 trials; eps 8/255, 32 steps of 3/255, {end}. ca+ rank"
        assert told in text
    assert "es distance 0.500 to 0.125, es R@1 50.0 to 12.5" in text
    assert (written.parent / "figures" / "ers-1.svg").stat().st_size > 0


def test_rows_are_those_of_published_tables():
    rows = ers_rows(attacks_of(CLIMBS[0]))
    titles = [*(term.title for term in ERS_TERMS), "SP-QA+", "SP-QA+", "SP-QA-", "SP-QA-", "ERS"]
    assert [row.attack for row in rows] == titles
    # 25, 87.5, 25, 87.5, 87.5, 93.75 and four times 12.5.
    assert rows[-1].term_after == "45.6"


def test_a_damaged_record_is_named(run):
    (run / ERS_FILE).write_text("{}")
    with pytest.raises(InputError, match=r"ers\.json"):
        write_report([run])
