"""What of a perturbation is learned so far, on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.weights.storage import read, write

__all__ = ["Unfinished"]

_State = TypeVar("_State")
_KEY = "jaxreid_unfinished_perturbation"


class Unfinished:
    """A file that holds the state after the last epoch.

    Args:
        path: of the file, a .safetensors; gone when `remove` is called.
        marks: what must be the same for whoever goes on; JSON can hold it.
    """

    def __init__(self, path: Path, marks: Mapping[str, Any]) -> None:
        self._path = path
        # As they are read back: no tuples.
        self._marks: dict[str, Any] = json.loads(json.dumps(dict(marks)))

    def keep(self, state: Any, epochs: int) -> None:
        """Writes the state, whole or not at all.

        Args:
            state: a pytree of arrays.
            epochs: that are done.
        """
        leaves = {f"{n:06d}": np.array(leaf) for n, leaf in enumerate(jax.tree.leaves(state))}
        said = json.dumps({"epochs": epochs, "marks": self._marks})
        write(self._path, leaves, {_KEY: said})

    def found(self, start: _State) -> tuple[_State, int]:
        """What was kept.

        Args:
            start: the state at the beginning: the shapes that are expected.

        Returns:
            The state, and the epochs that are done; the start and 0 if nothing was kept.

        Raises:
            InputError: the file is damaged, or of something else.
        """
        if not self._path.exists():
            return start, 0
        stored = read(self._path)
        try:
            said = json.loads(stored.metadata[_KEY])
            marks, epochs = dict(said["marks"]), int(said["epochs"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{self._path} {_NOT_ONE}") from None
        for name in sorted({*marks, *self._marks}):
            if marks.get(name) != self._marks.get(name):
                raise InputError(
                    f"{self._path} holds the beginning of another perturbation: its {name} is "
                    f"{marks.get(name)}, now {self._marks.get(name)}; remove it, or name another "
                    "--out"
                )
        leaves, tree = jax.tree.flatten(start)
        kept = [stored.tensors[name] for name in sorted(stored.tensors)]
        if [leaf.shape for leaf in kept] != [np.shape(leaf) for leaf in leaves]:
            raise InputError(f"{self._path} {_NOT_ONE}")
        return jax.tree.unflatten(tree, kept), epochs

    def remove(self) -> None:
        """Removes the file, if there is one."""
        self._path.unlink(missing_ok=True)


_NOT_ONE = "holds no unfinished perturbation; remove it, or name another --out"
