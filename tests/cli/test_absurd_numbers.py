"""Numbers that are slips, for every option of every command: refused before anything starts."""

import re

import click
import pytest

from jaxreid.cli import COMMANDS, command, main
from jaxreid.cli.configuration import load
from jaxreid.cli.parameters import SEEDS, SIZE, real
from jaxreid.errors import InputError
from jaxreid.training.config import TrainConfig

HUGE = "1" + 30 * "0"
LONG = 5000 * "9"  # more digits than Python reads
NEVER = ("nan", "inf", "-inf", "1e400", HUGE, "-" + HUGE, LONG, "one", "")
WHOLE = (*NEVER, "-1", "1.5", "1e3", "0x10")
OF_KIND = {
    "integer range": WHOLE,
    real(0, 1).name: (*NEVER, "-1"),
    SEEDS.name: (*WHOLE, "0", "1000000000", f"0,{HUGE}", f"0,{LONG}", "0,-1", "4294967296,"),
    SIZE.name: (*WHOLE, "1x", "0x0", "-1x5", "100000x100000", f"{LONG}x1", f"1x{HUGE}", "64x32x3"),
}
# Their numbers may be fractions, and depend on --norm: they are refused before JAX is asked for
# anything, and a line names them.
BUDGETS = ("--eps", "--step-size")


def commands(found, words=()):
    if isinstance(found, click.Group):
        for name, below in found.commands.items():
            yield from commands(below, (*words, name))
    else:
        yield words, found


def numbers():
    for name in COMMANDS:
        for words, found in commands(command(name), (name,)):
            for option in found.params:
                # click's own take any number there is.
                assert option.type.name not in ("integer", "float", "float range"), option.opts
                if values := OF_KIND.get(option.type.name):
                    label = f"{' '.join(words)} {option.opts[0]}"
                    yield pytest.param(words, option, values, id=label)


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(("words", "option", "values"), list(numbers()))
def test_a_slip_is_refused_while_words_are_read(capsys, words, option, values):
    flag = option.opts[0]
    for value in values:
        code, said = run(capsys, *words, flag, *([value] * option.nargs))
        assert code == 2, value
        # Other words that the command needs are missing: this one was looked at first.
        assert f"Invalid value for '{flag}'" in said, (value, said)
        assert len(said) < 500


def test_what_is_typed_most_is_among_them():
    flags = {case.id for case in numbers()}
    for words in (
        "evaluate --workers",
        "evaluate --restarts",
        "evaluate --size",
        "evaluate --steps",
        "evaluate --seeds",
        "attack --seed",
        "attack --batch-size",
        "attack --limit",
        "convert --seed",
        "data prepare --workers",
        "benchmark data --repeats",
        "benchmark goat --size",
        "train --processes",
    ):
        assert words in flags


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--workers", "1000"), "1000 is not in the range 0<=x<=512"),
        (("--restarts", HUGE), f"{HUGE} is not in the range 1<=x<=10000"),
        (("--size", "100000x100000"), "sides from 1 to 4096, got '100000x100000'"),
        (("--seeds", "1000000000"), "a count such as 3, up to 1000"),
        (("--steps", HUGE), f"{HUGE} is not in the range 1<=x<=1000000"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_line_says_what_may_be(capsys, kind, words, told):
    code, said = run(capsys, "evaluate", *words)
    last = said.splitlines()[-1]
    assert (code, told in last) == (2, True), said
    kind(f"evaluate {words[0]} {words[1]}", f"exit {code}: {last}")


def test_budgets_are_not_without_number(capsys):
    code, said = run(capsys, "evaluate", "mine:embed", "--eps", ",".join(2000 * ["1"]))
    assert code == 2
    assert said.endswith("Invalid value for '--eps': expected at most 1000 budgets, got 2000\n")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e400", LONG, "one", ""])
@pytest.mark.parametrize("flag", BUDGETS)
@pytest.mark.parametrize("name", ["evaluate", "attack"])
def test_budgets_are_finite_and_not_negative(capsys, tmp_path, name, flag, value):
    given = ["mine:embed", "--dataset", "market1501", "--data-dir", str(tmp_path)]
    code, said = run(capsys, name, *given, "--out", str(tmp_path / "out"), flag, value)
    # A dataset that is not prepared is what is complained of next.
    assert re.search(f"{flag}|{flag[2:].replace('-', '_')} must", said), said
    assert (code, "Traceback" in said, "not prepared" in said) == (2, False, False)


@pytest.mark.parametrize(
    "field",
    [
        "seed",
        "epochs",
        "dataset.workers",
        "batch.size",
        "batch.images_per_identity",
        "model.dimensions",
        "augmentation.pad",
        "goat.push",
        "goat.steps",
        "goat.replays",
        "evaluation.batch_size",
        "evaluation.every_epochs",
        "checkpoint.every_steps",
        "checkpoint.keep",
        "log_every_steps",
    ],
)
def test_fields_of_a_training_have_bounds_too(kind, field):
    for value in (HUGE, f"-{HUGE}", "-1", "nan", "inf", LONG, "1.5", ""):
        with pytest.raises(
            InputError, match=f"{field} must be a whole number, from .* to "
        ) as told:
            load("synthetic", [f"--config.{field}={value}"])
        assert len(str(told.value)) < 200
    with pytest.raises(InputError) as told:
        load("synthetic", [f"--config.{field}={HUGE}"])
    kind(f"train --config.{field}={HUGE}", f"exit 2: {told.value}")


@pytest.mark.parametrize("field", ["goat.eps", "epochs"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_a_file_are_as_long_as_they_like(field, digits):
    with pytest.raises(InputError, match=f"{field} must be a"):
        TrainConfig().replace({field: 10**digits})
