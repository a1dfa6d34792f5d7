"""Records that have a file of their own in a run folder."""

from pathlib import Path
from typing import ClassVar, Self

from jaxreid.records.parsing import load_whole, save_whole

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
        save_whole(folder / self.FILE, self, indent=self.INDENT)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Args:
            folder: the run's.

        Returns:
            The record.

        Raises:
            InputError: the file is missing, of another version, or damaged; the message names the
                field.
        """
        return load_whole(cls, folder / cls.FILE, cls.SCHEMA, check=cls._check, instead=cls.AGAIN)
