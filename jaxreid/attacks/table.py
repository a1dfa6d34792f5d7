"""All attacks by name, in one calling form: what tests, command line and benchmark share."""

import inspect
from collections.abc import Callable
from functools import reduce
from typing import Literal, NamedTuple

from jaxreid.attacks.guided import join, signed
from jaxreid.attacks.named import (
    EPS,
    STEP_SIZE,
    STEPS,
    ThreatOf,
    fgsm,
    fna,
    ifgsm,
    mifgsm,
    noise,
    odfa,
    sma,
)
from jaxreid.attacks.threats import linf
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
    """

    function: Callable[..., Array]
    title: str
    push: Literal["none", "one", "all"] = "none"
    pull: Literal["none", "furthest", "random"] = "none"
    randomized: bool = False
    own: Literal["none", "push", "opposite"] = "none"

    @property
    def iterative(self) -> bool:
        """Whether it takes steps, and `steps` and `step_size` matter."""
        return "steps" in inspect.signature(self.function).parameters

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
        if self.push == "none":
            given = given._replace(push=None, push_mask=None)
        if self.pull == "none":
            given = given._replace(pull=None, pull_mask=None)
        if not self.randomized:
            given = given._replace(key=None)
        offered = {"embed": embed, "images": images, **given._asdict()}
        accepted = inspect.signature(self.function).parameters
        return self.function(**{name: offered[name] for name in accepted if name in offered})

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


ATTACKS: dict[str, Attack] = {
    "noise": Attack(noise, "Uniform noise", randomized=True),
    "fgsm": Attack(fgsm, "FGSM, single guide", push="one"),
    "fgsm_multi": Attack(fgsm, "FGSM, multiple guides", push="all"),
    "ifgsm": Attack(ifgsm, "IFGSM, single guide", push="one"),
    "ifgsm_multi": Attack(ifgsm, "IFGSM, multiple guides", push="all"),
    "mifgsm": Attack(mifgsm, "MI-FGSM, single guide", push="one"),
    "mifgsm_multi": Attack(mifgsm, "MI-FGSM, multiple guides", push="all"),
    "sma": Attack(sma, "Self Metric Attack", randomized=True, own="push"),
    "odfa": Attack(odfa, "Opposite-Direction Feature Attack", own="opposite"),
    "fna": Attack(fna, "Furthest-Negative Attack", push="all", pull="furthest"),
    "fna_without_push": Attack(fna, "FNA without push", pull="furthest"),
    "fna_without_pull": Attack(fna, "FNA without pull", push="all"),
    "fna_random_pull": Attack(fna, "FNA, random pull", push="all", pull="random"),
}
