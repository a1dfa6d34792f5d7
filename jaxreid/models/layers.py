"""Layers with PyTorch's geometry: convolution, pooling, ReLU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxreid.errors import InputError
from jaxreid.models.cpu import layers as cpu
from jaxreid.models.cpu.pooling import pool_windows
from jaxreid.types import Array

__all__ = [
    "Constant",
    "Conv",
    "average_pool",
    "convolution",
    "convolve",
    "max_pool",
    "relu",
    "relu_of_sum",
]


class Constant(nnx.Variable[Array]):
    """A number of a frozen network, which nothing trains."""


def convolution(
    images: Array, kernel: Array, *, stride: int, padding: int, groups: int = 1
) -> Array:
    """`convolve` as written, without checks, whatever the platform.

    Where the kernel is as large as its stride, as in 1x1 convolutions and patch embeddings, it is a
    matrix product; for a TPU, only in patch embeddings.
    """
    windows = partial(_windows, stride=stride, padding=padding, groups=groups)
    if kernel.shape[0] != stride or padding or groups > 1:
        return windows(images, kernel)
    if stride > 1:
        return _product(images, kernel)
    # XLA lays maps out one way for a TPU's convolutions and another way for products: a network
    # that has both side by side keeps, moves and pads many of its maps twice (docs/scaling.md).
    return lax.platform_dependent(images, kernel, tpu=windows, default=_product)


def _windows(images: Array, kernel: Array, *, stride: int, padding: int, groups: int) -> Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _product(images: Array, kernel: Array) -> Array:
    """Of every patch, as large as the kernel, with the kernel."""
    return _patches(images, kernel.shape[0]) @ kernel.reshape(-1, kernel.shape[-1])


def _patches(x: Array, size: int) -> Array:
    """[B,H,W,C] -> [B,H/size,W/size,size*size*C]; pixels that fill no patch are cut off."""
    if size == 1:
        return x
    B, H, W, C = x.shape
    h, w = H // size, W // size
    x = x[:, : h * size, : w * size].reshape(B, h, size, w, size, C)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(B, h, w, -1)


def convolve(
    images: Array, kernel: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Array:
    """Two-dimensional cross-correlation with PyTorch's geometry, zeros outside the image.

    y[b, i, j, k] = sum_{u,v,c} x[b, i*stride + u - padding, j*stride + v - padding, c] *
    kernel[u, v, c, k]; H' = floor((H + 2*padding - h) / stride) + 1, as
    https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html. Of G groups, the g-th C/G
    channels give the g-th K/G; with G = C = K, every channel has a kernel of its own (depthwise).
    On a CPU there is no forward-mode derivative (`jax.jvp`) where 3x3 kernels of stride 1 have many
    channels or are depthwise.

    Args:
        images: [B,H,W,C] floating point.
        kernel: [h,h,C/G,K] of the same type.
        stride: pixels between outputs, both directions.
        padding: pixels of zeros on every side.
        groups: G.

    Returns:
        [B,H',W',K] of the same type.
    """
    channels = kernel.shape[2] * groups
    if images.ndim != 4 or images.shape[-1] != channels:
        raise InputError(
            f"expected images [B,H,W,{channels}] ({channels} channels last), "
            f"got shape {tuple(images.shape)}"
        )
    if groups < 1 or kernel.shape[3] % groups:
        raise InputError(f"{kernel.shape[3]} outputs do not fall into {groups} groups")
    if min(images.shape[1:3]) + 2 * padding < kernel.shape[0]:
        raise InputError(
            f"images of {images.shape[1]}x{images.shape[2]} pixels are smaller than the "
            f"{kernel.shape[0]}x{kernel.shape[1]} kernel they meet"
        )
    height, width = ((n + 2 * padding - kernel.shape[0]) // stride + 1 for n in images.shape[1:3])
    method = cpu.method_for(
        kernel.shape,
        stride=stride,
        padding=padding,
        groups=groups,
        dtype=images.dtype,
        outputs=(height, width),
    )
    plain = partial(convolution, stride=stride, padding=padding, groups=groups)
    # A 1x1 convolution of stride 1 is a matrix product as written: every platform has it so.
    if method == "plain" or (method == "pointwise" and stride == 1):
        return plain(images, kernel)
    quick = partial(cpu.METHODS[method], stride=stride, padding=padding)
    return lax.platform_dependent(images, kernel, cpu=quick, default=plain)


def max_pool(images: Array, *, padded: bool = True) -> Array:
    """Maximum of images [B,H,W,C] over 3x3 windows at stride 2.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html, (3, 2,
    padding=1) if padded, else (3, 2, ceil_mode=True). Where values tie, the gradient goes to the
    first of them.
    """
    if min(images.shape[1:3]) < (1 if padded else 2):
        raise InputError(f"images of {images.shape[1:3]} pixels are too small to pool")
    # Without padding, the last window hangs over by one pixel where the size is even.
    pads = [(1, 1) if padded else (0, (size - 3) % 2) for size in images.shape[1:3]]

    def plain(images: Array) -> Array:
        window, strides, around = (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), *pads, (0, 0)]
        return lax.reduce_window(images, -np.inf, lax.max, window, strides, around)

    quick = partial(pool_windows, pads=pads)
    return lax.platform_dependent(images, cpu=quick, default=plain)


def average_pool(images: Array) -> Array:
    """Mean of images [B,H,W,C] over 2x2 windows at stride 2; a last odd row or column is left out.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html, (2, 2).
    """
    B, H, W, C = images.shape
    if min(H, W) < 2:
        raise InputError(f"images of {H}x{W} pixels are too small to pool")
    cut = images[:, : H // 2 * 2, : W // 2 * 2]
    return cut.reshape(B, H // 2, 2, W // 2, 2, C).mean((2, 4))


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0); where it is 0, so is the gradient, which needs the result only."""
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = relu(*primals)
    return y, jnp.where(y > 0, tangents[0], 0)


