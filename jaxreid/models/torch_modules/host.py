"""A PyTorch module as functions of NumPy arrays: its features, and their gradient by autograd."""

import copy
import threading
from typing import Any

import numpy as np

from jaxreid.errors import InputError, reason_of
from jaxreid.models.torch_modules.outputs import OutputChoice, feature_of

__all__ = ["HostModule", "copied", "dtype_of", "is_scripted", "name_of"]


class HostModule:
    """A module in eval mode whose parameters nothing changes.

    One call at a time, whichever thread it comes from: the devices of a host call at once, and a
    module may keep in itself what its forward pass is at.

    Args:
        module: copied; it and its mode stay as they are.
        output: which of its outputs is the feature.
    """

    def __init__(self, module: Any, output: OutputChoice) -> None:
        self.module, self.output = copied(module), output
        self.name = name_of(module)
        self.dtype = dtype_of(self.module)
        self.device = _device_of(self.module)
        # Re-entrant: a traced program asks for the size of features while one is computed.
        self._lock = threading.RLock()
        self._sizes: dict[tuple[int, ...], int] = {}

    @property
    def epsilon(self) -> float:
        """Between 1 and the next number of its dtype."""
        import torch

        return float(torch.finfo(self.dtype).eps)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Inputs [...,C,H,W] or [...,H,W,C] -> features [...,D], both of one dtype."""
        import torch

        with self._lock, torch.no_grad():
            return self._numpy(self._forward(self._tensor(x)), x, x.shape[:-3])

    def gradient(self, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
        """What autograd makes of a gradient to the features, [...,D]: one to the inputs."""
        import torch

        with self._lock, torch.enable_grad():
            leaf = self._tensor(x).requires_grad_()
            found = self.pulled_back(leaf, leaf, cotangent)
            return np.zeros_like(x) if found is None else self._numpy(found, x, x.shape[:-3])

    def pulled_back(self, leaf: Any, inputs: Any, cotangent: np.ndarray) -> Any:
        """A gradient to the features, as one to a leaf that inputs were made of; None without."""
        import torch

        # A leaf that needs a gradient may not be written to; its copy may.
        features = self.forward(inputs.clone())
        if not features.requires_grad:
            return None
        given = torch.from_numpy(np.array(cotangent)).reshape(features.shape)
        given = given.to(features.device, features.dtype)
        try:
            return torch.autograd.grad(features, leaf, given, allow_unused=True)[0]
        except RuntimeError as error:
            raise InputError(
                f"the backward pass of {self.name} failed: RuntimeError: {reason_of(error)}"
            ) from error

    def feature_size(self, one: tuple[int, ...]) -> int:
        """D for inputs of which each has this shape, such as (3, 256, 128)."""
        with self._lock:
            if one not in self._sizes:
                self._sizes[one] = self.features(np.zeros((1, *one), np.float32)).shape[-1]
            return self._sizes[one]

    def forward(self, x: Any) -> Any:
        """Tensors as the module takes them -> features [B,D]; any failure is an InputError."""
        with self._lock:
            return self._forward(x)

    def _forward(self, x: Any) -> Any:
        shape = list(x.shape)
        try:
            found = self.module(x)
        # The user's own code may raise anything, and may end the process.
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{self.name} failed on inputs {shape}: {type(error).__name__}: {reason_of(error)}"
            ) from error
        return feature_of(found, self.output, batch=shape[0], name=self.name)

    def _tensor(self, x: np.ndarray) -> Any:
        import torch

        # A copy: the module may write into what it is given, and these are XLA's own buffers.
        rows = torch.from_numpy(np.array(x).reshape(-1, *x.shape[-3:]))
        return rows.to(self.device, self.dtype)

    def _numpy(self, tensor: Any, like: np.ndarray, leading: tuple[int, ...]) -> np.ndarray:
        import torch

        wide = tensor.detach().to("cpu", torch.float64 if like.dtype == np.float64 else None)
        if wide.dtype not in (torch.float32, torch.float64):
            wide = wide.to(torch.float32)
        return wide.numpy().astype(like.dtype, copy=False).reshape(*leading, *tensor.shape[1:])


def copied(module: Any) -> Any:
    """A copy of a module in eval mode without gradients to its parameters.

    Of what `torch.compile` gave, the module inside: once torchax is there, compiling fails.

    Raises:
        InputError: it holds what cannot be copied.
    """
    import torch

    module = _inside(module)
    # What PyTorch refuses to copy: results of a calculation, such as a weight under weight norm.
    memo = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        # Of TorchScript, a copy is otherwise a result of a calculation: it cannot be frozen.
        with torch.no_grad():
            own = copy.deepcopy(module, memo).eval()
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name_of(module)} cannot be copied ({type(error).__name__}: {reason_of(error)}); "
            "expected a module that copy.deepcopy takes, and that has an eval mode"
        ) from error
    # One by one: TorchScript has no requires_grad_ for a whole module.
    for parameter in own.parameters():
        parameter.requires_grad_(False)
    return own


def name_of(module: Any) -> str:
    """The name of a module's class; where PyTorch made another of it, that of the original's."""
    module = _inside(module)
    return str(module.original_name) if is_scripted(module) else type(module).__name__


def _inside(module: Any) -> Any:
    return getattr(module, "_orig_mod", module)


def is_scripted(module: Any) -> bool:
    """Whether a module is TorchScript: scripted, traced, or loaded by `torch.jit.load`."""
    import torch

    return isinstance(module, torch.jit.ScriptModule)


def dtype_of(module: Any) -> Any:
    """PyTorch's dtype of the first floating-point parameter or buffer; float32 without any."""
    import torch

    tensors = (*module.parameters(), *module.buffers())
    floating = [tensor.dtype for tensor in tensors if tensor.dtype.is_floating_point]
    return floating[0] if floating else torch.float32


def _device_of(module: Any) -> Any:
    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else "cpu"
