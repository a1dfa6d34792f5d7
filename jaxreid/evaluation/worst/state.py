"""How far an ensemble has come, in memory and on disk: killed, it goes on after its last member.

    worst/KEY/NN-name.npz    after member NN: the scores so far, and the images that the member made
    worst/KEY.npy            features of an attacked gallery, for attacks on its queries

KEY is `Condition.key`. The folder of a state is gone when the result is written.
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxreid.distributed import is_main_process
from jaxreid.evaluation.worst.best import Best
from jaxreid.evaluation.worst.members import MemberSpec
from jaxreid.evaluation.worst.outcome import Extremes
from jaxreid.files import clear_abandoned, replacing
from jaxreid.records import Condition, Member
from jaxreid.sharding import from_first_process

__all__ = [
    "State",
    "StateFiles",
    "forget",
    "gallery_features",
    "keep_gallery",
]

# Bytes of the members' text, which the first process sends to the others.
_LONGEST = 1 << 16


@dataclasses.dataclass
class State:
    """How far an ensemble has come.

    Attributes:
        known: the worst images as the attacker knows them, from which members start.
        reported: the worst images as they are reported; the same object where he knows just that.
        extremes: the worst of each query.
        members: the members that are done.
        climbed: int32 [T], members that followed a gradient.
        flat: int32 [T], of these, those in which it was zero at some step.
        nonfinite: boolean [T], whether it held NaN or infinity at any step of any member.
    """

    known: Best
    reported: Best
    extremes: Extremes
    members: list[Member]
    climbed: np.ndarray
    flat: np.ndarray
    nonfinite: np.ndarray

    def bests(self) -> dict[str, Best]:
        """The sets of images, by name."""
        known = {} if self.known is self.reported else {"known": self.known}
        return {"reported": self.reported} | known

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is small, by name."""
        arrays = {name: getattr(self, name) for name in ("climbed", "flat", "nonfinite")}
        arrays |= {f"extreme_{name}": part for name, part in self.extremes.precision.items()}
        arrays["extreme_first_rank"] = self.extremes.first_rank
        for of, best in self.bests().items():
            arrays |= {f"{of}_{name}": part for name, part in best.arrays().items()}
        return arrays


class StateFiles:
    """The files of a state.

    Args:
        folder: of the run; None to keep nothing.
        condition: canonical.
        specs: of the ensemble.
    """

    def __init__(
        self, folder: Path | None, condition: Condition, specs: tuple[MemberSpec, ...]
    ) -> None:
        self._folder = None if folder is None else part_of(folder, condition)
        self._specs, self._condition = specs, condition

    def write(self, state: State) -> None:
        """Adds the last member."""
        if self._folder is None or not is_main_process():
            return
        number = len(state.members) - 1
        arrays = state.arrays()
        for of, best in state.bests().items():
            arrays |= {f"{of}_{name}": part for name, part in best.made_by(number).items()}
        arrays["members"] = _encoded([dataclasses.asdict(one) for one in state.members])
        arrays["plan"] = _encoded(self._plan(number))
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._file(number)) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def read(self, state: State) -> None:
        """Goes on where the files end; one that is damaged or of another plan ends them, too."""
        if self._folder is not None and is_main_process() and self._folder.is_dir():
            clear_abandoned(self._folder, held=True)
            for number in range(len(self._specs)):
                if not self._restored(state, number):
                    break
        if jax.process_count() > 1:
            _share(state)

    def _restored(self, state: State, number: int) -> bool:
        try:
            with np.load(self._file(number), allow_pickle=False) as file:
                # Read whole before anything is changed: each array has a checksum.
                stored = {name: file[name] for name in file.files}
            if json.loads(stored["plan"].tobytes()) != self._plan(number):
                return False
            members = [Member(**one) for one in json.loads(stored["members"].tobytes())]
            fits = all(
                stored[name].shape == part.shape and stored[name].dtype == part.dtype
                for name, part in state.arrays().items()
            )
            if not fits:
                return False
            for name, part in state.arrays().items():
                part[:] = stored[name]
            for of, best in state.bests().items():
                best.put_back(_under(f"{of}_", stored))
        # Whatever is wrong with it: what it says can be computed.
        except Exception:
            return False
        state.members[:] = members
        return True

    def _plan(self, number: int) -> list[Any]:
        """What the first members are, so that files of other ones are not taken for theirs."""
        return json.loads(json.dumps([self._condition.key, *self._specs[: number + 1]]))

    def _file(self, number: int) -> Path:
        assert self._folder is not None
        name = self._specs[number].name.replace(" ", "-")
        return self._folder / f"{number:02d}-{name}.npz"


def part_of(folder: Path, condition: Condition) -> Path:
    """Where the state of a condition lies in a run folder."""
    return folder / "worst" / condition.key


def forget(folder: Path, condition: Condition) -> None:
    """Removes the state of a condition whose result is written."""
    if is_main_process():
        shutil.rmtree(part_of(folder, condition), ignore_errors=True)
        with contextlib.suppress(OSError):
            # Where nothing of a gallery is kept in it.
            (folder / "worst").rmdir()


def gallery_features(
    folder: Path | None, condition: Condition, clean: np.ndarray
) -> np.ndarray | None:
    """What was kept, shaped like the clean features [T,D]; None where it was not, or is damaged."""
    features = None
    if folder is not None and is_main_process():
        features = _read_gallery(_gallery_file(folder, condition), clean)
    if jax.process_count() == 1:
        return features
    # The others may not see the folder.
    known, sent = from_first_process(
        (np.array(features is not None), clean if features is None else features)
    )
    return np.asarray(sent) if bool(known) else None


def keep_gallery(folder: Path, condition: Condition, features: np.ndarray) -> None:
    """Writes features [T,D] of a gallery that was attacked."""
    if not is_main_process():
        return
    path = _gallery_file(folder, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features)


def _read_gallery(path: Path, clean: np.ndarray) -> np.ndarray | None:
    try:
        features: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    fits = features.shape == clean.shape and features.dtype == clean.dtype
    return features if fits and np.isfinite(features).all() else None


def _gallery_file(folder: Path, condition: Condition) -> Path:
    return folder / "worst" / f"{condition.key}.npy"


def _encoded(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _under(prefix: str, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): part for k, part in stored.items() if k.startswith(prefix)}


def _share(state: State) -> None:
    """Gives all processes what the first one read."""
    text = _encoded([dataclasses.asdict(one) for one in state.members])
    sent = np.zeros(_LONGEST, np.uint8)
    sent[: len(text)] = text
    length, sent = from_first_process((np.int32(len(text)), sent))
    members = json.loads(np.asarray(sent)[: int(length)].astype(np.uint8).tobytes())
    state.members[:] = [Member(**one) for one in members]
    if not members:
        return
    parts = list(state.arrays().values())
    for best in state.bests().values():
        parts += [best.images, best.features]
    for part in parts:
        part[:] = from_first_process(part)
