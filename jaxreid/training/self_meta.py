"""A self-meta step: one half of a batch is learned from where a step on the other half leads."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from jaxreid.collectives import Collective
from jaxreid.errors import InputError
from jaxreid.types import Array

__all__ = ["halves_of", "looked_ahead"]

_Stats = TypeVar("_Stats")
_Value = tuple[Array, tuple[_Stats, dict[str, Array]]]


def halves_of(examples: Any) -> tuple[Any, Any]:
    """Every other example of this device, and those between.

    So of any number of devices with the same batch: each holds an even number, in the batch's
    order. Of a person whose images follow each other both halves have some.
    """
    rows = len(jax.tree.leaves(examples)[0])
    if rows % 2:
        raise InputError(
            "a self-meta step halves the images of each device: their number must be even, got "
            f"{rows}"
        )
    first, second = (
        jax.tree.map(lambda leaf, start=start: leaf[start::2], examples) for start in (0, 1)
    )
    return first, second


def looked_ahead(
    value: Callable[[Any, _Stats, Any], _Value[_Stats]],
    params: Any,
    stats: _Stats,
    halves: tuple[Any, Any],
    *,
    size: float,
    devices: Collective,
) -> _Value[_Stats]:
    """The loss of one half, and of the other after a step on the first.

    ``L_1(w) + L_2(w - size grad L_1(w))``; whoever differentiates it differentiates through the
    step, too (Finn et al., "Model-Agnostic Meta-Learning", ICML 2017,
    https://arxiv.org/abs/1703.03400). With two halves of one batch it is the self-meta step of Zhou
    et al., AAAI 2026, https://arxiv.org/abs/2511.09933.

    Args:
        value: (parameters, statistics, examples) -> L, and statistics and metrics of after, on this
            device.
        params: w, a tree.
        stats: of before, a tree.
        halves: examples of this device, of one size.
        size: of the step, above 0.
        devices: those over whose mean gradient the step goes.

    Returns:
        Loss of this device; statistics, which follow one half and then the other; metrics, means of
        the halves', and `loss_ahead`, that of the second.
    """
    first, second = halves
    slopes = jax.value_and_grad(value, has_aux=True)
    (before, (stats, metrics)), slope = slopes(params, stats, first)
    there = jax.tree.map(
        lambda weights, g: weights - (size * g).astype(weights.dtype), params, devices.mean(slope)
    )
    after, (stats, of_second) = value(there, stats, second)
    means = {name: (metrics[name] + of_second[name]) / 2 for name in metrics}
    return before + after, (stats, {**means, "loss_ahead": after})
