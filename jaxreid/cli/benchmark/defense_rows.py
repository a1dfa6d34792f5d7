"""Rows of a league of defenses: from words and files of a user to configurations, all checked."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxreid.benchmark.league.standings import UNDEFENDED
from jaxreid.errors import InputError, reason_of

if TYPE_CHECKING:
    from jaxreid.benchmark.league.defenses import Row
    from jaxreid.training.config import TrainConfig

__all__ = ["ALWAYS", "Defense", "default_list", "from_file", "from_text", "plain_row", "rows_of"]

_WORDS = "goat=fna"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
# A comma ends an override only where another one begins: (20,40) has one inside.
_NEXT = re.compile(r",\s*(?=[a-z_]+(?:\.[a-z_]+)*=)")
_PREFIX = "--config."
# Of a league: the same network, data and rule by which weights are chosen for every row.
_COMMON = ("seed", "epochs", "dataset", "model", "evaluation")
_EXPECTED = "NAME=words:field=value,... such as trades=goat=fna:defense.consistency=features"


class Defense(NamedTuple):
    """A row as a user wrote it.

    Attributes:
        name: of its folder.
        words: behind the preset's colon.
        overrides: such as "goat.eps=4".
    """

    name: str
    words: str = _WORDS
    overrides: tuple[str, ...] = ()


ALWAYS = (Defense(UNDEFENDED, overrides=("goat.enabled=false",)), Defense("goat"))
"""Rows of every league: GOAT, and the same training without an attack."""


def from_text(text: str) -> Defense:
    """Reads NAME=words:overrides; without words, those of GOAT."""
    name, equals, rest = text.partition("=")
    words, _, overrides = rest.partition(":")
    if not equals:
        raise InputError(f"--defense {text!r}: expected {_EXPECTED}")
    found = tuple(part.strip() for part in _NEXT.split(overrides) if part.strip())
    return Defense(_checked(name, "--defense"), words.strip() or _WORDS, found)


def from_file(path: Path) -> list[Defense]:
    """Reads a table per row from a TOML file: `words`, and fields of the configuration."""
    from jaxreid.training.fields import flat

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--list {path}: {reason_of(error)}") from None
    rows = []
    for name, fields in found.items():
        if not isinstance(fields, dict):
            raise InputError(f"--list {path}: {name}: expected a table such as [{name}]")
        words = fields.pop("words", _WORDS)
        if not isinstance(words, str):
            raise InputError(f"--list {path}: {name}: words must be a text, got {words!r}")
        overrides = tuple(f"{field}={_text(field, v, path)}" for field, v in flat(fields))
        rows.append(Defense(_checked(name, f"--list {path}"), words, overrides))
    return rows


def default_list() -> Path:
    """The list that is bundled with the presets."""
    from jaxreid.cli.configuration import preset_folder

    return preset_folder() / "defenses.toml"


def _text(field: str, value: object, path: Path) -> str:
    """A value of TOML as it is typed on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"({','.join(_text(field, one, path) for one in value)})"
    if isinstance(value, int | float | str):
        return str(value)
    raise InputError(f"--list {path}: {field}: expected a number, a text or a list, got {value!r}")


def _checked(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{where}: {name!r} is no name of a row: letters, digits, '_', '.' and '-', at most 40"
        )
    return name


def plain_row(config: str, common: Sequence[str], name: str = "plain") -> "Row":
    """The training of the network that all rows start from."""
    from jaxreid.benchmark.league.defenses import Row
    from jaxreid.cli.configuration import load

    # Its last weights are taken: there is nothing to choose.
    words = (config, *common, f"{_PREFIX}evaluation.every_epochs=0")
    loaded = load(words[0], words[1:])
    if loaded.goat.enabled:
        raise InputError(f"--config {config}: name a preset without goat=...; rows bring theirs")
    return Row(name, loaded, words, config)


