"""The attacks of an ensemble in a table: it fits 80 columns, whatever their names."""

import dataclasses

import pytest
from run_folders import worst_result

from jaxreid.cli.ensemble_table import print_members
from jaxreid.cli.tables import wide_console
from jaxreid.constants import ENSEMBLES
from jaxreid.evaluation.worst.members import members_of
from jaxreid.records import Condition, Member

# Images that are attacked and seconds that an attack takes: of Market-1501, of MSMT17's gallery.
MARKET, MSMT = (3_368, 999.9), (82_161, 98_765.4)
CONDITIONS = [
    *(
        Condition(name, 5.0, knowledge=knowledge)
        for name in ENSEMBLES
        for knowledge in ("gallery", "guides", "self")
    ),
    *(Condition(name, 5.0, goal="impersonate", target="random") for name in ENSEMBLES),
]


def printed(capsys, condition, images, seconds):
    """The table as a pipe gets it, and its members."""
    members = tuple(
        Member(spec.name, images, images, images, 1.0, 1.0, images * spec.passes, seconds)
        for spec in members_of(condition)
    )
    one = worst_result(0.1, attack=condition.attack)
    worst = dataclasses.replace(one.worst, members=members)
    result = dataclasses.replace(one, condition=condition, worst=worst, attacked=images)
    capsys.readouterr()
    print_members(wide_console(), result)
    return capsys.readouterr().out.splitlines(), members


def name_of(condition):
    return f"{condition.attack}-{condition.knowledge}-{condition.goal}"


@pytest.mark.parametrize("condition", CONDITIONS, ids=name_of)
def test_a_pipe_gets_80_columns(capsys, condition):
    lines, members = printed(capsys, condition, *MARKET)
    assert max(map(len, lines)) <= 80
    # Each in a line of its own, as it is.
    rows = {" ".join(line.split()) for line in lines}
    for member in members:
        cells = f"3,368 3,368 3,368 100.0 100.0 {member.passes:,} 999.9"
        assert f"{member.name} {cells}" in rows


@pytest.mark.parametrize("condition", CONDITIONS, ids=name_of)
def test_large_numbers_stay_whole_in_80_columns(capsys, condition):
    lines, members = printed(capsys, condition, *MSMT)
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert words.count("98765.4") == len(members)
    assert words.count("82,161") >= 3 * len(members)
    for member in members:
        # A long name goes on in the next line, at a space.
        assert f"{member.passes:,}" in words
        assert set(member.name.split()) <= set(words)
