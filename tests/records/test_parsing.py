"""Values from JSON are what the annotations say, or named."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from jaxreid.errors import InputError
from jaxreid.records.parsing import Within, typed


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Within(0, 1)] = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    pair: tuple[int, float] = (1, 2.0)
    several: tuple[int, ...] = ()
    by_name: dict[str, Inner] | None = None
    mode: Literal["a", "b", 1] = "a"
    either: int | float | str = 0
    anything: Any = None

    def __post_init__(self):
        if self.name == "bad":
            raise ValueError("the name is bad")


def test_what_fits_is_built():
    found = typed(
        Outer,
        {
            "name": "x",
            "inner": {"share": 1},
            "pair": [1, 2],
            "several": [1, 2, 3],
            "by_name": {"k": {}},
            "either": 1.5,
            "anything": [None],
        },
    )
    assert found == Outer("x", Inner(1.0), (1, 2.0), (1, 2, 3), {"k": Inner()}, "a", 1.5, [None])
    assert type(found.inner.share) is float
    assert type(typed(int | float, 3)) is int


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name is None, expected a text"),
        ({"name": "bad"}, "the name is bad"),
        ({"inner": {"share": 1.1}}, "inner.share is 1.1, expected a number from 0 to 1"),
        ({"inner": {"shape": 1}}, "inner.shape is no field"),
        ({"pair": [1]}, "pair is [1], expected a list of 2"),
        ({"pair": [1, "x"]}, "pair[1] is 'x', expected a number"),
        ({"several": "123"}, "several is '123', expected a list"),
        ({"by_name": {"k": 1}}, "by_name.k is 1, expected an object"),
        ({"mode": True}, "mode is True, expected one of 'a', 'b', 1"),
        ({"either": []}, "either is [], expected int or float or str"),
        ({"inner": "x" * 10_000}, "..., expected an object with the fields of Inner"),
    ],
)
def test_what_does_not_is_named(change, message):
    with pytest.raises(InputError) as said:
        typed(Outer, {"name": "x", "inner": {}, **change})
    assert message in str(said.value)
    assert len(str(said.value)) < 200
