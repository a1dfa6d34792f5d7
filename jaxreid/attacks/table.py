"""All attacks by name, in one calling form: what tests, command line and benchmark share."""

import inspect
from collections.abc import Callable
from functools import reduce
from typing import Literal, NamedTuple

import jax.numpy as jnp
import optax

from jaxreid.attacks.arguments import images_of
from jaxreid.attacks.ascent import Ascent
from jaxreid.attacks.guided import (
    ascend_guides,
    clean_features_of,
    join,
    refuse_unit_length,
    signed,
)
from jaxreid.attacks.named import (
    DECAY,
    EPS,
    NEEDS_START,
    STEP_SIZE,
    STEPS,
    fgsm,
    fna,
    ifgsm,
    mifgsm,
    noise,
    odfa,
    sma,
)
from jaxreid.attacks.rules import momentum_step, steepest_step
from jaxreid.attacks.threats import Threat, ThreatOf, allowed_by, linf
from jaxreid.errors import InputError
from jaxreid.types import Array, ArrayLike, Embed, Guides

__all__ = ["ATTACKS", "Attack", "AttackInput"]


class AttackInput(NamedTuple):
    """Everything any attack may want; each takes what it needs and ignores the rest.

    Attributes:
        push: [B,G,D] features of the image's own identity, or None.
        push_mask: [B,G] boolean, or None for all.
        pull: [B,N,D] features of another identity, or None.
        pull_mask: [B,N] boolean, or None for all.
        key: a random key or [B] keys, or None.
        eps: budget, in pixel range.
        step_size: length of a step, in pixel range.
        steps: number of steps, static.
        threat: `linf` or `l2`.
        clean_features: [B,D] = embed(images) if the caller has them, or None.
    """

    push: ArrayLike | None = None
    push_mask: ArrayLike | None = None
    pull: ArrayLike | None = None
    pull_mask: ArrayLike | None = None
    key: Array | None = None
    eps: float | ArrayLike = EPS
    step_size: float | ArrayLike = STEP_SIZE
    steps: int = STEPS
    threat: ThreatOf = linf
    clean_features: ArrayLike | None = None


