"""Temperatures: how close two distances must be to count as about equal, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxreid.checks import check_number
from jaxreid.errors import InputError
from jaxreid.ranking.arguments import check_distances
from jaxreid.ranking.lists import ListDistances
from jaxreid.types import Array, ArrayLike, PerImage

__all__: list[str] = []  # `jaxreid.ranking.surrogates` has what is public

Temperature = float | Float[ArrayLike, ""] | Float[ArrayLike, " B"]


def mean_over(values: Float[Array, "B n"], mask: Array) -> PerImage:
    """Mean of the values that count, 0 where none does."""
    count = jnp.maximum(jnp.sum(mask, axis=1), 1)
    return jnp.sum(jnp.where(mask, values, 0), axis=1) / count


def column_of(temperature: Temperature, distances: ListDistances) -> Float[Array, "B 1"]:
    """A checked temperature for each row; no derivative flows through it."""
    rows = len(distances.mask)
    if np.ndim(temperature) > 1 or np.shape(temperature) not in ((), (rows,)):
        raise InputError(
            f"temperature must be a number or have shape [B] = [{rows}], "
            f"got shape {list(np.shape(temperature))}"
        )
    check_number(
        "temperature", temperature, lambda t: (t > 0) & (t < jnp.inf), "be above 0", axes=1
    )
    value = jax.lax.stop_gradient(jnp.asarray(temperature, distances.other.dtype))
    return jnp.broadcast_to(value, (rows,))[:, None]


def temperature_of(
    distances: ListDistances, *, factor: float | ArrayLike = 0.1, quantile: float | None = None
) -> PerImage:
    """A temperature for each row, ``factor`` times the spread of its distances to the others.

    The spread is their standard deviation, or with `quantile` that quantile of their differences
    from the mean distance of the matches, in magnitude: the share of the others that are counted
    softly.

    Args:
        distances: of `list_distances`.
        factor: above 0, one or [B]; annealing multiplies it.
        quantile: in (0, 1], or None for the standard deviation.

    Returns:
        [B] in the unit of the distances, above 0: where distances do not spread it is 1. No
        derivative flows through it.

    Raises:
        InputError: on a factor or a quantile out of range.
    """
    check_distances(distances)
    check_number("factor", factor, lambda f: (f > 0) & (f < jnp.inf), "be above 0", axes=1)
    distances = jax.lax.stop_gradient(distances)
    if quantile is None:
        mean = mean_over(distances.other, distances.others)
        gaps = jnp.square(distances.other - mean[:, None])
        spread = jnp.sqrt(mean_over(gaps, distances.others))
    else:
        check_number("quantile", quantile, lambda q: (q > 0) & (q <= 1), "lie in (0, 1]")
        mean = mean_over(distances.matched, distances.mask)
        gaps = jnp.abs(distances.other - mean[:, None])
        ordered = jnp.sort(jnp.where(distances.others, gaps, jnp.inf), axis=1)
        count = jnp.sum(distances.others, axis=1)
        place = jnp.clip(jnp.ceil(quantile * count).astype(jnp.int32) - 1, 0, gaps.shape[1] - 1)
        spread = jnp.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    temperature = factor * spread
    usable = (temperature > jnp.finfo(temperature.dtype).tiny) & (temperature < jnp.inf)
    return jnp.where(usable, temperature, 1)
