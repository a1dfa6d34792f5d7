"""What an attacker may do: norm balls around the clean image, cut by the pixel range [0, 1]."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxreid.attacks.arguments import check_amount
from jaxreid.checks import shape_of
from jaxreid.constants import Norm
from jaxreid.errors import InputError
from jaxreid.precision import finite_part, largest_of_images, over_largest
from jaxreid.types import Array, ArrayLike, Images, ImagesLike, Keys

__all__ = ["THREATS", "Threat", "l2", "linf"]

# Random starts are drawn in single precision and then converted: the same key gives float64 images
# the same start as float32 images.
_DRAWN = jnp.float32

_ORDINARY = 2.0**40


class Threat(NamedTuple):
    """A set of allowed images around each clean image, and its geometry.

    Attributes:
        random_start: ([B] keys, images [B,H,W,C]) -> [B,H,W,C], uniform in the ball.
        project: (candidates, images) -> [B,H,W,C] inside the ball and inside [0, 1], whatever the
            candidates are; where one is NaN, the clean value.
        steepest: gradient [B,H,W,C] -> the direction of unit norm that climbs fastest per image; 0
            where the gradient is zero or not finite.
        radius: images [B,H,W,C] -> the budget, in pixel range, of a shape that broadcasts against
            them; `radius * steepest` reaches the surface of the ball. `adaptive_ascent` and
            `random_search` need it.
        surface_start: ([B] keys, images [B,H,W,C]) -> [B,H,W,C], at random on the surface of the
            ball; without it `adaptive_ascent` starts with `random_start`.
        repaint: (candidates [B,H,W,C], images, signs [B,H,W,C], spare [B,H,W,1]) -> candidates
            whose change is along `signs` (+1 or -1) where these are not 0, as far as the budget
            allows, what they change in the window `spare` given up for it if need be. Only
            `random_search` needs it.
    """

    random_start: Callable[[Keys, Images], Images]
    project: Callable[[Images, Images], Images]
    steepest: Callable[[Images], Images]
    radius: Callable[[ImagesLike], Array] | None = None
    surface_start: Callable[[Keys, Images], Images] | None = None
    repaint: Callable[[Images, Images, Images, Array], Images] | None = None


ThreatOf = Callable[[float | ArrayLike], Threat]


def allowed_by(threat: ThreatOf, eps: float | ArrayLike) -> Threat:
    """The threat model of an attack's arguments."""
    allowed = threat(eps) if callable(threat) else None
    if not isinstance(allowed, Threat):
        raise InputError(
            "threat must be attacks.linf, attacks.l2 or another function eps -> Threat, "
            f"got a {type(threat).__name__}"
        )
    return allowed


def _budget(eps: float | ArrayLike, images: ImagesLike, *, per_pixel: bool) -> Array:
    """The budget in the dtype of the images, checked to broadcast against them."""
    budget = jnp.asarray(eps, images.dtype)
    target = images.shape if per_pixel else (images.shape[0], 1, 1, 1)
    try:
        broadcast = jnp.broadcast_shapes(budget.shape, target)
    except ValueError:
        broadcast = None
    if broadcast != target:
        raise InputError(
            f"eps must broadcast to {list(target)} (a number, [B,1,1,1] per image"
            f"{', [C] per channel' if per_pixel else ''}), got {list(budget.shape)}"
        )
    return budget


def _image_norm(x: Images) -> Float[Array, "B 1 1 1"]:
    """L2 norm per image, [B,1,1,1]."""
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=(1, 2, 3), keepdims=True))


def _unit(x: Images) -> Images:
    """Divides each image by its norm; a zero image stays zero, and so does what is not finite."""
    # Scaled by the largest entry first: squares of tiny gradients would underflow to zero, and
    # those of huge ones overflow.
    scaled = over_largest(finite_part(x))
    norm = _image_norm(scaled)
    return scaled / jnp.where(norm > 0, norm, 1)


def _sign(x: Images) -> Images:
    """Signs; 0 where an entry is not finite."""
    return jnp.sign(finite_part(x))


def _check_shaped(candidates: ArrayLike, images: ArrayLike) -> None:
    if candidates.shape != images.shape:
        raise InputError(
            f"candidates must be shaped like images {shape_of(images)}, got {shape_of(candidates)}"
        )


