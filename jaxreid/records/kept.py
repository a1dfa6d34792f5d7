"""Records that have a file of their own in a run folder."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar, Self

from jaxreid.errors import InputError, reason_of
from jaxreid.files import replacing
from jaxreid.records.parsing import read_versioned, typed

__all__ = ["InRunFolder"]


class InRunFolder:
    """A dataclass that is one JSON file of a run folder, always under the same name.

    Attributes:
        FILE: its name.
        SCHEMA: version of the file, which the field `schema` has; one of another is refused.
        AGAIN: what to do about a damaged file.
        INDENT: spaces of a level; None for one line.
    """

    FILE: ClassVar[str]
    SCHEMA: ClassVar[int]
    AGAIN: ClassVar[str]
    INDENT: ClassVar[int | None] = 2

    def _check(self) -> None:
        """Raises InputError where a field has the right type and still cannot be."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Writes the file, whole or not at all.

        Args:
            folder: the run's, which exists.

        Raises:
            OSError: it cannot be written.
        """
        # A number that is none has no place in JSON.
        text = json.dumps(dataclasses.asdict(self), indent=self.INDENT, allow_nan=False)  # type: ignore[call-overload]
        with replacing(folder / self.FILE) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def found(cls, folder: Path) -> Self | None:
        """Reads the file, if there is one.

        Args:
            folder: the run's.

        Returns:
            The record; None where the folder has none yet.

        Raises:
            InputError: as `load` does.
        """
        return cls.load(folder) if (folder / cls.FILE).exists() else None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Args:
            path: the run's folder, or the file, wherever it is.

        Returns:
            The record.

        Raises:
            InputError: the file is missing, of another version, or damaged; the message names the
                field.
        """
        file = path / cls.FILE if path.is_dir() else path
        try:
            fields = read_versioned(file, cls.SCHEMA, instead=cls.AGAIN)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {reason_of(error)}") from None
        try:
            record = typed(cls, fields)
            record._check()
        except InputError as error:
            raise InputError(f"{file} is damaged: {error}; {cls.AGAIN}") from None
        return record
