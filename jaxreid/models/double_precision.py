"""Our network and a PyTorch module in float64, of weights as float32 has them."""

import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError, reason_of
from jaxreid.models.config import ModelConfig
from jaxreid.models.reid import ReID
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.weights.transfer import assemble, parameters

__all__ = ["wide_host", "wide_model", "with_rounded_constants"]


def with_rounded_constants(images: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Images that our network normalises to what a mean and deviation in float32 make of these."""
    order = slice(None, None, -1 if config.colours == "BGR" else 1)
    mean, std = (np.array(row)[order] for row in (config.mean, config.std))
    rounded, spread = (row.astype(np.float32).astype(np.float64) for row in (mean, std))
    return (images - rounded) / spread * std + mean


def wide_model(model: ReID) -> ReID:
    """The same network, computing in float64."""
    values = {path: value.astype(np.float32) for path, value in parameters(model).items()}
    values = {path: value.astype(np.float64) for path, value in values.items()}
    return assemble(values, model.config, dtype=jnp.float64, axis_name=None, rngs=None)


def wide_host(host: HostModule) -> HostModule:
    """The same module, computing in float64 with the numbers that it has in float32."""
    import torch

    if host.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{host.name} is of {host.dtype}")
    try:
        host.module.float().double()
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{host.name} cannot be made float64: {type(error).__name__}: {reason_of(error)}"
        ) from error
    host.dtype = torch.float64
    return host
