"""Tables hold what is known; cells for a spreadsheet begin no formula."""

import pytest
from run_folders import result, run_in_memory

from jaxreid.report.spreadsheet import csv_cell
from jaxreid.report.summary import summarize
from jaxreid.report.tables import comparison, full_table


def test_tables_have_a_cell_for_what_is_known_and_none_for_the_rest():
    one = run_in_memory(
        "A", result(0.8), result(0.1, attack="fna", eps=5.0), result(0.3, attack="sma", eps=5.0)
    )
    two = run_in_memory("B", result(0.05, attack="sma", eps=5.0))
    (group,) = summarize([one, two]).groups
    table = comparison(group)
    assert [short for short, _ in table.attacks] == ["FNA", "SMA"]
    means = {label: [cell and cell.mean for cell in row] for label, row in table.runs.items()}
    assert means == {"A": [0.8, 0.1, 0.3], "B": [None, None, 0.05]}
    assert table.lowest == {"A": 1, "B": 2}
    full = full_table(group)
    assert [row.budget for row in full.runs["A"]] == ["", "5/255", "5/255"]
    assert full.protocols == ["Market-1501", "torchreid"]
    assert full_table(group, reranked=True) is None


def test_no_attack_is_no_comparison():
    run = run_in_memory("A", result(0.8), result(0.8, attack="fna", eps=0.0))
    assert comparison(summarize([run]).groups[0]) is None


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_cells_begin_no_formula(first):
    assert csv_cell(f'{first}HYPERLINK("x")') == f'\'{first}HYPERLINK("x")'
    assert csv_cell(f"  {first}1+1") == f"'  {first}1+1"
    assert csv_cell(f"a{first}") == f"a{first}"
    assert csv_cell("") == ""
