"""Search without gradients: patches of colour at random places, kept where the score rises."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.climbing import (
    active_rows,
    better,
    check_score,
    check_threat,
    chosen,
    radius_of,
    starting_point,
)
from jaxreid.attacks.threats import Threat
from jaxreid.checks import check_callable, check_count
from jaxreid.constants import MOST_STEPS
from jaxreid.errors import InputError
from jaxreid.random import keys_of_rows
from jaxreid.types import Array, CountPerImage, Images, ImagesLike, Keys, KeysLike, MaskLike

__all__ = [
    "RandomSearch",
    "Window",
    "repainted",
    "search_at_random",
    "striped_start",
    "window_schedule",
]

# The share of an image that the window covers at first, and after how many of 10,000 queries it is
# halved.
_SHARE = 0.8
_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class RandomSearch(NamedTuple):
    """Result of `search_at_random`.

    Attributes:
        images: [B,H,W,C] in [0, 1] and inside the threat model, the best by score.
        score: [B,L], theirs.
        accepted: int32 [B], how many of the proposals were better than all before.
    """

    images: Images
    score: Array
    accepted: CountPerImage


class Window(NamedTuple):
    """Number of a query, and the window that it paints; [queries - 1] each."""

    number: Array
    height: Array
    width: Array


def window_schedule(queries: int, height: int, width: int) -> Window:
    """Windows in the shape of the image, whose share of it falls with the queries."""
    number = np.arange(1, queries)
    halvings = (number[:, None] * 10_000 > np.array(_HALVED) * queries).sum(axis=1)
    side = np.sqrt(_SHARE * 0.5**halvings)
    sizes = (np.maximum(np.rint(side * whole), 1).astype(np.int32) for whole in (height, width))
    return Window(jnp.asarray(number, jnp.int32), *(jnp.asarray(size) for size in sizes))


def _window(key: Array, shape: tuple[int, ...], query: Window) -> Array:
    """A window of the query's size anywhere in an image, [H,W,1] boolean."""
    inside = []
    for axis, (own, size) in enumerate(zip(jax.random.split(key), query[1:], strict=True)):
        first = jax.random.randint(own, (), 0, shape[axis] - size + 1)
        position = jnp.arange(shape[axis])
        inside.append((position >= first) & (position < first + size))
    return (inside[0][:, None] & inside[1][None, :])[..., None]


def repainted(best: Images, clean: Images, keys: Keys, query: Window, threat: Threat) -> Images:
    """One window of each image painted anew, one sign per channel."""

    def drawn(key: Array) -> tuple[Array, Array]:
        place, colour, spare = jax.random.split(jax.random.fold_in(key, query.number), 3)
        signs = jax.random.rademacher(colour, clean.shape[3:], clean.dtype)
        window, other = (_window(own, clean.shape[1:], query) for own in (place, spare))
        return jnp.where(window, signs, 0), other

    signs, spare = jax.vmap(drawn)(keys)

    def painted(signs: Images) -> Images:
        return threat.project(_repaint(threat)(best, clean, signs, spare), clean)

    # In a small window these may be the signs that it has: a query that would tell nothing.
    first = painted(signs)
    same = jnp.all(first == best, axis=(1, 2, 3))
    return chosen(same, painted(-signs), first)


def _repaint(threat: Threat) -> Callable[[Images, Images, Images, Array], Images]:
    if not callable(threat.repaint):
        raise InputError(
            "threat must have repaint, as attacks.linf and attacks.l2 have: how a window of the "
            "image is changed within the budget"
        )
    return threat.repaint


def striped_start(threat: Threat) -> Callable[[Keys, Images], Images]:
    """Vertical stripes as far as the budget goes, one sign for each column and channel."""

    def drawn(keys: Keys, images: Images) -> Images:
        def signs(key: Array, image: Array) -> Array:
            own = jax.random.fold_in(key, 0)
            stripes = jax.random.rademacher(own, (1, *image.shape[1:]), image.dtype)
            return jnp.broadcast_to(stripes, image.shape)

        return images + radius_of(threat, images) * threat.steepest(jax.vmap(signs)(keys, images))

    return drawn


def search_at_random(
    score: Callable[[Images], Array],
    images: ImagesLike,
    *,
    threat: Threat,
    key: KeysLike,
    queries: int = 5000,
    start: ImagesLike | None = None,
    active: MaskLike | None = None,
) -> RandomSearch:
    """Paints windows of an image anew at random and keeps what raises its score.

    Each query proposes, for each image on its own, the best image so far with one window whose
    change is +eps or -eps in each channel; by L2 the window takes the length that a second one
    gives up, and its change turns towards the signs. The window has the shape of the image (person
    crops are tall) and covers 0.8 of it at first, 0.8 / 512 in the end. Nothing but scores is
    needed: they may be exact, in steps, or of a model without useful gradients. After the Square
    Attack, Andriushchenko et al., ECCV 2020, https://arxiv.org/abs/1912.00049.

    Args:
        score: images [B,H,W,C] -> [B,L] floating point or integer, row i of image i only; larger is
            better for the attacker, its columns compared one after the other. NaN never wins.
        images: [B,H,W,C] float32 or float64 in [0, 1], the clean images.
        threat: the allowed set, `linf(eps)` or `l2(eps)`; one of your own needs `radius` and
            `repaint`.
        key: a random key, or [B] keys (`example_keys`).
        queries: evaluations of the score, from 1 (the start alone) to 1,000,000, static.
        start: [B,H,W,C] starting images, projected first; by default stripes of random colours.
        active: [B] boolean; a row where it is False stays what it is: `start`, or the clean image.

    Returns:
        A RandomSearch: images [B,H,W,C] in [0, 1] and in the budget, scores [B,L], numbers [B].

    Raises:
        InputError: on bad images, queries, start, keys or mask, or a score or threat of another
            form.
    """
    images = images_of(images)
    check_callable("score", score, "images [B,H,W,C] -> [B,L]")
    check_threat(threat)
    queries = check_count("queries", queries, least=1, most=MOST_STEPS)
    keys, alive = keys_of_rows(key, images.shape[0]), active_rows(active, images)
    if start is None:
        begin = threat.project(striped_start(threat)(keys, images), images)
        begin = chosen(alive, begin, images)
    else:
        begin = starting_point(images, threat, None, start)

    def evaluated(candidates: Images) -> Array:
        return check_score("score", score(candidates), images)

    def step(best: RandomSearch, query: Window) -> tuple[RandomSearch, None]:
        proposed = chosen(alive, repainted(best.images, images, keys, query, threat), best.images)
        found = evaluated(proposed)
        wins = alive & better(found, best.score)
        accepted = best.accepted + wins
        return chosen(wins, RandomSearch(proposed, found, accepted), best), None

    none = jnp.zeros_like(images, jnp.int32, shape=images.shape[:1])
    best = RandomSearch(begin, evaluated(begin), none)
    best, _ = jax.lax.scan(step, best, window_schedule(queries, *images.shape[1:3]))
    return best
