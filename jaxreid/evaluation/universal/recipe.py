"""What a perturbation is learned by: the numbers that decide it beside model and images."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from jaxreid.checks import check_choice, check_count, check_levels, shown
from jaxreid.constants import LARGEST_BATCH, LARGEST_SEED, LEVELS, MOST_EPOCHS
from jaxreid.errors import InputError

__all__ = ["LearnedBy", "Recipe"]

LearnedBy = Literal["ap", "sma", "fna", "generator"]
_MOST_REPLAYS = 1000


@dataclass(frozen=True)
class Recipe:
    """How a perturbation is learned.

    Attributes:
        objective: "ap", one change that climbs one less the average precision of a histogram, less
            its total variation (MUAP); "sma", one that climbs the distance to the clean features;
            "fna", one that climbs the distance to other images of the person and descends that to
            the furthest other person of the batch; "generator", a network that draws a change of
            each image and descends the mis-ranking loss.
        eps: budget in L-infinity, in 1/255.
        epochs: passes over the people.
        identities: people per batch.
        images: of each of them.
        smoothness: weight of the total variation of attacked images, in pixel range, that "ap"
            pays for; MUAP's 10 on pixels divided by their deviation is about 200.
        replays: updates from each batch, which is decoded and embedded clean once for all of them;
            as of Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019,
            https://arxiv.org/abs/1904.12843.
        seed: of the start and of the order.
    """

    objective: LearnedBy = "ap"
    eps: float = 10.0
    epochs: int = 10
    identities: int = 16
    images: int = 4
    smoothness: float = 0.0
    replays: int = 1
    seed: int = 0

    @property
    def in_pixels(self) -> float:
        """The budget in pixel range."""
        return self.eps / LEVELS

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return self.identities * self.images

    def check(self) -> None:
        """Refuses what cannot be learned by.

        Raises:
            InputError: a field that is out of range, by its name.
        """
        check_choice("objective", self.objective, get_args(LearnedBy))
        check_levels("eps", self.eps)
        if not (_is_finite(self.smoothness) and self.smoothness >= 0):
            raise InputError(f"smoothness must be 0 or more, got {shown(self.smoothness)}")
        if self.smoothness and self.objective != "ap":
            raise InputError(f"smoothness is of objective ap, not of {self.objective}")
        check_count("epochs", self.epochs, least=1, most=MOST_EPOCHS)
        for name in ("identities", "images"):
            check_count(name, getattr(self, name), least=2, most=LARGEST_BATCH)
        check_count("replays", self.replays, least=1, most=_MOST_REPLAYS)
        check_count("seed", self.seed, most=LARGEST_SEED)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
