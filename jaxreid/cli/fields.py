"""What each field of a training configuration may hold; the types are those of the defaults."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxreid.attacks import ATTACKS
from jaxreid.budgets import read_budget
from jaxreid.cli.parameters import BATCH, DIMENSIONS, EPOCHS, SEED, STEPS, WORKERS, Whole
from jaxreid.constants import LONGEST_SIDE
from jaxreid.errors import InputError

__all__ = ["check_fields", "convert_value", "parse_value"]


class _Rule(NamedTuple):
    """A condition of one field, and what a message says was expected."""

    expected: str
    holds: Callable[[Any], bool]


def _one_of(*names: object) -> _Rule:
    return _Rule("one of " + ", ".join(map(str, names)), lambda value: value in names)


def _at_least(low: float) -> _Rule:
    return _Rule(f"{low} or more", lambda value: value >= low)


def _above(low: float) -> _Rule:
    return _Rule(f"more than {low}", lambda value: value > low)


def _between(low: float, high: float) -> _Rule:
    return _Rule(f"from {low} to {high}", lambda value: low <= value <= high)


def _as_option(option: Whole) -> _Rule:
    return _between(option.min or 0, option.max or 0)


def _below_one() -> _Rule:
    return _Rule("from 0 up to, but not, 1", lambda value: 0 <= value < 1)


def _size(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and all(
        type(side) is int and 1 <= side <= LONGEST_SIDE for side in value
    )


def _epochs(value: tuple[Any, ...]) -> bool:
    return all(type(epoch) in (int, float) and 0 <= epoch <= 1e6 for epoch in value) and list(
        value
    ) == sorted(set(value))


# Upper bounds of whole numbers: beyond them they are slips, as on the command line.
_RULES: Mapping[str, _Rule] = {
    "seed": _as_option(SEED),
    "epochs": _as_option(EPOCHS),
    "dataset.name": _Rule("a name such as market1501", bool),
    "dataset.split": _one_of("train", "train_all"),
    "dataset.size": _Rule(
        f"(height, width) in pixels, such as (256, 128), up to {LONGEST_SIDE}", _size
    ),
    "dataset.filter": _one_of("bicubic", "bilinear"),
    "dataset.workers": _as_option(WORKERS),
    "batch.sampler": _one_of("shuffled", "identities"),
    "batch.size": _as_option(BATCH),
    "batch.images_per_identity": _as_option(BATCH),
    "model.head": _one_of("classification", "triplet"),
    "model.dimensions": _as_option(DIMENSIONS),
    "model.last_stride": _one_of(0, 1, 2),
    "model.dtype": _one_of("float32", "bfloat16", "float64"),
    "augmentation.pad": _between(0, LONGEST_SIDE),
    "augmentation.flip": _between(0, 1),
    "augmentation.erase": _between(0, 1),
    "loss.name": _one_of("cross_entropy", "triplet"),
    "loss.label_smoothing": _below_one(),
    "optimizer.name": _one_of("adam", "adamw", "sgd"),
    "optimizer.learning_rate": _above(0),
    "optimizer.weight_decay": _at_least(0),
    "optimizer.clip_norm": _at_least(0),
    "optimizer.ema": _below_one(),
    "schedule.name": _one_of("constant", "steps", "exponential", "cosine"),
    "schedule.warmup_epochs": _at_least(0),
    "schedule.boundaries": _Rule("epochs that grow, such as (20, 40)", _epochs),
    "schedule.factor": _above(0),
    "schedule.decay_start": _at_least(0),
    "schedule.decay_epochs": _above(0),
    "schedule.final_fraction": _above(0),
    "goat.push": _between(0, 4096),
    "goat.pull": _between(0, 4096),
    "goat.eps": _between(0, 255),
    "goat.step_size": _between(0, 255),
    "goat.steps": _as_option(STEPS),
    "goat.replays": _between(1, 10_000),
    "goat.eps_warmup_epochs": _at_least(0),
    "goat.batch_norm": _one_of("running", "batch"),
    "goat.clean_fraction": _between(0, 1),
    "goat.eps_unit": _one_of("pixels", "normalized"),
    "evaluation.every_epochs": _between(0, 1_000_000),
    "evaluation.batch_size": _as_option(BATCH),
    "evaluation.distance": _one_of("euclidean", "cosine"),
    "evaluation.attack": _Rule(
        f"empty or one of {', '.join(ATTACKS)}", lambda value: value == "" or value in ATTACKS
    ),
    "evaluation.attack_eps": _between(0, 255),
    "checkpoint.every_steps": _between(0, 10**12),
    "checkpoint.keep": _between(1, 1_000_000),
    "log_every_steps": _between(1, 10**12),
}

# In 1/255 of the pixel range: where others write 5/255 as a fraction, these need a word.
_BUDGETS = ("goat.eps", "goat.step_size", "evaluation.attack_eps")
# What has no bound of its own is computed with in float32.
_MOST_NUMBER = 3e38

_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "numbers in parentheses, such as (20, 40)",
}


def _expected(field: str, default: Any) -> str:
    rule = _RULES.get(field)
    if rule is None:
        return _TYPES[type(default)]
    return f"{_TYPES[type(default)]}, {rule.expected}" if _is_number(default) else rule.expected


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(field: str, default: Any, value: Any) -> InputError:
    return InputError(f"{field} must be {_expected(field, default)}; got {_short(value)}")


def convert_value(field: str, default: Any, value: Any) -> Any:
    """Checks a value by the type of the field's default and by the field's own rule.

    Args:
        field: dotted name.
        default: the field's value in configs/default.py.
        value: what a configuration holds; a budget may be a text such as "0.5/255".

    Returns:
        The value: whole numbers in fields of numbers as floats, lists as tuples.

    Raises:
        InputError: the value has another type, is not finite, or breaks the rule; or it is a
            budget below one grey level without its unit.
    """
    kind = type(default)
    if field in _BUDGETS and (isinstance(value, str) or (_is_number(value) and 0 < value < 1)):
        value = read_budget(value, name=field)
    elif kind is float and _is_number(value):
        try:
            value = float(value)
        except OverflowError:  # a whole number of 400 digits
            raise _wrong(field, default, value) from None
    elif kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _wrong(field, default, value)
    if field == "model.architecture":
        _check_architecture(value)
    if field in _RULES and not _RULES[field].holds(value):
        raise _wrong(field, default, value)
    for number in value if kind is tuple else (value,):
        _check_bound(field, number)
    return value


def _check_bound(field: str, value: Any) -> None:
    if _is_number(value) and not abs(value) <= _MOST_NUMBER:
        raise InputError(f"{field} must be at most {_MOST_NUMBER:g}; got {_short(value)}")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_architecture(name: str) -> None:
    from jaxreid.models import ARCHITECTURES  # JAX, which not every command needs

    if name not in ARCHITECTURES:
        names = ", ".join(ARCHITECTURES)
        raise InputError(f"model.architecture must be one of {names}; got {name!r}")


def parse_value(field: str, default: Any, text: str) -> Any:
    """Reads the text of an override.

    Args:
        field: dotted name.
        default: the field's value in configs/default.py, whose type counts.
        text: what the user wrote after `=`.

    Returns:
        A value of the default's type, or the text of a budget with its unit; its range is not
        checked yet.

    Raises:
        InputError: the text is no such value.
    """
    if field in _BUDGETS and "/" in text:
        return text
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
        if isinstance(default, tuple):
            return tuple(_number(part) for part in text.strip(" ()[]").split(",") if part.strip())
    except (KeyError, ValueError):
        raise _wrong(field, default, text) from None
    return text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def check_fields(fields: Mapping[str, Any]) -> None:
    """Checks what only several fields together can break.

    Args:
        fields: dotted name -> value, each valid by itself.

    Raises:
        InputError: names the fields and what they must agree on.
    """
    size, images = fields["batch.size"], fields["batch.images_per_identity"]
    if fields["batch.sampler"] == "identities" and size % images:
        raise InputError(
            f"batch.size must be a multiple of batch.images_per_identity with the sampler "
            f"identities; got {size} and {images}"
        )
    if fields["loss.name"] == "cross_entropy" and fields["model.head"] != "classification":
        raise InputError(
            "loss.name cross_entropy needs model.head classification, which has a classifier; "
            f"got {fields['model.head']}"
        )
    warmup, epochs = fields["schedule.warmup_epochs"], fields["epochs"]
    if fields["schedule.name"] == "cosine" and warmup >= epochs:
        raise InputError(
            f"schedule.warmup_epochs must be less than epochs; got {warmup:g} of {epochs}"
        )
    if fields["goat.enabled"] and fields["goat.guide_bank"] and not fields["goat.push"]:
        raise InputError("goat.guide_bank holds pushing guides: goat.push must be 1 or more; got 0")
