"""Embeddings behind what stands before a network, to be ranked by and to be attacked through."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxreid.cameras import seen_by, wanted_cameras
from jaxreid.checks import check_callable, check_count
from jaxreid.errors import InputError
from jaxreid.evaluation.defended.parts import DEFENSES, FLIP, parts_of
from jaxreid.evaluation.embeds import drawn_by, features_of_rows, mirrored, wants_keys
from jaxreid.pytrees import pytree_dataclass
from jaxreid.random import numbered
from jaxreid.types import Array, ArrayLike, Embed, Keys

__all__ = ["expected", "through"]

# Of what is drawn for an attacker; images are ranked by other keys (`jaxreid.evaluation.embeds`).
_CLIMBED = 2
_MOST_DRAWS = 10_000


# Pytrees, so that an embedding that carries its weights stays one.
@pytree_dataclass
@dataclass(frozen=True)
class _Through:
    embed: Embed
    name: str = field(metadata={"static": True})
    number: float = field(metadata={"static": True})
    # Of the defense among all that stand there: two of them do not draw the same.
    place: int = field(metadata={"static": True})
    keys: Keys | None = None

    @property
    def wanted_cameras(self) -> int:
        return wanted_cameras(self.embed)

    def seen_by(self, cameras: ArrayLike) -> Embed:
        return replace(self, embed=seen_by(self.embed, cameras))

    @property
    def wants_keys(self) -> bool:
        own = DEFENSES[self.name].random and self.keys is None
        return own or wants_keys(self.embed)

    def drawn_by(self, keys: Keys) -> Embed:
        embed = drawn_by(self.embed, keys)
        if not DEFENSES[self.name].random:
            return replace(self, embed=embed)
        own = numbered(keys, self.place)
        return replace(self, embed=embed, keys=own)

    def __call__(self, images: Array) -> Array:
        one = DEFENSES[self.name]
        if one.random and self.keys is None:
            raise InputError(
                f"{self.name} draws at random: rank with it, and attack what is expected of it "
                "(jaxreid.evaluation.expected)"
            )
        assert one.change is not None
        return self.embed(one.change(images, self.keys, self.number))


@pytree_dataclass
@dataclass(frozen=True)
class _Expected:
    embed: Embed
    draws: int = field(metadata={"static": True})

    @property
    def wanted_cameras(self) -> int:
        return wanted_cameras(self.embed)

    def seen_by(self, cameras: ArrayLike) -> Embed:
        return replace(self, embed=seen_by(self.embed, cameras))

    def __call__(self, images: Array) -> Array:
        key = jax.random.key(_CLIMBED)

        # Backwards, a draw is computed anew: only one of them is in memory at a time.
        @jax.checkpoint
        def step(total: Array, draw: Array) -> tuple[Array, None]:
            keys = jnp.broadcast_to(jax.random.fold_in(key, draw), (len(images),))
            return total + features_of_rows(drawn_by(self.embed, keys), images) / self.draws, None

        shape = jax.eval_shape(lambda: step(jnp.float32(0), jnp.int32(0))[0])
        return jax.lax.scan(step, jnp.zeros(shape.shape, shape.dtype), np.arange(self.draws))[0]


def through(embed: Embed, defenses: str) -> Embed:
    """An embedding behind defenses at test time, ``f(T_n(...T_1(x)))``, with gradients.

    The gradient is that of the whole: exact, and straight-through where values are rounded (BPDA,
    Athalye et al., ICML 2018, https://arxiv.org/abs/1802.00420), so that whatever attacks an
    embedding attacks the defended one. Where one of them draws at random, the embedding is to be
    ranked with: a `RetrievalTest` draws anew for each of its images, by the image's place and
    nothing else. Attacks climb what is `expected` of it.

    Args:
        embed: images [B,H,W,3] in [0, 1] -> features [B,D].
        defenses: names in `DEFENSES` joined by "+", in the order in which an image meets them,
            each with its number, such as "jpeg:75+flip".

    Returns:
        images [B,H,W,3] -> features [B,D]; a pytree if `embed` is one.

    Raises:
        InputError: on no function, an unknown defense, one that is there twice, or a number out of
            range.
    """
    check_callable("embed", embed, "images [B,H,W,3] -> features [B,D]")
    parts = parts_of(defenses)
    for place, (name, number) in reversed(list(enumerate(parts))):
        embed = mirrored(embed) if name == FLIP else _Through(embed, name, number, place)
    return embed


def expected(embed: Embed, *, draws: int) -> Embed:
    """The mean feature over draws of a random defense, ``1/n sum_d f(T_d(x))``: what to climb.

    Expectation over transformation (EOT), Athalye et al., "Synthesizing Robust Adversarial
    Examples", ICML 2018, https://arxiv.org/abs/1707.07397, of the feature: squared distances to it
    are their mean less the spread of the features, which is the same for every guide. Draw d is the
    same for every image and every call, so that this is a function of images like any other. Rank
    with what `through` gives: there every image meets draws of its own, none of these.

    Args:
        embed: of `through`, with a defense that draws.
        draws: n, passes of the network for one of this; from 1 to 10,000.

    Returns:
        images [B,H,W,3] -> features [B,D]; a pytree if `embed` is one.

    Raises:
        InputError: nothing in it draws at random, or draws is out of range.
    """
    check_callable("embed", embed, "images [B,H,W,3] -> features [B,D]")
    if not wants_keys(embed):
        raise InputError("nothing draws at random here: attack the embedding itself")
    draws = check_count("draws", draws, least=1, most=_MOST_DRAWS)
    return _Expected(embed, draws)
