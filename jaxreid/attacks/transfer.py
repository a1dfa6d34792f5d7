"""Ascents that are made to work on other networks than the one they climb; any objective.

Each published idea is a part of a `Boost`: what the network is shown (`jaxreid.attacks.views`),
where the gradient is taken, and what becomes of it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.climbing import check_climb, of_no_use, starting_point, value_and_gradient
from jaxreid.attacks.diversity import smoothed_gradients
from jaxreid.attacks.objectives import Objective
from jaxreid.attacks.pgd import Ascent, Step, ascent_of
from jaxreid.attacks.rules import l1_normalize, steepest_step
from jaxreid.attacks.threats import Threat
from jaxreid.attacks.views import SCALES, View, admixed, blockwise, diverse, scaled
from jaxreid.checks import check_callable, check_count, check_flag, check_number, shown
from jaxreid.errors import InputError, did_you_mean
from jaxreid.precision import finite_part
from jaxreid.random import keys_of_rows, numbered
from jaxreid.types import (
    Array,
    ArrayLike,
    Images,
    ImagesLike,
    Keys,
    KeysLike,
    PerImage,
)

__all__ = ["BOOSTS", "Boost", "Viewed", "boost_of", "boosted_ascent"]

Viewed = Callable[[Callable[[Images], Images]], Objective]
"""view -> the objective of images that are seen through it, images [B,H,W,C] -> [B].

``lambda seen: signed_guides(lambda x: embed(seen(x)), guides)``; a distance between two images sees
both through the same view.
"""

# Of the published kernel, 7/3 pixels on images of 224x224: as a share of the root of the area.
_BLUR = 7 / 3 / 224
_NEIGHBOURS = 20
_SPREAD = 1.5


class Boost(NamedTuple):
    """What makes an attack work on networks that it has not met.

    Attributes:
        views: what the network is shown, one after the other.
        copies: of each image in a step, each seen through views of its own; the objective is their
            mean.
        momentum: weight of the gradients of earlier steps, at least 0, without unit.
        lookahead: whether the gradient is taken where the momentum leads (Nesterov).
        neighbours: images around, whose mean gradient tells how far the next one is to be believed
            (variance tuning).
        spread: in which ball those are drawn, as a multiple of the budget.
        blur: whether gradients are smoothed over the image (translation invariance).
    """

    views: tuple[View, ...] = ()
    copies: int = 1
    momentum: float = 0.0
    lookahead: bool = False
    neighbours: int = 0
    spread: float = _SPREAD
    blur: bool = False

    @property
    def draws(self) -> bool:
        """Whether it needs a random key."""
        return self.neighbours > 0 or any(view is not scaled for view in self.views)


BOOSTS: dict[str, dict[str, Any]] = {
    "mi": {"momentum": 1.0},
    "ni": {"momentum": 1.0, "lookahead": True},
    "vmi": {"momentum": 1.0, "neighbours": _NEIGHBOURS},
    "di": {"views": (diverse,)},
    "ti": {"blur": True},
    "si": {"views": (scaled,), "copies": SCALES},
    "admix": {"views": (admixed, scaled), "copies": 3 * SCALES},
    "sia": {"views": (blockwise,), "copies": 20},
}
"""Name -> the fields of a `Boost` that it sets, with its authors' numbers.