def relu_of_sum(x: Array, y: Array, *, per_pixel: bool = False) -> Array:
    """max(x + y, 0), as `relu`, of arrays [...,C].

    The same number on every platform where x, y and x + y are normal or zero; of a zero, the sign
    is not defined. Processors may take subnormal numbers for zero: where one of the three is
    subnormal, the result is less than two smallest normal numbers (float32: 2.4e-38) off. NaN gives
    NaN, and so do infinities of opposite sign. On CPUs, so does -inf in x beside a finite y, where
    max(x + y, 0) is 0: only a network that overflowed has it.

    `per_pixel` computes it as a matrix of pixels and channels, the form in which XLA's CPU backend
    hands it to a 1x1 convolution without another pass.
    """
    if not per_pixel:
        return _relu_of_sum(x, y)
    pixels = (-1, y.shape[-1])
    return _relu_of_sum(x.reshape(pixels), y.reshape(pixels)).reshape(y.shape)


@jax.custom_jvp
def _relu_of_sum(x: Array, y: Array) -> Array:
    return lax.platform_dependent(
        x, y, cpu=cpu.relu_of_sum, default=lambda x, y: jnp.maximum(x + y, 0)
    )


@_relu_of_sum.defjvp
def _relu_of_sum_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    result = _relu_of_sum(*primals)
    return result, jnp.where(result > 0, tangents[0] + tangents[1], 0)


class Conv(nnx.Module):
    """Convolution layer; the kernel is drawn from N(0, 2 / (h*h*K)), torchvision's choice.

    Source: He et al., Delving Deep into Rectifiers, https://arxiv.org/abs/1502.01852; K are all
    outputs, as PyTorch counts, whatever the groups. `size` is the kernel's height and width h in
    pixels, `dtype` that of the computation; parameters are float32.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        init = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        shape = (size, size, inputs // groups, outputs)
        self.kernel = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.stride, self.padding, self.groups, self.dtype = stride, padding, groups, dtype

    @property
    def geometry(self) -> dict[str, int]:
        """What `convolve` has to know beside images and kernel."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def __call__(self, x: Array) -> Array:
        """Images [B,H,W,C] -> [B,H',W',K]."""
        kernel = self.kernel[...].astype(self.dtype)
        y = convolve(x.astype(self.dtype), kernel, **self.geometry)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)