def rows_of(
    config: str, common: Sequence[str], defenses: Sequence[Defense], start: Path
) -> "tuple[Row, ...]":
    """Loads every row, and gives all of them the same start and the same budget of images.

    Args:
        config: a preset or a file, as for `jaxreid train`.
        common: `--config.FIELD=VALUE` of every row.
        defenses: beside those that are ALWAYS there.
        start: weights that all start from.

    Raises:
        InputError: a name comes twice, a word or a field is wrong, or a row changes what all have
            in common; the message names the row.
    """
    wanted = [*ALWAYS, *defenses]
    names = [defense.name for defense in wanted]
    for name in names:
        if names.count(name) > 1 or name == "plain":
            why = "names a row or a folder that is there already"
            raise InputError(f"defense {name}: the name {why}; choose another")
    from jaxreid.benchmark.league.defenses import images_per_epoch

    given = (*common, f"{_PREFIX}model.start_from={start}")
    goat = _loaded(config, given, next(row for row in ALWAYS if row.name == "goat"))
    images = goat.epochs * images_per_epoch(goat)
    # How many images a row sees is the league's to say: epochs that its words bring give way.
    rules = {"epochs": goat.epochs, "evaluation.every_epochs": goat.evaluation.every_epochs}
    epochs = tuple(f"{_PREFIX}{field}={value}" for field, value in rules.items())
    rows = []
    for defense in wanted:
        shared, loaded = given, _loaded(config, given, defense)
        if _brings_epochs(defense, loaded, goat):
            shared = (*given, *epochs)
            loaded = _loaded(config, shared, defense)
        _refuse_other_rules(defense.name, loaded, goat)
        rows.append(_in_budget(_words(config, shared, defense), defense, loaded, images))
    return tuple(rows)


def _brings_epochs(defense: Defense, loaded: "TrainConfig", goat: "TrainConfig") -> bool:
    """Whether a row's words have epochs of their own; those that it names itself are refused."""
    own, usual = ((config.epochs, config.evaluation.every_epochs) for config in (loaded, goat))
    named = {override.partition("=")[0] for override in defense.overrides}
    return own != usual and named.isdisjoint(("epochs", "evaluation.every_epochs"))


def _words(config: str, common: Sequence[str], defense: Defense) -> tuple[str, ...]:
    """After `jaxreid train --config`; an override of the row wins over a common one."""
    own = [f"{_PREFIX}{override}" for override in defense.overrides]
    return (_with_words(config, defense.words), *common, *own)


def _with_words(config: str, words: str) -> str:
    joint = ":" if config.endswith(".py") or ":" not in config else ","
    return f"{config}{joint}{words}"


def _loaded(config: str, common: Sequence[str], defense: Defense) -> "TrainConfig":
    from jaxreid.cli.configuration import load

    preset, *overrides = _words(config, common, defense)
    try:
        return load(preset, overrides)
    except InputError as error:
        raise InputError(f"defense {defense.name}: {error}") from None


def _refuse_other_rules(name: str, config: "TrainConfig", goat: "TrainConfig") -> None:
    from jaxreid.training.fields import differences

    for line in differences(goat.as_json(), config.as_json()):
        field = line.partition(":")[0]
        if field.partition(".")[0] in _COMMON:
            raise InputError(
                f"defense {name}: {field} is the same for all rows; set it for all of them, as "
                f"{_PREFIX}{field}=... or with an option of the league"
            )


def _in_budget(words: Sequence[str], defense: Defense, loaded: "TrainConfig", images: int) -> "Row":
    """A row that sees as many training images as all others."""
    from jaxreid.benchmark.league.defenses import Row, within_budget

    changes = within_budget(loaded, images=images)
    added = [f"{_PREFIX}{field}={value}" for field, value in changes.items()]
    shown = " ".join([words[0], *(f"{_PREFIX}{override}" for override in defense.overrides)])
    return Row(defense.name, loaded.replace(changes), (*words, *added), shown)
