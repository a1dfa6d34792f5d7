"""The figure of success against images asked."""

import dataclasses

import numpy as np

from jaxreid.records import ByQueries
from jaxreid.report import canvas
from jaxreid.report import queries as page

ATTACK = ByQueries(
    "rays", 5.0, 0, "", (1, 100), ((1,) * 4, (1, 2, 2, 2)), (100,) * 4, (0, 1, 7, 7), None
)


def test_its_stairs_are_the_counts(monkeypatch):
    drawn = []
    real = canvas.picture
    monkeypatch.setattr(
        page,
        "picture",
        lambda figure, *args, **words: (drawn.append(figure), real(figure, *args, **words))[1],
    )
    other = dataclasses.replace(ATTACK, attack="square", succeeded_at=(0, 0, 0, 0))
    picture = page.success_by_queries([ATTACK, other], "success")
    first, second = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(first.get_xydata(), [[1, 0.25], [7, 0.75], [100, 0.75]])
    np.testing.assert_array_equal(second.get_xydata(), [[1, 0], [100, 0]])
    assert drawn[0].axes[0].get_xscale() == "log"
    assert "rays, 5/255 ends at 75 %; square, 5/255 ends at 0 %" in picture.alt
    for tick in ("1", "10", "100"):
        assert f">{tick}</text>" in picture.svg
    assert picture.png.startswith(b"\x89PNG")
