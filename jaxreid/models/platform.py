"""Which device programs are written for."""

import jax

__all__ = ["on_cpu"]


def on_cpu() -> bool:
    """Whether the default device is a CPU.

    Returns:
        True or False.
    """
    device = jax.config.values["jax_default_device"]
    platform = getattr(device, "platform", device)
    return (platform or jax.default_backend()) == "cpu"
