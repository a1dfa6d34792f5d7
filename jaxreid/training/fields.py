"""Fields of a configuration: declared once, checked wherever a value comes from, and compared."""

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from jaxreid.budgets import read_budget
from jaxreid.errors import InputError, did_you_mean

__all__ = [
    "Field",
    "Group",
    "Levels",
    "Value",
    "check_agreement",
    "declare",
    "differences",
    "fields_of",
    "find_field",
    "flat",
]

Value = bool | int | float | str | tuple[float, ...]
"""What a field may hold."""

# What has no bound of its own is computed with in float32.
_LARGEST = 3e38


class Levels(float):
    """A budget in grey levels, 1/255 of the pixel range.

    A plain number between 0 and 1 is refused: it is nearly always 5/255 as a fraction. Half a grey
    level is `Levels(0.5)` or the text "0.5/255".
    """


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Levels: "a number",
    str: "a text",
    tuple: "numbers in parentheses, such as (20, 40)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """What is known of a field of a configuration.

    Attributes:
        name: with the names of its groups, such as goat.push.
        kind: bool, int, float, Levels, str or tuple.
        meaning: one sentence.
        choices: the only values allowed, if there are any.
        low, high, above, below: bounds of a number; `above` and `below` are excluded themselves.
        fits, expected: a condition beyond these, and the same in words.
        free: whether an interrupted run may go on with another value: it says how a run is done,
            not what comes of it.
    """

    name: str = ""
    kind: type = str
    default: Value = ""
    meaning: str
    unit: str = ""
    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    expected: str | Callable[[], str] = ""
    fits: Callable[[Any], bool] | None = None
    free: bool = False

    @property
    def allowed(self) -> str:
        """The values it may have, in words; "" if its type says it all."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.expected:
            return self.expected if isinstance(self.expected, str) else self.expected()
        if self.low is not None and self.high is not None:
            return f"from {self.low} to {self.high}"
        if self.low is not None and self.below is not None:
            return f"from {self.low} up to, but not, {self.below}"
        if self.low is not None:
            return f"{self.low} or more"
        return "" if self.above is None else f"more than {self.above}"

    def parse(self, text: str) -> Value:
        """Reads the text of an override; whether it is in range is for `check` to say.

        The text of a budget with its unit, such as "0.5/255", stays a text.
        """
        if self.kind is Levels and "/" in text:
            return text
        try:
            if self.kind is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
            if self.kind is tuple:
                return tuple(_number(p) for p in text.strip(" ()[]").split(",") if p.strip())
            return float(text) if self.kind is Levels else self.kind(text)
        except (KeyError, ValueError):
            raise self._wrong(text) from None

    def check(self, value: Any) -> Any:
        """Refuses a value of another type, not finite or out of bounds.

        What passes comes back in the field's type: a whole number as a float, a list as a tuple.
        """
        if self.kind is Levels and (isinstance(value, str) or _is_small(value)):
            value = Levels(read_budget(value, name=self.name))
        elif issubclass(self.kind, float) and _is_number(value):
            try:
                value = self.kind(value)
            except OverflowError:  # a whole number of 400 digits
                raise self._wrong(value) from None
        elif self.kind is tuple and isinstance(value, list):
            value = tuple(value)
        if type(value) is not self.kind or not self._holds(value):
            raise self._wrong(value)
        if isinstance(value, float) and abs(value) > _LARGEST:
            raise InputError(f"{self.name} must be at most {_LARGEST:g}; got {_short(value)}")
        return value

    def _holds(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return not (
            (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
            or (self.fits is not None and not self.fits(value))
        )

    def _wrong(self, value: object) -> InputError:
        allowed, kind = self.allowed, _KINDS[self.kind]
        if allowed and issubclass(self.kind, int | float):
            allowed = f"{kind}, {allowed}"
        return InputError(f"{self.name} must be {allowed or kind}; got {_short(value)}")


def declare(default: Value, meaning: str, **rest: Any) -> Any:
    """Declares a field of a Group; name, kind and choices come from its annotation."""
    field = Field(default=default, meaning=meaning, **rest)
    return dataclasses.field(default=default, metadata={"field": field})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Fields of a configuration that belong together; none ever has a value that is wrong."""

    group: ClassVar[str] = ""

    def __init_subclass__(cls, group: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.group = group

    def __post_init__(self) -> None:
        for name, what in _declared(type(self)).items():
            value = getattr(self, name)
            if isinstance(what, Field):
                object.__setattr__(self, name, what.check(value))
            elif not isinstance(value, what):
                raise InputError(f"{name} must be a {what.__name__}; got {_short(value)}")

    def replace(self, changes: Mapping[str, object]) -> Self:
        """Copies the configuration with other values, all of which change at once.

        Args:
            changes: name of a field, with its group's, such as "goat.push" -> value.

        Returns:
            The copy.

        Raises:
            InputError: a field is unknown (the message names the nearest one), a value is not
                allowed, or values do not agree with others.
        """
        own: dict[str, Any] = {}
        below: dict[str, dict[str, object]] = {}
        for name, value in changes.items():
            find_field(type(self), name)
            group, dot, rest = name.partition(".")
            if dot:
                below.setdefault(group, {})[rest] = value
            else:
                own[name] = value
        own |= {group: getattr(self, group).replace(inner) for group, inner in below.items()}
        return dataclasses.replace(self, **own)

    def as_json(self) -> dict[str, Any]:
        """The configuration as JSON holds it: nested dictionaries, lists for tuples."""
        found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return found


def _declared(cls: type[Group]) -> dict[str, Field | type[Group]]:
    """The fields and the groups in a class."""
    declared: dict[str, Field | type[Group]] = {}
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if "field" in field.metadata:
            choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
            declared[field.name] = dataclasses.replace(
                field.metadata["field"],
                name=f"{cls.group}.{field.name}".lstrip("."),
                kind=type(choices[0]) if choices else typing.get_origin(hint) or hint,
                choices=choices,
            )
        else:
            declared[field.name] = hint
    return declared


def fields_of(cls: type[Group]) -> dict[str, Field]:
    """All fields of a configuration or a group, by the names that `Group.replace` takes."""
    found = {}
    for name, what in _declared(cls).items():
        if isinstance(what, Field):
            found[name] = what
        else:
            found |= {f"{name}.{inner}": field for inner, field in fields_of(what).items()}
    return found


def find_field(cls: type[Group], name: str) -> Field:
    """The field of a name; where there is none, the error names the nearest one."""
    known = fields_of(cls)
    if name in known:
        return known[name]
    group = [field for field in known if field.startswith(f"{name}.")]
    if group:
        raise InputError(f"{name} is a group of fields; name one of them, such as {group[0]}")
    # The right name in no group or the wrong one: learning_rate for optimizer.learning_rate.
    last = name.rpartition(".")[2]
    namesakes = [field for field in known if field.rpartition(".")[2] == last]
    hint = did_you_mean(name, namesakes, cutoff=0) or did_you_mean(name, known)
    raise InputError(f"no field {name}; {hint or '`jaxreid train --help-config` lists them all'}")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each field in which two configurations differ, as `Group.as_json` gives them."""
    old, new = dict(flat(before)), dict(flat(now))
    return [
        f"{name}: was {old.get(name, 'missing')!r}, is {new.get(name, 'missing')!r}"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def check_agreement(before: Mapping[str, Any], now: Group, *, where: Path) -> None:
    """Refuses to go on, in the work directory `where`, if a field that is not free differs."""
    free = {name for name, field in fields_of(type(now)).items() if field.free}
    known = dict(flat(type(now)().as_json())) | dict(flat(before))  # later fields had no say
    lines = differences(known, now.as_json())
    wrong = [line for line in lines if line.partition(":")[0] not in free]
    if wrong:
        raise InputError(
            f"{where} holds a run of another configuration ({'; '.join(wrong)}); restore these "
            "fields to go on with it, or name another work directory"
        )


def flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of a name such as goat.push and its value."""
    for name, value in fields.items():
        nested = isinstance(value, Mapping)
        yield from flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_small(value: Any) -> bool:
    """Whether a budget may be a fraction of the pixel range: see Levels."""
    return _is_number(value) and not isinstance(value, Levels) and 0 < value < 1


def _number(text: str) -> int | float:
    return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