mi: Dong et al., CVPR 2018, https://arxiv.org/abs/1710.06081. ni, si: Lin et al., ICLR 2020,
https://arxiv.org/abs/1908.06281. vmi: Wang & He, CVPR 2021, https://arxiv.org/abs/2103.15571.
di: Xie et al., CVPR 2019, https://arxiv.org/abs/1803.06978. ti: Dong et al., CVPR 2019,
https://arxiv.org/abs/1904.02884. admix: Wang et al., ICCV 2021, https://arxiv.org/abs/2102.00436.
sia: Wang et al., ICCV 2023, https://arxiv.org/abs/2309.14700.
"""


def boost_of(names: Sequence[str], *, others: ImagesLike | None = None) -> Boost:
    """Several published boosts as one; views apply in the order of the names.

    Args:
        names: keys of BOOSTS, each once.
        others: float [P,H,W,C] in [0, 1], the pool that "admix" draws from; without it an ascent
            by admix is refused.

    Returns:
        A Boost; of several numbers of copies it has the largest.

    Raises:
        InputError: an unknown name, or one that is there twice.
    """
    fields: dict[str, Any] = {}
    views: dict[Any, None] = {}
    for name in names:
        if name not in BOOSTS:
            raise InputError(f"unknown boost {shown(name)}; {_near(name)}")
        part = dict(BOOSTS[name])
        views.update(dict.fromkeys(part.pop("views", ())))
        fields |= {**part, "copies": max(fields.get("copies", 1), part.get("copies", 1))}
    if len(set(names)) < len(names):
        raise InputError(f"a boost is named twice: {', '.join(names)}")
    made = _without_others if others is None else admixed(others)
    return Boost(views=tuple(made if view is admixed else view for view in views), **fields)


def _without_others(images: Images, keys: Keys, number: Array) -> Images:
    raise InputError("admix mixes with other images: give others, float [P,H,W,C] in [0, 1]")


def _near(name: object) -> str:
    near = did_you_mean(name, BOOSTS) if isinstance(name, str) else ""
    return near or f"there are {', '.join(BOOSTS)}"


_Carry = tuple[Array, Array, Array]
"""Images, what the momentum holds, and what is added to the next gradient."""


def boosted_ascent(
    objective: Viewed,
    images: ImagesLike,
    *,
    threat: Threat,
    step_size: float | ArrayLike,
    steps: int,
    boost: Boost,
    key: KeysLike | None = None,
    start_key: KeysLike | None = None,
    start: ImagesLike | None = None,
) -> Ascent:
    """Climbs the mean of an objective over views, by gradients that are made to transfer.

    With views T_n, momentum mu, step a, and m_0 = v_0 = 0:

        y = x_t + a mu m_t                                (lookahead; otherwise y = x_t)
        g = mean_n grad J(T_n(y))
        m_t+1 = mu m_t + h / mean|h|,  h = blur(g + v_t)
        v_t+1 = mean_i grad J(T_i(y + r_i)) - g,          r_i uniform in `spread` times the ball
        x_t+1 = project(x_t + a steepest(m_t+1))

    Where a gradient is NaN or infinite, it counts as zero.

    Args:
        objective: see `Viewed`; it is maximised.
        images: [B,H,W,C] float32 or float64 in [0, 1], the clean images.
        threat: the allowed set, `linf(eps)` or `l2(eps)`.
        step_size: a in pixel range, a number or anything that broadcasts against the images.
        steps: number of steps, from 0 to 1,000,000, static.
        boost: what is done; `boost_of` makes those that are published.
        key: a random key, or [B] keys, for views and neighbours.
        start_key: the same for a random start in the threat model.
        start: [B,H,W,C] starting images, projected first; with neither it is `images`.

    Returns:
        An Ascent; its objective is the mean over the views of each step, where its gradient was
        taken.

    Raises:
        InputError: on bad images, steps, keys, start, threat, boost, or an objective of another
            form.
    """
    images = images_of(images)
    check_climb(objective, threat, steps)
    _check_boost(boost, key)
    adversarial = starting_point(images, threat, start_key, start)
    keys = keys_of_rows(jax.random.key(0) if key is None else key, len(images))
    steepest = steepest_step(threat.steepest, step_size)
    # Of unit mean, as published: how far a look ahead goes depends on it.
    unit = optax.chain(l1_normalize(), optax.scale(images[0].size))

    def step(carry: _Carry, number: Array) -> tuple[_Carry, Step]:
        adversarial, memory, doubt = carry
        drawn = numbered(keys, number)
        ahead = jnp.asarray(step_size, images.dtype) * boost.momentum * memory
        point = adversarial + ahead if boost.lookahead else adversarial
        value, gradient = _mean_gradient(objective, point, boost, drawn)
        nonfinite, zero = of_no_use(gradient)
        gradient = finite_part(gradient)
        height = gradient + doubt
        if boost.blur:
            sigma = _BLUR * (images.shape[1] * images.shape[2]) ** 0.5
            height = smoothed_gradients(height, sigma=sigma)
        memory = boost.momentum * memory + unit.update(height, unit.init(height))[0]
        if boost.neighbours:
            doubt = finite_part(_gradient_around(objective, point, threat, boost, drawn)) - gradient
        moved, _ = steepest.update(memory, steepest.init(memory))
        return (threat.project(adversarial + moved, images), memory, doubt), Step(
            value, nonfinite, zero
        )

    start_of: _Carry = (adversarial, jnp.zeros_like(images), jnp.zeros_like(images))
    (adversarial, _, _), taken = jax.lax.scan(step, start_of, jnp.arange(int(steps)))
    return ascent_of(adversarial, taken)


def _check_boost(boost: Boost, key: KeysLike | None) -> None:
    if not isinstance(boost, Boost):
        raise InputError(f"boost must be a Boost, got a {type(boost).__name__}")
    for view in boost.views:
        check_callable("boost.views", view, "(images, keys, number) -> images")
    check_count("boost.copies", boost.copies, least=1)
    check_count("boost.neighbours", boost.neighbours)
    for name in ("momentum", "spread"):
        check_number(
            f"boost.{name}", getattr(boost, name), lambda value: value >= 0, "be at least 0"
        )
    for name in ("lookahead", "blur"):
        check_flag(f"boost.{name}", getattr(boost, name))
    if boost.draws and key is None:
        raise InputError("this boost draws what the network is shown and needs key")


def _seen_through(boost: Boost, keys: Keys, number: Array) -> Callable[[Images], Images]:
    def seen(images: Images) -> Images:
        for view in boost.views:
            images = view(images, keys, number)
        return images

    return seen


def _mean_gradient(
    objective: Viewed, point: Images, boost: Boost, keys: Keys
) -> tuple[PerImage, Images]:
    """Value [B] and gradient [B,H,W,C] at a point, means over the copies."""

    def at_copy(number: Array) -> tuple[PerImage, Images]:
        seen = _seen_through(boost, keys, number)
        value, gradient, _ = value_and_gradient(lambda x: (objective(seen)(x), None), point)
        return value, gradient

    return _mean(at_copy, boost.copies)


def _gradient_around(
    objective: Viewed, point: Images, threat: Threat, boost: Boost, keys: Keys
) -> Images:
    """The mean gradient [B,H,W,C] at neighbours of a point, each seen once."""

    def at_neighbour(number: Array) -> Images:
        # Of other draws than the copies of this step.
        drawn = numbered(keys, boost.copies + number)
        away = threat.random_start(drawn, point) - point
        seen = _seen_through(boost, drawn, number % boost.copies)
        return value_and_gradient(
            lambda x: (objective(seen)(x), None), point + boost.spread * away
        )[1]

    return _mean(at_neighbour, boost.neighbours)


def _mean(of: Callable[[Array], Any], count: int) -> Any:
    """The mean of a function over 0 to count - 1, one after the other, for memory's sake."""
    if count == 1:
        return of(jnp.int32(0))
    zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(of, 0))

    def add(sums: Any, number: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, of(number)), None

    sums, _ = jax.lax.scan(add, zeros, jnp.arange(count))
    return jax.tree.map(lambda each: each / count, sums)
