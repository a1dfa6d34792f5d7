"""Dataclasses as pytrees, and what tells pytrees of different classes apart."""

from dataclasses import fields
from typing import Any, TypeVar

import jax
from jax.tree_util import GetAttrKey, PyTreeDef

__all__ = ["classes_of", "pytree_dataclass"]

_Class = TypeVar("_Class", bound=type)


def pytree_dataclass(cls: _Class) -> _Class:
    """Registers a dataclass as a pytree of its fields, those marked ``static`` as its structure.

    As `jax.tree_util.register_dataclass` does, but with structures that know their class. There,
    two classes with as many fields and equal static ones have structures that compare equal (JAX
    0.10.2), and differ by their hash alone. `jit` finds its programs in a hash table: once in about
    200 times, where the slots of two such classes happen to meet, it runs the other's program.

    Args:
        cls: a dataclass; fields with ``metadata={"static": True}`` are hashable, all others are
            pytrees.

    Returns:
        The class itself.
    """
    static = tuple(one.name for one in fields(cls) if one.metadata.get("static", False))
    data = tuple(one.name for one in fields(cls) if one.name not in static)

    def parts(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (
            tuple(getattr(tree, name) for name in data),
            tuple(getattr(tree, name) for name in static),
        )

    def parts_by_name(tree: Any) -> tuple[list[tuple[GetAttrKey, Any]], tuple[Any, ...]]:
        values, structure = parts(tree)
        return [(GetAttrKey(name), one) for name, one in zip(data, values, strict=True)], structure

    def joined(structure: tuple[Any, ...], values: Any) -> Any:
        return cls(**dict(zip((*data, *static), (*values, *structure), strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, parts_by_name, joined, parts)
    return cls


def classes_of(tree: Any) -> tuple[type | None, ...]:
    """The classes of all nodes of a pytree, parents before children; None for a leaf.

    What is compiled for a pytree that somebody else registered is told apart by them: see
    `pytree_dataclass`.
    """

    def found(structure: PyTreeDef) -> tuple[type | None, ...]:
        node = structure.node_data()
        below = (one for child in structure.children() for one in found(child))
        return (None if node is None else node[0], *below)

    return found(jax.tree.structure(tree))
