"""Whether JAX and PyTorch compute the same of a module: features and gradients on some images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.torch_modules.inputs import Inputs
from jaxreid.types import Array

__all__ = ["Differences", "Reference", "differences", "norm_of_rows", "reference"]

_PASSES = 4
# Of the largest feature, from one pass to the next: threads may add up in another order.
_REPEATABLE = 1e-4


class Reference(NamedTuple):
    """What PyTorch itself makes of some images.

    Attributes:
        images: [B,H,W,3] in [0, 1].
        cotangent: [B,D] of signs, the gradient to the features.
        features: [B,D].
        gradient: of ``sum(cotangent * features)`` to the images, [B,H,W,3].
        rows_apart: whether a feature depends on its own image only.
    """

    images: np.ndarray
    cotangent: np.ndarray
    features: np.ndarray
    gradient: np.ndarray
    rows_apart: bool


class Differences(NamedTuple):
    """How far features and gradients are from PyTorch's, relative.

    Attributes:
        features: max|f - f'| / max|f'| of an image, the largest.
        gradients: ||g - g'|| / ||g'|| of an image, the largest: a few pixels may lie on the other
            side of a kink.
    """

    features: float
    gradients: float


def reference(host: HostModule, inputs: Inputs, images: np.ndarray) -> Reference:
    """Runs a module in PyTorch from pixels to features and back, and sees that it is repeatable.

    Raises:
        InputError: two passes differ, features are not finite, or no gradient reaches the images.
    """
    import torch

    # What the module may draw is not taken from the user's own sequence.
    with torch.random.fork_rng(devices=[]):
        return _repeated(host, inputs, images)


def _repeated(host: HostModule, inputs: Inputs, images: np.ndarray) -> Reference:
    first = _features(host, inputs, images)
    if not np.isfinite(first).all():
        raise InputError(f"{host.name} gives NaN or infinity on the images of the comparison")
    moved = max(
        _largest_of_rows(_features(host, inputs, images), first) for _ in range(_PASSES - 1)
    )
    if moved > _REPEATABLE:
        raise InputError(
            f"the forward pass of {host.name} is random or keeps a state: two passes over the same "
            f"images differ by {moved:.2g} of the largest feature (the flag `randomised` of "
            "jaxreid audit). Turn off what is drawn (dropout, augmentation), or attack the mean "
            "over draws (EOT) of a function of your own: jaxreid.attacks.mean_over_draws"
        )
    alone = _features(host, inputs, images[:1])
    signs = np.random.default_rng(0).choice([-1.0, 1.0], first.shape)
    return Reference(
        images,
        signs,
        first,
        _gradient(host, inputs, images, signs),
        _largest_of_rows(alone, first[:1]) <= _REPEATABLE,
    )


def differences(embed: Callable[[Array], Array], expected: Reference) -> Differences:
    """Runs an embedding on the images of a reference, compiled, and compares."""

    @jax.jit
    def run(images: Array) -> tuple[Array, Array]:
        features, back = jax.vjp(embed, images)
        (gradient,) = back(jnp.asarray(expected.cotangent, features.dtype))
        return features, gradient

    # The arithmetic is not what is compared: an accelerator may round products to fewer bits.
    with jax.default_matmul_precision("highest"):
        features, gradient = run(jnp.asarray(expected.images))
    return Differences(
        _largest_of_rows(np.asarray(features), expected.features),
        norm_of_rows(np.asarray(gradient), expected.gradient),
    )


def _features(host: HostModule, inputs: Inputs, images: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        x = inputs.prepared_by_torch(torch.from_numpy(np.array(images)))
        return host.forward(x.to(host.device, host.dtype)).double().cpu().numpy()


def _gradient(
    host: HostModule, inputs: Inputs, images: np.ndarray, cotangent: np.ndarray
) -> np.ndarray:
    import torch

    with torch.enable_grad():
        leaf = torch.from_numpy(np.array(images)).requires_grad_()
        x = inputs.prepared_by_torch(leaf).to(host.device, host.dtype)
        found = host.pulled_back(leaf, x, cotangent)
    if found is None:
        raise InputError(
            f"no gradient goes from the features of {host.name} to its images: its forward pass "
            "runs under torch.no_grad or inference_mode, or detaches; take that out"
        )
    return found.double().numpy()


def _largest_of_rows(got: Any, expected: np.ndarray) -> float:
    got = np.asarray(got, np.float64)
    largest = np.maximum(np.abs(expected).max(1), np.finfo(np.float32).tiny)
    return _worst(np.abs(got - expected).max(1) / largest)


def norm_of_rows(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest ||got - expected|| / ||expected|| of a row; infinite where it is not finite."""
    got, expected = (x.reshape(len(x), -1).astype(np.float64) for x in (got, expected))
    norms = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    return _worst(np.linalg.norm(got - expected, axis=1) / norms)


def _worst(ratios: np.ndarray) -> float:
    return float(np.max(np.where(np.isfinite(ratios), ratios, np.inf)))
