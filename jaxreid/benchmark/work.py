"""How much a network has to compute and to move, and what its compiled program does."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from jaxreid.models import ReID, ResNetConfig, embedding

__all__ = [
    "ProgramCost",
    "Work",
    "counted_flops",
    "forward_work",
    "program_cost",
    "step_work",
    "work_of_step",
]


class ProgramCost(NamedTuple):
    """What XLA says of a compiled program, for one device.

    Attributes:
        flops: floating-point operations, with a loop's steps counted once; 0 where XLA does not
            count.
        bytes: memory beside the arguments; 0 where XLA does not tell.
    """

    flops: float
    bytes: int


def program_cost(program: jax.stages.Compiled) -> ProgramCost:
    """Asks XLA what a compiled program costs."""
    memory = program.memory_analysis()
    return ProgramCost(
        flops=(program.cost_analysis() or {}).get("flops", 0.0),
        bytes=memory.temp_size_in_bytes + memory.output_size_in_bytes if memory else 0,
    )


class Work(NamedTuple):
    """Work for one image.

    Attributes:
        flops: floating-point operations; a multiplication with an addition are two.
        values: numbers read and written at least, weights left out: the arguments and results of
            the convolutions, as if all other layers were fused into them; None where nobody counted
            them.
    """

    flops: int
    values: int | None


class _Layer(NamedTuple):
    inputs: int
    outputs: int
    taps: int
    pixels_in: int
    pixels_out: int

    @property
    def flops(self) -> int:
        return 2 * self.pixels_out * self.taps * self.inputs * self.outputs

    @property
    def values(self) -> int:
        return self.pixels_in * self.inputs + self.pixels_out * self.outputs


def forward_work(config: ResNetConfig, size: tuple[int, int]) -> Work:
    """Work of a forward pass of one image of (height, width) pixels, head left out."""
    layers = list(_layers(config, size))
    return Work(sum(layer.flops for layer in layers), sum(layer.values for layer in layers))


def step_work(config: ResNetConfig, size: tuple[int, int]) -> Work:
    """Work of an attack's step for one image: a forward pass and the gradient to the image.

    The gradient to its arguments costs a convolution as much as its result.
    """
    flops, values = forward_work(config, size)
    return Work(2 * flops, None if values is None else 2 * values)


def work_of_step(model: ReID, size: tuple[int, int]) -> Work:
    """`step_work` of any network: what its forward pass multiplies is counted, and doubled.

    Only of a ResNet without non-local blocks is it known how much has to be moved.
    """
    shape = model.config.backbone
    if isinstance(shape, ResNetConfig) and not any(shape.non_local):
        return step_work(shape, size)
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    # An image's camera is read, not multiplied by.
    program = jax.make_jaxpr(embedding(model).seen_by("none"))(images)
    return Work(2 * counted_flops(program.jaxpr), None)


def counted_flops(program: Any) -> int:
    """Floating-point operations of the products and convolutions of a program.

    Args:
        program: a `jax.extend.core.Jaxpr`, as `jax.make_jaxpr` traces it. Of forms of one
            layer for several platforms the plain one counts, of the branches of another choice the
            largest; steps of a loop count as often as they run, where that is known.
    """
    total = 0
    for equation in program.eqns:
        name, given = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = given["dimension_numbers"].rhs_spec[0]
            total += 2 * equation.outvars[0].aval.size * math.prod(kernel) // kernel[outputs]
        elif name == "dot_general":
            (contracted, _), _ = given["dimension_numbers"]
            sides = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * equation.outvars[0].aval.size * math.prod(sides)
        inner = [counted_flops(program) for program in jaxprs_in_params(given)]
        passes = given["length"] if name == "scan" else 1
        if name == "cond":
            platforms = given.get("branches_platforms") or ()
            total += inner[platforms.index(None)] if None in platforms else max(inner)
        else:
            total += passes * sum(inner)
    return total


def _layers(config: ResNetConfig, size: tuple[int, int]) -> Iterator[_Layer]:
    """The convolutions, in order."""

    def halved(side: int) -> int:
        return -(-side // 2)

    h, w = size
    patch = config.stem == "patch"
    to = (h // 4, w // 4) if patch else (halved(h), halved(w))
    yield _Layer(3, config.stem_width, 16 if patch else 49, h * w, to[0] * to[1])
    h, w = to if patch else (halved(to[0]), halved(to[1]))
    channels = config.stem_width
    last = len(config.depths) - 1
    for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
        outputs = width * config.growth
        for index in range(depth):
            strided = index == 0 and stage > 0 and (stage < last or config.last_stride == 2)
            large = h * w
            if strided:
                h, w = halved(h), halved(w)
            small = h * w
            if config.block == "basic":
                yield _Layer(channels, width, 9, large, small)
                yield _Layer(width, width, 9, small, small)
            else:
                yield _Layer(channels, width, 1, large, large)
                yield _Layer(width, width, 9, large, small)
                yield _Layer(width, outputs, 1, small, small)
            if strided or channels != outputs:
                yield _Layer(channels, outputs, 1, large, small)
            channels = outputs
