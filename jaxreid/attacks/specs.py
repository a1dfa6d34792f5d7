"""What makes an attack: which guides, which rule, which start; and the one table of them.

The published functions (`jaxreid.attacks.fna` and the like), evaluation, GOAT and the benchmark run
these specs. A new attack is a new row of `ATTACKS`.
"""

from collections.abc import Callable
from functools import reduce
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreid.attacks.arguments import array_of, images_of
from jaxreid.attacks.inputs import AttackInput, check_input
from jaxreid.attacks.objectives import Objective, averaged, join, signed, signed_guides
from jaxreid.attacks.pgd import Ascent, ascend_guides, only_guided, projected_ascent
from jaxreid.attacks.rules import momentum_step, steepest_step
from jaxreid.attacks.threats import Threat, allowed_by
from jaxreid.attacks.transfer import Boost, boosted_ascent
from jaxreid.checks import (
    Sizes,
    check_callable,
    check_features,
    check_values,
    checked_features,
    is_finite,
    staged,
)
from jaxreid.constants import ATTACK_TITLES, NEAREST
from jaxreid.errors import InputError
from jaxreid.types import Embed, Features, Guides, Images, ImagesLike, PerImage

__all__ = ["ATTACKS", "AttackSpec"]

Rule = Callable[[Threat, AttackInput], optax.GradientTransformation]


def _steepest(threat: Threat, given: AttackInput) -> optax.GradientTransformation:
    return steepest_step(threat.steepest, given.step_size)


def _momentum(threat: Threat, given: AttackInput) -> optax.GradientTransformation:
    return momentum_step(threat.steepest, given.step_size, given.decay)


class AttackSpec(NamedTuple):
    """An attack, defined by its guides, its rule and its start.

    Attributes:
        title: full name, for tables and plots.
        push: which pushing guides it wants: none, one, or all of the identity.
        pull: what it pulls towards: nothing, the mean of the furthest other identity or of a random
            one, or the nearest images of other identities.
        own: how the image's own clean feature guides it: not at all, as a push away from f(x), or
            as a pull towards -f(x).
        rule: (threat, input) -> how it makes a step of a gradient; None for one without gradient,
            which stays where it starts.
        start: at the clean image, or at random in the threat model, for which it needs a key.
        iterative: whether it takes steps, and `steps` and `step_size` matter; otherwise it takes
            one, of length eps.
        averages: whether its pushing guides weigh 1 together, and its pulling ones, too, however
            many there are; otherwise each of them weighs 1.
        nearest: how many images it pulls towards if they are the nearest.
    """

    title: str
    push: Literal["none", "one", "all"] = "none"
    pull: Literal["none", "furthest", "random", "nearest"] = "none"
    own: Literal["none", "push", "opposite"] = "none"
    rule: Rule | None = _steepest
    start: Literal["clean", "random"] = "clean"
    iterative: bool = True
    averages: bool = False
    nearest: int = NEAREST

    def starts_at_random(self, *, unit_length: bool) -> bool:
        """Whether it needs a random start: at the clean image its gradient would be zero.

        Args:
            unit_length: whether the features have unit length, as with cosine distance. Then
                ``||f(x') + f(x)||^2`` is stationary at x' = x: use `_replace(start="random")`.

        Returns:
            False if it can start at the clean image.
        """
        return self.start == "random" or (unit_length and self.own == "opposite")

    def run(self, embed: Embed, images: ImagesLike, given: AttackInput) -> Images:
        """Attacks with those of the given arguments that the spec uses.

        Args:
            embed: images [B,H,W,C] in [0, 1] -> features [B,D].
            images: [B,H,W,C] float32 or float64 in [0, 1].
            given: the rest; guides that the spec does not use are ignored, and so is the key of one
                that starts at the clean image.

        Returns:
            [B,H,W,C] in [0, 1]; an image without any guide is returned as it was.

        Raises:
            InputError: something the spec uses is missing, or has another shape, dtype or range.
        """
        return self.ascend(embed, images, given).images

    def ascend(self, embed: Embed, images: ImagesLike, given: AttackInput) -> Ascent:
        """The same attack as `run`, with what happened on the way.

        Args:
            embed: as in `run`.
            images: as in `run`.
            given: as in `run`.

        Returns:
            An Ascent with the images of `run`; no steps and no objective for an attack without
            gradient (noise).

        Raises:
            InputError: as in `run`.
        """
        images, given = images_of(images), self._used(given)
        threat = allowed_by(given.threat, given.eps)
        if self.rule is None:
            return projected_ascent(
                _flat,
                images,
                threat=threat,
                rule=optax.identity(),
                steps=0,
                key=given.key,
                start=given.start,
            )
        if self.own != "none":
            given = given._replace(clean_features=self._clean_features(embed, images, given))
        guides = self.guides(given)
        if guides is None:
            raise InputError("this attack needs guides: give push or pull")
        if given.boost is not None:
            return self._boosted(given.boost, embed, images, given, guides)
        return ascend_guides(
            embed,
            images,
            guides,
            threat=threat,
            rule=self.rule(threat, given),
            steps=given.steps,
            key=given.key,
            start=given.start,
        )

    def refuse_boosts(self) -> None:
        """Refuses to be boosted if its steps are not those of the gradient.

        Raises:
            InputError: it has a rule of its own.
        """
        if self.rule is not _steepest:
            raise InputError(
                f"boosts are of attacks that step along the gradient, {self.title or 'this one'} "
                "has a rule of its own; mi is one of them"
            )

    def _boosted(
        self, boost: Boost, embed: Embed, images: Images, given: AttackInput, guides: Guides
    ) -> Ascent:
        """The ascent that is to work on other networks."""
        self.refuse_boosts()

        def viewed(seen: Callable[[Images], Images]) -> Objective:
            def through(shown: Images) -> Features:
                return embed(seen(shown))

            if self.own == "none":
                return signed_guides(through, guides)
            # Both sides of the distance to the image's own feature through the same view.
            clean = jax.lax.stop_gradient(checked_features(through, images))
            own = self.guides(given._replace(clean_features=clean))
            return signed_guides(through, guides if own is None else own)

        ascent = boosted_ascent(
            viewed,
            images,
            threat=allowed_by(given.threat, given.eps),
            step_size=given.step_size,
            steps=given.steps,
            boost=boost,
            key=given.key,
            start_key=given.key if self.start == "random" else None,
            start=given.start,
        )
        return only_guided(ascent, images, guides)

    def guides(self, given: AttackInput) -> Guides | None:
        """The guides of the objective it climbs, with signs.

        ``J(x') = sum_k w_k ||f(x') - g_k||^2`` is `signed_guides(embed, guides)`: by its value the
        results of several starts are compared.

        Args:
            given: its guides, and clean_features for the attacks that guide themselves.

        Returns:
            Guides of B images, or None for an attack without objective (noise).

        Raises:
            InputError: clean_features is missing, or shapes do not fit.
        """
        check_input(given)
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
        if self.averages:
            parts = [averaged(part) for part in parts]
        return reduce(join, parts) if parts else None

    def _used(self, given: AttackInput) -> AttackInput:
        """Without what the spec has no use for, and with the one step of one that takes no more."""
        check_input(given)
        if self.push == "none":
            given = given._replace(push=None, push_mask=None)
        if self.pull == "none":
            given = given._replace(pull=None, pull_mask=None)
        if self.start == "clean":
            # A boost draws, wherever it starts.
            given = given._replace(key=None if given.boost is None else given.key)
        elif given.key is None and given.start is None:
            raise InputError("this attack starts at random and needs key (or start)")
        return given if self.iterative else given._replace(step_size=given.eps, steps=1)

    def _clean_features(self, embed: Embed, images: Images, given: AttackInput) -> Features:
        """Features of the clean images, constant for every derivative."""
        check_callable("embed", embed, "images [B,H,W,C] -> features [B,D]")
        if given.clean_features is None:
            features = checked_features(embed, images)
            message = "embed gives NaN or infinity for an image"
        else:
            features = jnp.asarray(array_of("clean_features", given.clean_features))
            message = "clean_features must be finite, but holds NaN or infinity"
        Sizes().check("clean_features", features, "BD")
        with staged():
            check_values(features, is_finite, message)
        features = jax.lax.stop_gradient(check_features("clean_features", features))
        if self.own == "opposite" and self.start == "clean" and given.start is None:
            _refuse_unit_length(features)
        return features


