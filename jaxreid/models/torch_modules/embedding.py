"""Any PyTorch module as an embedding: by torchax where it can be traced, else by callbacks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreid.checks import check_choice
from jaxreid.errors import InputError, first_line, reason_of
from jaxreid.models.folding import Target
from jaxreid.models.torch_modules.callbacks import called_back
from jaxreid.models.torch_modules.host import HostModule
from jaxreid.models.torch_modules.inputs import Inputs
from jaxreid.models.torch_modules.outputs import OutputChoice
from jaxreid.models.torch_modules.parity import Differences, Reference, differences, reference
from jaxreid.models.torch_modules.tracing import NoTorchaxError, translated
from jaxreid.precision import at_least_float32
from jaxreid.pytrees import pytree_dataclass
from jaxreid.types import Array, ArrayLike

__all__ = ["Parity", "Route", "TorchEmbedding", "drawn_images", "from_torch"]

Route = Literal["torchax", "callback"]

# What a translation may differ by in features and gradients: kinks and rounding, not another
# derivative (a straight-through one differs by all of it).
_ALIKE = Differences(1e-3, 2e-2)
_ALIKE_IN_HALF = Differences(5e-2, 3e-1)
_DRAWN = 2


class Parity(NamedTuple):
    """How a module runs in JAX, and how far that is from PyTorch's own.

    Attributes:
        route: "torchax", compiled with everything around it, or "callback".
        reason: why it is not torchax; empty if it is.
        features: max|f - f'| / max|f'| of an image, the largest.
        gradients: ||g - g'|| / ||g'|| of an image, the largest.
        images: what was compared, such as "4 images of 256x128".
        batch_mates: max|f - f'| / max|f'| of an image that is alone, not in their batch, the
            largest: features depend on the other images. 0 where rounding explains it.
        without_gradient: how many of the images have a gradient that is zero everywhere.
    """

    route: Route
    reason: str
    features: float
    gradients: float
    images: str
    batch_mates: float = 0.0
    without_gradient: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes figures of attacks doubtful, a line each; none for most modules."""
        found = []
        if self.batch_mates:
            found.append(
                "warning: features depend on the other images of a batch, and so do all figures: "
                f"alone, an image's differ by up to {self.batch_mates:.2g} of its largest (the "
                "flag `batch-mates` of jaxreid audit)"
            )
        if self.without_gradient:
            found.append(
                f"warning: of {self.images}, {self.without_gradient} have a gradient of zero: "
                "attacks that follow it do nothing there, which is no robustness (the flag "
                "`no gradient` of jaxreid audit)"
            )
        return tuple(found)

    def __str__(self) -> str:
        """In one line."""
        how = "by torchax" if self.route == "torchax" else "by callbacks into PyTorch"
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{how}{why}; on {self.images}, features differ from PyTorch's by "
            f"{self.features:.1e}, gradients by {self.gradients:.1e}"
        )


@pytree_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class TorchEmbedding:
    """A PyTorch module as a function from images to features, like an Embedding.

    A pytree: by torchax its leaves are the module's parameters and buffers, by callbacks it has
    none. Made by `from_torch`.

    Attributes:
        states: parameters and buffers by name.
        forward: (states, inputs) -> features; static, as all that follows.
        inputs: how images become inputs.
        dtype: of the inputs.
        parity: how far it is from PyTorch's own.

    Args:
        images: [B,H,W,3] floating point in [0, 1].

    Returns:
        Features [B,D] float32.
    """

    states: dict[str, Array]
    forward: Callable[[dict[str, Array], Array], Array] = field(metadata={"static": True})
    inputs: Inputs = field(metadata={"static": True})
    dtype: np.dtype[Any] | None = field(metadata={"static": True})
    parity: Parity | None = field(default=None, metadata={"static": True})

    def frozen(self, target: Target | None = None) -> "TorchEmbedding":
        """This one: a module has no other form.

        Args:
            target: see `Embedding.frozen`.

        Returns:
            Itself.
        """
        del target
        return self

    def __call__(self, images: Array) -> Array:
        """Images [B,H,W,3] in [0, 1] -> features [B,D] float32."""
        x = self.inputs.prepared(images)
        features = self.forward(self.states, x if self.dtype is None else x.astype(self.dtype))
        return at_least_float32(features)


