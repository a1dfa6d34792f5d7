"""Whether a forward pass draws random numbers: what they are drawn from has another state then."""

import contextlib
import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["RandomStates", "random_states_kept"]


class RandomStates:
    """The states of all that a module may draw from, as they are now.

    What the module makes anew in every pass is not seen: a generator of NumPy's, for example.

    Args:
        module: `torch.nn.Module`: generators among its attributes are looked at, too.
        device: where it runs.
    """

    def __init__(self, module: Any, device: Any) -> None:
        self._module, self._device = module, device
        self._states = self._read()

    def changed(self) -> list[str]:
        """What was drawn from since, in words."""
        now = self._read()
        return [name for name, state in self._states.items() if now.get(name) != state]

    def _read(self) -> dict[str, object]:
        import torch

        own = [
            value.get_state().numpy().tobytes()
            for part in self._module.modules()
            for value in vars(part).values()
            if isinstance(value, torch.Generator)
        ]
        states: dict[str, object] = {
            "PyTorch": torch.get_rng_state().numpy().tobytes(),
            "a torch.Generator": own,
            "NumPy": pickle.dumps(np.random.get_state(legacy=False)),  # noqa: NPY002
            "Python's random": random.getstate(),
        }
        if torch.device(self._device).type == "cuda":
            states["CUDA"] = torch.cuda.get_rng_state(self._device).numpy().tobytes()
        return states


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Takes nothing from the user's own sequences: afterwards they go on where they were."""
    import torch

    of_python, of_numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
