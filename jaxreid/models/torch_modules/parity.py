"""Whether JAX and PyTorch compute the same of a module: features and gradients on some images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.errors import InputError
from jaxreid.models.torch_modules.draws import RandomStates, random_states_kept
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.torch_modules.inputs import Inputs
from jaxreid.types import Array

__all__ = ["Differences", "Reference", "differences", "norm_of_rows", "reference"]

_PASSES = 4
# Of the largest feature, from one pass to the next: threads may add up in another order.
_REPEATABLE = 1e-4
# Rounding in units of the last place, from one size of batch to another.
_ULPS = 4


class Reference(NamedTuple):
    """What PyTorch itself makes of some images.

    Attributes:
        images: [B,H,W,3] in [0, 1].
        cotangent: [B,D] of signs, the gradient to the features.
        features: [B,D].
        gradient: of ``sum(cotangent * features)`` to the images, [B,H,W,3].
        batch_mates: max|f - f'| / max|f'| of an image that is alone, the largest: how far its
            feature depends on the other images of its batch. 0 where rounding explains it.
        rows_apart: whether a feature is known to depend on its own image only: not by one image.
    """

    images: np.ndarray
    cotangent: np.ndarray
    features: np.ndarray
    gradient: np.ndarray
    batch_mates: float
    rows_apart: bool

    @property
    def without_gradient(self) -> int:
        """How many of the images have a gradient that is zero everywhere."""
        return int(np.sum(~self.gradient.any(axis=(1, 2, 3))))


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
        InputError: two passes differ, random numbers are drawn, features are not finite, or no
            gradient reaches the images.
    """
    with random_states_kept():
        return _repeated(host, inputs, images)


def _repeated(host: HostModule, inputs: Inputs, images: np.ndarray) -> Reference:
    first = _features(host, inputs, images)
    if not np.isfinite(first).all():
        raise InputError(f"{host.name} gives NaN or infinity on the images of the comparison")
    # After the first pass: one that seeds what it draws from is in the same state ever after.
    states = RandomStates(host.module, host.device)
    moved = max(
        _largest_of_rows(_features(host, inputs, images), first) for _ in range(_PASSES - 1)
    )
    _refuse_random(host.name, moved, states.changed())
    mates = _batch_mates(host, inputs, images, first)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], first.shape)
    return Reference(
        images,
        signs,
        first,
        _gradient(host, inputs, images, signs),
        mates,
        len(images) > 1 and not mates,
    )


def _refuse_random(name: str, moved: float, drawn: list[str]) -> None:
    if moved > _REPEATABLE:
        what = (
            "is random or keeps a state: two passes over the same images differ by "
            f"{moved:.2g} of the largest feature (the flag `randomised` of jaxreid audit)"
        )
    elif drawn:
        what = (
            f"draws random numbers ({', '.join(drawn)}): {_PASSES} passes over the same images "
            f"agree to {moved:.1e} of the largest feature, but others may not"
        )
    else:
        return
    raise InputError(
        f"the forward pass of {name} {what}. Turn off what is drawn (dropout, augmentation, noise "
        "that is multiplied by 0), or attack the mean over draws (EOT) of a function of your own: "
        "jaxreid.attacks.mean_over_draws"
    )


def _batch_mates(host: HostModule, inputs: Inputs, images: np.ndarray, first: np.ndarray) -> float:
    alone = [_features(host, inputs, image[None]) for image in images]
    mates = _largest_of_rows(np.concatenate(alone), first)
    return mates if mates > max(_REPEATABLE, _ULPS * host.epsilon) else 0.0


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
