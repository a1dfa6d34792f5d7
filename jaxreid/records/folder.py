"""A run folder: results are appended to it as they come, and read back."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing
from jaxreid.records.arrays import Examples, FeatureMap, PerQuery, VerificationCurve
from jaxreid.records.parsing import is_cut_off, read_versioned, refuse_special, typed
from jaxreid.records.schema import SCHEMA, Condition, Provenance, Result

__all__ = ["RunFolder"]

_ELSEWHERE = "evaluate into a new folder"
_WAY_OUT = "without the line, `jaxreid evaluate` does its condition anew"


class RunFolder:
    """A run on disk, to be added to or read.

    Attributes:
        path: the folder.
        provenance: what run.json says.
    """

    def __init__(self, path: Path, provenance: Provenance) -> None:
        self.path, self.provenance = path, provenance

    @classmethod
    def create(cls, path: Path, provenance: Provenance) -> Self:
        """Makes the folder and its run.json; results that are there already are kept.

        Args:
            path: made with its parents.
            provenance: replaces what run.json said.

        Returns:
            The run.
        """
        path.mkdir(parents=True, exist_ok=True)
        with replacing(path / "run.json") as temporary:
            text = json.dumps(dataclasses.asdict(provenance), indent=2)
            temporary.write_text(text + "\n", encoding="utf-8")
        return cls(path, provenance)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads run.json.

        Args:
            path: the folder.

        Returns:
            The run.

        Raises:
            InputError: the folder holds no run, or one of another schema.
        """
        file = path / "run.json"
        try:
            fields = read_versioned(file, SCHEMA, instead=_ELSEWHERE)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{path} holds no evaluation: expected run.json, as `jaxreid evaluate --out` writes"
            ) from None
        except OSError as error:
            raise InputError(f"{file} cannot be read: {reason_of(error)}") from None
        try:
            return cls(path, typed(Provenance, fields))
        except InputError as error:
            raise InputError(f"{file} is damaged: {error}; {_ELSEWHERE}") from None

    def results(self) -> list[Result]:
        """All results so far, in the order in which they came.

        Returns:
            One per condition: the last one where a condition was done twice.

        Raises:
            InputError: a line is damaged, other than cut off by an interruption.
        """
        found = [result for result in self._lines() if result is not None]
        return list({result.condition.key: result for result in found}.values())

    def cut_off(self) -> int:
        """How many lines of results.jsonl an interruption cut off; `results` leaves them out.

        Returns:
            The number; such a line's condition is evaluated anew when the run goes on.

        Raises:
            InputError: a line is damaged otherwise.
        """
        return sum(result is None for result in self._lines())

    def damaged(self) -> list[Condition]:
        """Conditions that are listed and whose arrays cannot be read.

        Returns:
            Conditions to be evaluated anew: a report refuses such files.

        Raises:
            InputError: a line of results.jsonl is damaged.
        """
        return [one.condition for one in self.results() if not self._readable(one.condition)]

    def _readable(self, condition: Condition) -> bool:
        try:
            for path, kind in (
                (self.arrays_of(condition), PerQuery),
                (self.examples_of(condition), Examples),
                (self.map_of(condition), FeatureMap),
                (self.verification_of(condition), VerificationCurve),
            ):
                if path.is_file():
                    kind.load(path)
        except InputError:
            return False
        return True

    def append(self, result: Result, arrays: PerQuery) -> None:
        """Adds a result, on disk when this returns.

        Args:
            result: the line.
            arrays: its scores per query.
        """
        arrays.save(self.arrays_of(result.condition))
        with (self.path / "results.jsonl").open("a+b") as file:
            # A line that an interruption cut short must not swallow this one.
            if file.seek(0, os.SEEK_END) and not self._ends_with_line_break():
                file.write(b"\n")
            file.write(result.to_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def arrays_of(self, condition: Condition) -> Path:
        """Names the file of a condition's PerQuery.

        Args:
            condition: of a result.

        Returns:
            Path of an .npz.
        """
        return self._file("arrays", condition)

    def examples_of(self, condition: Condition) -> Path:
        """Names the file of a condition's Examples, which not every condition has.

        Args:
            condition: of a result.

        Returns:
            Path of an .npz.
        """
        return self._file("examples", condition)

    def map_of(self, condition: Condition) -> Path:
        """Names the file of a condition's FeatureMap, which not every condition has.

        Args:
            condition: of a result.

        Returns:
            Path of an .npz.
        """
        return self._file("map", condition)

    def verification_of(self, condition: Condition) -> Path:
        """Names the file of a condition's VerificationCurve, which not every condition has.

        Args:
            condition: of a result.

        Returns:
            Path of an .npz.
        """
        return self._file("verification", condition)

    def _file(self, kind: str, condition: Condition) -> Path:
        """The file of a condition; under its former name if an earlier version wrote it.

        Several conditions shared a former name: then the file is of the last of them, and who that
        was is not known.
        """
        path = self.path / kind / f"{condition.key}.npz"
        former = path.with_name(f"{condition.former_key}.npz")
        if path == former or path.exists() or not former.exists():
            return path
        alike = [r for r in self.results() if r.condition.former_key == condition.former_key]
        return former if [r.condition for r in alike] == [condition] else path

    def _ends_with_line_break(self) -> bool:
        with (self.path / "results.jsonl").open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _lines(self) -> Iterator[Result | None]:
        """Results line by line; None for what is left of a line that an interruption cut off."""
        file = self.path / "results.jsonl"
        try:
            refuse_special(file)
            lines = file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{file} cannot be read: {reason_of(error)}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _read_line(line, f"{file}, line {number}")


def _read_line(line: bytes, where: str) -> Result | None:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} cannot be read: {error}; {_WAY_OUT}") from None
    try:
        return Result.from_json(text)
    except InputError as error:
        # An interrupted run leaves half a line; when it goes on, it begins the next one below.
        if is_cut_off(text):
            return None
        raise InputError(f"{where} cannot be read: {error}; {_WAY_OUT}") from None
