"""Networks of PyTorch, run inside JAX as they are: `from_torch`."""

from jaxreid.models.torch_modules.embedding import Parity, Route, TorchEmbedding, from_torch

__all__ = ["Parity", "Route", "TorchEmbedding", "from_torch"]
