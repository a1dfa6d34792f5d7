"""How much a network has to compute and to move, and what its compiled program does."""

from collections.abc import Iterator
from typing import NamedTuple

import jax

from jaxreid.models import ResNetConfig

__all__ = ["ProgramCost", "Work", "forward_work", "program_cost", "step_work"]


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
            the convolutions, as if all other layers were fused into them.
    """

    flops: int
    values: int


class _Layer(NamedTuple):
    inputs: int
    outputs: int
    taps: int
    pixels_in: int
    pixels_out: int

    @property
    def work(self) -> Work:
        return Work(
            2 * self.pixels_out * self.taps * self.inputs * self.outputs,
            self.pixels_in * self.inputs + self.pixels_out * self.outputs,
        )


def forward_work(config: ResNetConfig, size: tuple[int, int]) -> Work:
    """Work of a forward pass of one image of (height, width) pixels, head left out."""
    layers = [layer.work for layer in _layers(config, size)]
    return Work(sum(work.flops for work in layers), sum(work.values for work in layers))


def step_work(config: ResNetConfig, size: tuple[int, int]) -> Work:
    """Work of an attack's step for one image: a forward pass and the gradient to the image.

    The gradient to its arguments costs a convolution as much as its result.
    """
    flops, values = forward_work(config, size)
    return Work(2 * flops, 2 * values)


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
