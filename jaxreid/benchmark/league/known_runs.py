"""Runs of a league that another machine has trained and judged, as its record tells them."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxreid.benchmark.league.files import read_object
from jaxreid.benchmark.league.standings import Run
from jaxreid.errors import InputError

__all__ = ["known_runs"]

# What differs from machine to machine, and with the seed.
_OF_A_RUN = ("--config.model.start_from=", "--config.dataset.data_dir=", "--config.seed=")
_PLACES = ("--workdir", "--out", "--data-dir")


def known_runs(
    path: Path, planned: Mapping[tuple[str, int], tuple[str, str]]
) -> dict[tuple[str, int], Run]:
    """Reads the runs of a record, each of which must be one that the league plans.

    Args:
        path: a defenses.json of `jaxreid benchmark defenses`.
        planned: (row, seed) -> the commands that train and judge it.

    Returns:
        (row, seed) -> what came of it.

    Raises:
        InputError: the file is no such record, or one of its runs is not planned, or was trained or
            judged in another way.
    """
    found = {}
    for name, run in _runs(path):
        if (name, run.seed) not in planned:
            raise InputError(
                f"{path}: {name} with seed {run.seed} is none of this league's; name its row and "
                "its seed, too"
            )
        training, evaluation = planned[name, run.seed]
        pairs = [(run.training, training), *([(run.evaluation, evaluation)] if run.weights else [])]
        for theirs, ours in pairs:
            if _everywhere(theirs) != _everywhere(ours):
                raise InputError(
                    f"{path}: {name} with seed {run.seed} is another league's: its command is "
                    f"{theirs}, ours {ours}"
                )
        found[name, run.seed] = run
    return found


def _runs(path: Path) -> list[tuple[str, Run]]:
    record = read_object(path)
    try:
        if record["benchmark"] != "defenses":
            raise ValueError
        return [
            (str(row["name"]), _run(one)) for row in record["result"]["rows"] for one in row["runs"]
        ]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: expected a record of `jaxreid benchmark defenses`, its defenses.json"
        ) from None


def _run(one: Mapping[str, Any]) -> Run:
    scores = {str(key): (float(a), float(b)) for key, (a, b) in one["scores"].items()}
    return Run(**{**one, "seed": int(one["seed"]), "scores": scores})


def _everywhere(command: str) -> Sequence[str]:
    """The words of a command that are the same on every machine."""
    words = shlex.split(command)
    if words[:2] == ["jaxreid", "evaluate"]:
        del words[2]
    kept = []
    for word, before in zip(words, ["", *words], strict=False):
        if before not in _PLACES and word not in _PLACES and not word.startswith(_OF_A_RUN):
            kept.append(word)
    return kept