class Attack(NamedTuple):
    """One row of `ATTACKS`: a function and the guides its published form uses.

    Attributes:
        function: the attack in `jaxreid.attacks`.
        title: full name, for tables and plots.
        push: which pushing guides it wants: none, one, or all of the identity.
        pull: which identity it pulls towards: none, the furthest, or a random one.
        randomized: whether it starts at random and so needs `key`.
        own: how the image's own clean feature guides it: not at all, as a push away from f(x), or
            as a pull towards -f(x).
        rule: (threat, input) -> how it makes a step of a gradient; None for one without gradient.
    """

    function: Callable[..., Array]
    title: str
    push: Literal["none", "one", "all"] = "none"
    pull: Literal["none", "furthest", "random"] = "none"
    randomized: bool = False
    own: Literal["none", "push", "opposite"] = "none"
    rule: Callable[[Threat, AttackInput], optax.GradientTransformation] | None = None

    @property
    def iterative(self) -> bool:
        """Whether it takes steps, and `steps` and `step_size` matter."""
        return "steps" in inspect.signature(self.function).parameters

    def starts_at_random(self, *, unit_length: bool) -> bool:
        """Whether it needs a random start: at the clean image its gradient would be zero.

        Args:
            unit_length: whether the features have unit length, as with cosine distance. Then
                ``||f(x') + f(x)||^2`` is stationary at x' = x: use `_replace(randomized=True)`.

        Returns:
            False if it can start at the clean image.
        """
        return self.randomized or (unit_length and self.own == "opposite")

    def run(self, embed: Embed, images: ArrayLike, given: AttackInput) -> Array:
        """Attacks with those of the given arguments that the published form uses.

        Args:
            embed: images [B,H,W,C] in [0, 1] -> features [B,D].
            images: [B,H,W,C] float32 or float64 in [0, 1].
            given: the rest; guides that the form does not use are ignored, and so is the key
                unless it is randomized.

        Returns:
            [B,H,W,C] in [0, 1].

        Raises:
            InputError: as the function does.
        """
        offered = {"embed": embed, "images": images, **self._used(given)._asdict()}
        accepted = inspect.signature(self.function).parameters
        return self.function(**{name: offered[name] for name in accepted if name in offered})

    def ascend(self, embed: Embed, images: ArrayLike, given: AttackInput) -> Ascent:
        """The same attack as `run`, with what happened on the way.

        Args:
            embed: as in `run`.
            images: as in `run`.
            given: as in `run`.

        Returns:
            An Ascent with the images of `run`; no steps and no objective for an attack without
            gradient (noise).

        Raises:
            InputError: as the function does.
        """
        images, used = images_of(images), self._used(given)
        if self.rule is None:
            images = self.run(embed, images, given)
            none = jnp.zeros(len(images), jnp.int32)
            return Ascent(images, jnp.zeros((0, len(images))), none, none)
        if self.own != "none":
            clean = clean_features_of(embed, images, used.clean_features)
            if used.key is None and self.own == "push":
                raise InputError(NEEDS_START)
            if used.key is None:
                refuse_unit_length("odfa", clean)
            used = used._replace(clean_features=clean)
        guides = self.guides(used)
        if guides is None:
            raise InputError("this attack needs guides: give push or pull")
        allowed = allowed_by(used.threat, used.eps)
        return ascend_guides(
            embed,
            images,
            guides,
            threat=allowed,
            rule=self.rule(allowed, used),
            steps=used.steps if self.iterative else 1,
            key=used.key,
        )

    def _used(self, given: AttackInput) -> AttackInput:
        """Without what the published form has no use for."""
        _check_input(given)
        if self.push == "none":
            given = given._replace(push=None, push_mask=None)
        if self.pull == "none":
            given = given._replace(pull=None, pull_mask=None)
        if not self.randomized:
            given = given._replace(key=None)
        return given

    def guides(self, given: AttackInput) -> Guides | None:
        """The guides of the objective it climbs, with signs.

        ``J(x') = sum_k w_k ||f(x') - g_k||^2`` is `signed_guides(embed, guides)`: what tells which
        of several starts went furthest.

        Args:
            given: its guides, and clean_features for the attacks that guide themselves.

        Returns:
            Guides of B images, or None for an attack without objective (noise).

        Raises:
            InputError: clean_features is missing, or shapes do not fit.
        """
        _check_input(given)
        parts = []
        if self.push != "none" and given.push is not None:
            parts.append(signed("push", given.push, given.push_mask, 1))
        if self.pull != "none" and given.pull is not None:
            parts.append(signed("pull", given.pull, given.pull_mask, -1))
        if self.own != "none":
            if given.clean_features is None:
                raise InputError(
                    "this attack is guided by the image's own feature: give clean_features"
                )
            sign = 1 if self.own == "push" else -1
            parts.append(signed("clean_features", sign * given.clean_features, None, sign))
        return reduce(join, parts) if parts else None


def _check_input(given: AttackInput) -> None:
    if not isinstance(given, AttackInput):
        raise InputError(f"given must be an AttackInput, got a {type(given).__name__}")


def _one_step(threat: Threat, given: AttackInput) -> optax.GradientTransformation:
    return steepest_step(threat.steepest, given.eps)


def _steps(threat: Threat, given: AttackInput) -> optax.GradientTransformation:
    return steepest_step(threat.steepest, given.step_size)


def _momentum(threat: Threat, given: AttackInput) -> optax.GradientTransformation:
    return momentum_step(threat.steepest, given.step_size, DECAY)


ATTACKS: dict[str, Attack] = {
    "noise": Attack(noise, "Uniform noise", randomized=True),
    "fgsm": Attack(fgsm, "FGSM, single guide", push="one", rule=_one_step),
    "fgsm_multi": Attack(fgsm, "FGSM, multiple guides", push="all", rule=_one_step),
    "ifgsm": Attack(ifgsm, "IFGSM, single guide", push="one", rule=_steps),
    "ifgsm_multi": Attack(ifgsm, "IFGSM, multiple guides", push="all", rule=_steps),
    "mifgsm": Attack(mifgsm, "MI-FGSM, single guide", push="one", rule=_momentum),
    "mifgsm_multi": Attack(mifgsm, "MI-FGSM, multiple guides", push="all", rule=_momentum),
    "sma": Attack(sma, "Self Metric Attack", randomized=True, own="push", rule=_steps),
    "odfa": Attack(odfa, "Opposite-Direction Feature Attack", own="opposite", rule=_steps),
    "fna": Attack(fna, "Furthest-Negative Attack", push="all", pull="furthest", rule=_steps),
    "fna_without_push": Attack(fna, "FNA without push", pull="furthest", rule=_steps),
    "fna_without_pull": Attack(fna, "FNA without pull", push="all", rule=_steps),
    "fna_random_pull": Attack(fna, "FNA, random pull", push="all", pull="random", rule=_steps),
}
