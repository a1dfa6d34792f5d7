"""MSMT17: lists beside image folders."""

from pathlib import Path

from jaxreid.data import filenames
from jaxreid.data.builders.base import ReidBuilder
from jaxreid.data.catalogue import DATASETS
from jaxreid.data.folders import Folders, scan_lists
from jaxreid.data.layouts import LISTS_LAYOUT

__all__ = ["Msmt17"]

_TRAINING_PEOPLE = 1_041


def _renumber(side: str, identity: int) -> int:
    return identity + 1 + (_TRAINING_PEOPLE if side == "test" else 0)


class Msmt17(ReidBuilder):
    """MSMT17 (Wei et al. 2018), V1 and V2 (faces blurred): whichever the folder holds.

    Source: https://arxiv.org/abs/1711.08565. Its lists number people from 0, in training and
    test anew, while 0 means distractor everywhere else; so identity here is the list's number
    plus 1 in training (1 to 1041), and plus 1042 in query and gallery (1042 to 4101). Training is
    `list_train` and `list_val` together, as is usual.

    Args:
        **kwargs: those of `ReidBuilder`.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = DATASETS["msmt17"].placement

    def _scan(self, given: Path, scratch: Path) -> Folders:
        root = self._find(LISTS_LAYOUT, given, scratch)
        return scan_lists(root, filenames.MSMT17, renumber=_renumber)
