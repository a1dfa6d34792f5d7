"""What one library's declaration says: how its files are recognised, and how they name tensors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxreid.models.backbone import BackboneConfig
from jaxreid.models.config import ModelConfig
from jaxreid.models.weights.choices import Choices
from jaxreid.models.weights.shapes.reading import Shapes

__all__ = ["Layout", "Reader", "begins"]

Reader = Callable[[Shapes, Choices], BackboneConfig | None]
"""Reads the shape of a backbone off its tensors; None where it is of another kind."""


@dataclass(frozen=True)
class Layout:
    """How files of one library are recognised, and how its networks differ from those here.

    Args:
        recognises: whether a file with these names is of this library; they are asked in the order
            of LAYOUTS.
        backbone: what stands before the names of the backbone's tensors, without the dot.
        heads: head -> {part of the head here: its name there, or the names of several}; the heads
            the library has.
        readers: read the backbone off the tensors; the first that gives one.
        kinds: keys of jaxreid.models.kinds.KINDS, the backbones that have names in this library.
        classifier_bias: whether its classifiers have a bias; None where that differs by file.
        renamed: old beginning of names -> the present one, for modules that a library renamed.
        check_names: raises InputError where the names leave open which network a file holds; it
            is given the names, whether the user named the layout, and the user's choices.
        place: parts of the path of a backbone's parameter, such as ("layer1", "0", "bn1", "scale"),
            -> parts of its whole name there, without the last, and with what stands before it.
        fields: what the library's networks have beside backbone and head: fields of ModelConfig
            (mean, std, neck_feature, training_size, pipeline), given the names in the file, the
            configuration without them, and the user's choices.
        tell: reads the tensors, by today's names, that say something of the pipeline and not of the
            network: fields of ModelConfig; they are ignorable.
        beside: names of the backbone's tensors that do not begin with `backbone`.
        buffers: whole names and values of what its files hold beside parameters and counters, of
            a configuration; written at export, and checked at import where the file has them, but
            for those that are ignorable.
        old_buffers: the same of files of former releases, written only under the names of a file
            that has them; they are ignorable.
        ignorable: pattern of names, as fnmatch reads them -> why the feature does without them.

    Returns:
        The layout.
    """

    recognises: Callable[[Collection[str]], bool]
    backbone: str
    heads: Mapping[str, Mapping[str, str | tuple[str, ...]]]
    readers: tuple[Reader, ...]
    kinds: tuple[str, ...]
    classifier_bias: bool | None = True
    renamed: Mapping[str, str] = field(default_factory=dict)
    check_names: Callable[[Collection[str], bool, Mapping[str, object]], None] | None = None
    place: Callable[[Sequence[str]], Sequence[str]] | None = None
    fields: Callable[[Collection[str], ModelConfig, Choices], Mapping[str, Any]] | None = None
    tell: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]] | None = None
    beside: frozenset[str] = frozenset()
    buffers: Callable[[ModelConfig], Mapping[str, np.ndarray]] | None = None
    old_buffers: Callable[[ModelConfig], Mapping[str, np.ndarray]] | None = None
    ignorable: Mapping[str, str] = field(default_factory=dict)

    def shapes_of(self, tensors: Mapping[str, np.ndarray]) -> Shapes:
        """The shapes of the backbone's tensors, as readers want them: without what is before.

        Args:
            tensors: name -> array of a file.

        Returns:
            name -> shape.
        """
        prefix = f"{self.backbone}." if self.backbone else ""
        return {
            name.removeprefix(prefix): value.shape
            for name, value in tensors.items()
            if name.startswith(prefix) or name in self.beside
        }

    @property
    def head_names(self) -> set[str]:
        """Names under which any head of this library stores its tensors."""
        return {
            name
            for parts in self.heads.values()
            for names in parts.values()
            for name in ([names] if isinstance(names, str) else names)
        }


def begins(mark: str) -> Callable[[Collection[str]], bool]:
    """Recognises files in which some name begins so."""
    return lambda names: any(name.startswith(mark) for name in names)