def _flat(images: Images) -> PerImage:
    """The objective of an attack without gradient."""
    return jnp.zeros(images.shape[0], images.dtype)


def _refuse_unit_length(features: Features) -> None:
    """Refuses to start at the clean image where its gradient is zero but for rounding.

    f is orthogonal to every change of a feature of fixed length, so ||f(x) + f||^2 is stationary.
    """
    tolerance = 1e-4 if jnp.finfo(features.dtype).bits >= 32 else 1e-2
    lengths = jnp.sqrt(jnp.sum(jnp.square(features.astype(jnp.float32)), axis=1))
    unit = jnp.abs(lengths - 1) <= tolerance
    with staged():
        check_values(
            jnp.all(unit | (lengths == 0)) & jnp.any(unit),
            jnp.logical_not,
            "odfa needs key (or start) on features of unit length: at the clean image its "
            "gradient is zero",
        )


ATTACKS: dict[str, AttackSpec] = {
    "noise": AttackSpec(ATTACK_TITLES["noise"], rule=None, start="random", iterative=False),
    "fgsm": AttackSpec(ATTACK_TITLES["fgsm"], push="one", iterative=False),
    "fgsm_multi": AttackSpec(ATTACK_TITLES["fgsm_multi"], push="all", iterative=False),
    "ifgsm": AttackSpec(ATTACK_TITLES["ifgsm"], push="one"),
    "ifgsm_multi": AttackSpec(ATTACK_TITLES["ifgsm_multi"], push="all"),
    "mifgsm": AttackSpec(ATTACK_TITLES["mifgsm"], push="one", rule=_momentum),
    "mifgsm_multi": AttackSpec(ATTACK_TITLES["mifgsm_multi"], push="all", rule=_momentum),
    "sma": AttackSpec(ATTACK_TITLES["sma"], own="push", start="random"),
    "odfa": AttackSpec(ATTACK_TITLES["odfa"], own="opposite"),
    "fna": AttackSpec(ATTACK_TITLES["fna"], push="all", pull="furthest"),
    "fna_without_push": AttackSpec(ATTACK_TITLES["fna_without_push"], pull="furthest"),
    "fna_without_pull": AttackSpec(ATTACK_TITLES["fna_without_pull"], push="all"),
    "fna_random_pull": AttackSpec(ATTACK_TITLES["fna_random_pull"], push="all", pull="random"),
    "nna": AttackSpec(ATTACK_TITLES["nna"], push="all", pull="nearest", averages=True),
}
"""All attacks by name: what command line, evaluation, training, benchmark and tests share."""
