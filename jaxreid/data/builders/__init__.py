"""TFDS builders; importing this module registers them: `tfds.builder("market1501")`."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxreid.data.builders.base import ReidBuilder
from jaxreid.data.builders.market_layout import Cuhk03Np, DukemtmcReid, Market1501, ReidFolder
from jaxreid.data.builders.msmt17 import Msmt17
from jaxreid.data.builders.synthetic_reid import SyntheticReid

__all__ = [
    "BUILDERS",
    "Cuhk03Np",
    "DukemtmcReid",
    "Market1501",
    "Msmt17",
    "ReidBuilder",
    "ReidFolder",
    "SyntheticReid",
]

_ALL = (Market1501, DukemtmcReid, Msmt17, Cuhk03Np, ReidFolder, SyntheticReid)

BUILDERS: Mapping[str, type[ReidBuilder]] = MappingProxyType({cls.name: cls for cls in _ALL})
"""Name -> builder."""
