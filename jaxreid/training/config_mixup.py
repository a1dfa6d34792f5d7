"""The part of the configuration that says how clean and attacked images and labels are mixed."""

from dataclasses import dataclass

from jaxreid.errors import InputError
from jaxreid.training.config_defense import GoatConfig
from jaxreid.training.fields import Group, declare

__all__ = ["MixupConfig"]


@dataclass(frozen=True, kw_only=True)
class MixupConfig(Group, group="mixup"):
    """Images and soft labels between the clean image and a vertex beyond the attacked one."""

    stretch: float = declare(
        0.0,
        "How far the vertex is from the clean image, as a multiple of the attack's perturbation "
        "(AVmixup, FNES; 2 in AVmixup); 0 to learn the attacked images themselves.",
        expected="0, or 1 or more",
        fits=lambda value: value == 0 or value >= 1,
    )
    low: float = declare(
        0.0, "Least share of the clean image, which is drawn for every image.", low=0, high=1
    )
    high: float = declare(1.0, "Largest share of the clean image.", low=0, high=1)
    clean_label: float = declare(
        1.0,
        "Share of the own class in the label of the clean image, the others sharing the rest.",
        low=0,
        high=1,
    )
    vertex_label: float = declare(
        0.1, "The same at the vertex; 0.1 in AVmixup for 10 classes.", low=0, high=1
    )
    guide_label: float = declare(
        0.0,
        "Of vertex_label, what goes from the own class to those of the pulling guides (FNES).",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise InputError(
                f"mixup.low must be at most mixup.high; got {self.low:g} and {self.high:g}"
            )
        if self.guide_label > self.vertex_label:
            raise InputError(
                "mixup.guide_label is taken from mixup.vertex_label and must be at most that; got "
                f"{self.guide_label:g} and {self.vertex_label:g}"
            )

    @property
    def enabled(self) -> bool:
        """Whether anything is mixed."""
        return self.stretch > 0

    def check_beside(self, goat: GoatConfig, loss: str) -> None:
        """Refuses an attack or a main loss that mixing makes nothing of.

        Args:
            goat: the attack of the same configuration.
            loss: its loss.name.

        Raises:
            InputError: naming the field, and what it must be.
        """
        if not self.enabled:
            return
        if not goat.enabled:
            raise InputError("mixup.stretch goes beyond attacked images: goat.enabled must be true")
        if goat.is_universal:
            raise InputError(
                "mixup.stretch goes beyond each image's own attack: goat.objective must not be "
                "universal"
            )
        if loss != "cross_entropy":
            raise InputError(
                f"mixup.stretch mixes classes' labels: loss.name must be cross_entropy; got {loss}"
            )
        if self.guide_label and not (goat.objective == "guides" and goat.pull):
            raise InputError(
                "mixup.guide_label is of those that pull: goat.objective must be guides and "
                f"goat.pull 1 or more; got {goat.objective} and {goat.pull}"
            )