class _Box:
    """Changes of at most eps per pixel."""

    def __init__(self, eps: float | ArrayLike) -> None:
        self.eps = eps

    def radius(self, images: ImagesLike) -> Array:
        return _budget(self.eps, images, per_pixel=True)

    def random_start(self, keys: Keys, images: Images) -> Images:
        return images + self.radius(images) * self._drawn(keys, images)

    def surface_start(self, keys: Keys, images: Images) -> Images:
        radius, unit = self.radius(images), self._drawn(keys, images)
        # Of the pixels that may change at all.
        largest = largest_of_images(jnp.where(radius > 0, unit, 0))
        return images + radius * unit / jnp.where(largest > 0, largest, 1)

    def project(self, candidates: ImagesLike, images: ImagesLike) -> Images:
        budget = self.radius(images)
        low, high = jnp.maximum(images - budget, 0), jnp.minimum(images + budget, 1)
        _check_shaped(candidates, images)
        return jnp.clip(jnp.where(jnp.isnan(candidates), images, candidates), low, high)

    def repaint(self, candidates: Images, images: Images, signs: Images, spare: Array) -> Images:
        del spare  # the budget of a pixel is its own
        return jnp.where(signs == 0, candidates, images + self.radius(images) * signs)

    @staticmethod
    def _drawn(keys: Keys, images: Images) -> Images:
        unit = jax.vmap(lambda k, x: jax.random.uniform(k, x.shape, _DRAWN, -1, 1))(keys, images)
        return unit.astype(images.dtype)


class _Ball:
    """Changes of at most eps in length."""

    def __init__(self, eps: float | ArrayLike) -> None:
        self.eps = eps

    def radius(self, images: ImagesLike) -> Array:
        return _budget(self.eps, images, per_pixel=False)

    def random_start(self, keys: Keys, images: Images) -> Images:
        def direction_and_reach(key: Array, image: Array) -> tuple[Array, Array]:
            direction_key, reach_key = jax.random.split(key)
            direction = jax.random.normal(direction_key, image.shape, _DRAWN)
            reach = jax.random.uniform(reach_key, (1, 1, 1), _DRAWN) ** (1 / image.size)
            return direction.astype(image.dtype), reach.astype(image.dtype)

        direction, reach = jax.vmap(direction_and_reach)(keys, images)
        return images + self.radius(images) * reach * _unit(direction)

    def surface_start(self, keys: Keys, images: Images) -> Images:
        normal = jax.vmap(lambda k, x: jax.random.normal(k, x.shape, _DRAWN))(keys, images)
        return images + self.radius(images) * _unit(normal.astype(images.dtype))

    def project(self, candidates: ImagesLike, images: ImagesLike) -> Images:
        budget = self.radius(images)
        _check_shaped(candidates, images)
        change = jnp.nan_to_num(candidates - images, nan=0)
        # Squares of ordinary changes neither overflow nor underflow: these are left unscaled.
        largest = largest_of_images(change)
        ordinary = (largest < _ORDINARY) & (largest > 1 / _ORDINARY)
        scaled = jnp.where(ordinary, change, over_largest(change))
        norm = _image_norm(scaled)
        beyond = norm * jnp.where(ordinary, 1, largest) > budget
        shortened = scaled * (budget / jnp.where(norm > 0, norm, 1))
        return jnp.clip(images + jnp.where(beyond, shortened, change), 0, 1)

    def repaint(self, candidates: Images, images: Images, signs: Images, spare: Array) -> Images:
        change, window = candidates - images, signs != 0
        elsewhere = jnp.where(window | spare, 0, change)
        left = jnp.square(self.radius(images)) - jnp.square(_image_norm(elsewhere))
        # What the window held turns towards the new signs, and is not thrown away.
        turned = _unit(_unit(jnp.where(window, change, 0)) + _unit(signs))
        return images + elsewhere + jnp.sqrt(jnp.maximum(left, 0)) * turned


def _threat(of: _Box | _Ball, steepest: Callable[[Images], Images]) -> Threat:
    return Threat(
        random_start=of.random_start,
        project=of.project,
        steepest=steepest,
        radius=of.radius,
        surface_start=of.surface_start,
        repaint=of.repaint,
    )


def linf(eps: float | ArrayLike) -> Threat:
    """Every pixel may change by at most eps: ``|x' - x| <= eps`` and ``0 <= x' <= 1``.

    Args:
        eps: >= 0, in pixel range (5/255 is five grey levels); a number or anything that broadcasts
            against [B,H,W,C]: [B,1,1,1] per image, [C] per channel.

    Returns:
        The Threat; both constraints are boxes, so `project` is the exact Euclidean projection.

    Raises:
        InputError: if eps is negative, NaN or above 1, or does not broadcast.
    """
    check_amount("eps", eps, most=1, hint="; in pixel range five grey levels are 5/255")
    return _threat(_Box(eps), _sign)


def l2(eps: float | ArrayLike) -> Threat:
    """The change of an image has at most length eps: ``||x' - x||_2 <= eps`` and ``0 <= x' <= 1``.

    Args:
        eps: >= 0, in pixel range, over all H*W*C values of an image; a number or [B,1,1,1].

    Returns:
        The Threat; `project` scales the change into the ball, then clips, which only shortens it:
        always allowed, though not always the nearest allowed image.

    Raises:
        InputError: if eps is negative, NaN or infinite, or does not broadcast.
    """
    check_amount("eps", eps)
    return _threat(_Ball(eps), _unit)


THREATS: dict[Norm, ThreatOf] = {"linf": linf, "l2": l2}
"""Norm -> its threat model, a function of the budget."""
