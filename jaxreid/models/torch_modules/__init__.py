"""Networks of PyTorch, run inside JAX as they are: `from_torch`."""

from jaxreid.models.torch_modules.embedding import (
    Parity,
    Route,
    TorchEmbedding,
    drawn_images,
    from_torch,
)
from jaxreid.models.torch_modules.inputs import Inputs

__all__ = ["Inputs", "Parity", "Route", "TorchEmbedding", "drawn_images", "from_torch"]