def from_torch(
    module: Any,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    scale: float = 1.0,
    colours: Literal["rgb", "bgr"] = "rgb",
    channels_first: bool = True,
    output: OutputChoice = None,
    images: ArrayLike | None = None,
    size: tuple[int, int] = (256, 128),
    route: Route | Literal["auto"] = "auto",
    report: Callable[[str], None] | None = print,
) -> TorchEmbedding:
    """Turns a PyTorch module into an embedding that JAX compiles, differentiates and maps.

    f(x) = module((scale * x - mean) / std), in eval mode, by a copy of the module whose parameters
    stay as they are. By default pixels are given to it as they are, in [0, 1]: most modules need
    their mean and std. It is translated by torchax (https://github.com/google/torchax) where that
    can trace it and gives PyTorch's features and gradients; otherwise, as with a branch that
    depends on the data or a derivative of its own, JAX calls back into PyTorch and its autograd:
    at PyTorch's speed, and for first derivatives only.

    Args:
        module: `torch.nn.Module`: inputs [B,3,H,W] -> features [B,D], or several outputs.
        mean: of each channel in the module's order, in the unit of ``scale * x``; zeros by default.
        std: the same; ones by default.
        scale: 255 for a module that takes grey levels.
        colours: order of the channels it takes, "rgb" or "bgr".
        channels_first: False for a module that takes [B,H,W,3].
        output: of several outputs, the feature: a position, a key, or a field's name.
        images: [B,H,W,3] in [0, 1], on which JAX and PyTorch are compared at once; real ones say
            more than those drawn by default.
        size: (height, width) in pixels of the drawn ones.
        route: "torchax" or "callback" to insist on one.
        report: called with the outcome of the comparison in one line; None for silence.

    Returns:
        The embedding: images [B,H,W,3] floating point in [0, 1] -> features [B,D] float32. Its
        `parity` says how it runs and how far it is from PyTorch's own.

    Raises:
        InputError: PyTorch is not installed, no module, a forward pass that fails, is random, or
            lets no gradient through, features of another shape, or the route asked for cannot be
            had.
    """
    check_choice("route", route, ("auto", "torchax", "callback"))
    _check_module(module)
    inputs = Inputs(mean, std, scale, colours, channels_first)
    host = HostModule(module, output)
    expected = reference(host, inputs, drawn_images(size) if images is None else _checked(images))
    found, reason = None, "asked for"
    if route != "callback":
        found, reason = _by_torchax(module, output, inputs, expected)
        if found is None and route == "torchax":
            raise InputError(f"{host.name} cannot go by torchax: {reason}")
    if found is None:
        found = _by_callback(host, inputs, expected, reason)
    parity = found.parity
    if report is not None and parity is not None:
        for line in (inputs, parity, *parity.warnings):
            report(f"{host.name}: {line}")
    return found


def _check_module(module: Any) -> None:
    try:
        import torch
    except ImportError as error:
        raise InputError(f"from_torch needs PyTorch, which cannot be imported: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"expected a torch.nn.Module, got a {type(module).__name__}")


def _by_torchax(
    module: Any, output: OutputChoice, inputs: Inputs, expected: Reference
) -> tuple[TorchEmbedding | None, str]:
    """The embedding, or why there is none."""
    try:
        states, forward = translated(module, output)
        dtype = next(
            (np.dtype(x.dtype) for x in states.values() if jnp.issubdtype(x.dtype, jnp.floating)),
            None,
        )
        embed = TorchEmbedding(states, forward, inputs, dtype)
        apart = differences(embed, expected)
    except NoTorchaxError as error:
        return None, reason_of(error)
    # Whatever an operation that torchax or JAX does not know may raise, or the user's own code.
    except (Exception, SystemExit) as error:
        return None, f"torchax cannot trace it: {type(error).__name__}: {first_line(error)[:120]}"
    half = dtype is not None and dtype.itemsize < 4
    allowed = _ALIKE_IN_HALF if half else _ALIKE
    if apart.features > allowed.features or apart.gradients > allowed.gradients:
        return None, (
            f"by torchax features differ by {apart.features:.1e}, gradients by "
            f"{apart.gradients:.1e}"
        )
    return replace(embed, parity=_parity("torchax", "", apart, expected)), ""


def _by_callback(
    host: HostModule, inputs: Inputs, expected: Reference, reason: str
) -> TorchEmbedding:
    features = called_back(host, rows_apart=expected.rows_apart)

    def forward(_: dict[str, Array], x: Array) -> Array:
        return features(x)

    embed = TorchEmbedding({}, forward, inputs, None)
    apart = differences(embed, expected)
    return replace(embed, parity=_parity("callback", reason, apart, expected))


def _parity(route: Route, reason: str, apart: Differences, expected: Reference) -> Parity:
    count, height, width, _ = expected.images.shape
    images = f"{count} image{'s' if count > 1 else ''} of {height}x{width}"
    return Parity(route, reason, *apart, images, expected.batch_mates, expected.without_gradient)


def _checked(images: ArrayLike) -> np.ndarray:
    found = np.asarray(images)
    good = found.ndim == 4 and found.shape[-1] == 3 and len(found) > 0
    if not good or not np.issubdtype(found.dtype, np.floating):
        raise InputError(
            f"images: expected [B,H,W,3] floating point in [0, 1], got {found.dtype} "
            f"{list(found.shape)}"
        )
    if not (found.min() >= 0 and found.max() <= 1):
        raise InputError("images: expected values in [0, 1]; divide by 255")
    return found.astype(np.float32)


def drawn_images(size: tuple[int, int]) -> np.ndarray:
    """Blocks of colour under noise: flat parts and edges, as photographs have; [2,H,W,3]."""
    height, width = size
    rng = np.random.default_rng(0)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 4 // width
    blocks = rng.random((_DRAWN, 8, 4, 3))[:, rows][:, :, columns]
    noise = rng.random((_DRAWN, height, width, 3))
    return (0.8 * blocks + 0.2 * noise).astype(np.float32)
