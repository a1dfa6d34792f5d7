"""The configuration of a training run: every field with its type, default, bounds and meaning.

This is the one place that knows of a field. The command line (`--config.goat.push=4`), what
config.json holds, the check on resume, `jaxreid train --help-config` and docs/configuration.md
come from it.

    config = TrainConfig().replace({"epochs": 20, "goat.enabled": True, "goat.push": 4})
    config.goat.push
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from jaxreid.constants import ENSEMBLES, LARGEST_BATCH, LARGEST_SEED, MOST_EPOCHS, Distance
from jaxreid.errors import InputError
from jaxreid.training.config_defense import PIXELS, DefenseConfig, GoatConfig
from jaxreid.training.config_inputs import (
    AugmentationConfig,
    BatchConfig,
    DatasetConfig,
    ModelConfig,
)
from jaxreid.training.config_mixup import MixupConfig
from jaxreid.training.config_optimizer import OptimizerConfig, OptimizerName
from jaxreid.training.fields import Group, Levels, declare

__all__ = [
    "AugmentationConfig",
    "BatchConfig",
    "CheckpointConfig",
    "DatasetConfig",
    "DefenseConfig",
    "EvaluationConfig",
    "GoatConfig",
    "LossConfig",
    "MixupConfig",
    "ModelConfig",
    "OptimizerConfig",
    "OptimizerName",
    "ScheduleConfig",
    "TrainConfig",
]


def _are_epochs(value: tuple[Any, ...]) -> bool:
    numbers = all(type(v) in (int, float) and 0 <= v <= MOST_EPOCHS for v in value)
    return numbers and list(value) == sorted(set(value))


# Not imported above: it imports JAX.
def _attacks() -> list[str]:
    from jaxreid.attacks import ATTACKS

    return [*ATTACKS, *ENSEMBLES, "worst", "worst-quick"]


@dataclass(frozen=True, kw_only=True)
class LossConfig(Group, group="loss"):
    """What is minimised."""

    name: Literal["cross_entropy", "triplet"] = declare(
        "cross_entropy",
        "`cross_entropy`: for heads with a classifier; `triplet`: batch-hard, over the whole "
        "batch.",
    )
    label_smoothing: float = declare(0.0, "Of the cross entropy.", low=0, below=1)
    margin: float = declare(
        -1.0, "Of the triplet loss; below 0 for the soft margin.", unit="that of the features"
    )
    triplet_weight: float = declare(
        0.0, "Of a triplet loss beside the cross entropy; 0 for none.", low=0
    )
    precision_weight: float = declare(
        0.0,
        "Of a smoothed average precision among the images of the batch beside `name`; 0 for none. "
        "Like triplets it needs images of the same person in a batch: batch.sampler = identities.",
        low=0,
    )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Group, group="schedule"):
    """The learning rate over the epochs."""

    name: Literal["constant", "steps", "exponential", "cosine"] = declare(
        "cosine",
        "`steps`: times factor at each of boundaries; `exponential`: constant until decay_start, "
        "then times final_fraction ** (epochs since / decay_epochs).",
    )
    warmup_epochs: float = declare(
        2.0, "Linear growth from 0, with every schedule.", unit="epochs", low=0
    )
    boundaries: tuple[float, ...] = declare(
        (20, 40),
        "Of `steps`.",
        unit="epochs",
        expected="epochs that grow, such as (20, 40)",
        fits=_are_epochs,
    )
    factor: float = declare(0.1, "Of `steps`.", above=0)
    decay_start: float = declare(50.0, "Of `exponential`.", unit="epochs", low=0)
    decay_epochs: float = declare(100.0, "Of `exponential`.", unit="epochs", above=0)
    final_fraction: float = declare(0.001, "Of `exponential`.", above=0)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Group, group="evaluation"):
    """On the validation people, to choose the best weights."""

    every_epochs: int = declare(
        1, "Between evaluations; 0 for none.", unit="epochs", low=0, high=MOST_EPOCHS
    )
    batch_size: int = declare(128, "Images at a time.", low=1, high=LARGEST_BATCH, free=True)
    distance: Distance = declare("euclidean", "Between features.")
    flip: bool = declare(False, "Whether features are averaged with those of the mirror image.")
    attack: str = declare(
        "",
        "Under which the best weights are chosen, a name of `jaxreid evaluate --attacks`, at best "
        "`worst-quick`: a single attack's figure chooses weights that resist that attack; empty to "
        "choose by clean images: the weights that retrieve those best are the least hardened.",
        expected=lambda: f"empty or one of {', '.join(_attacks())}",
        fits=lambda name: name == "" or name in _attacks(),
    )
    attack_eps: Levels = declare(
        5.0, "Its budget, written like goat.eps.", unit=PIXELS, low=0, high=255
    )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig(Group, group="checkpoint"):
    """What a run that was interrupted goes on from."""

    every_steps: int = declare(
        0,
        "Between checkpoints; 0 for one per epoch. One is also written after every evaluation, at "
        "the end, and at preemption.",
        unit="steps",
        low=0,
        high=10**12,
        free=True,
    )
    keep: int = declare(
        2, "Checkpoints that are kept, beside the best weights.", low=1, high=1_000_000, free=True
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Group):
    """A training run; as it stands, a small network on the synthetic people."""

    seed: int = declare(
        0,
        "Of the initial weights, the order of the data, augmentation and random starts; the same "
        "seed gives the same run on any number of devices and processes, up to floating point.",
        low=0,
        high=LARGEST_SEED,
    )
    epochs: int = declare(
        12,
        "Passes over the training split (with the sampler identities: over the training "
        "identities).",
        low=1,
        high=MOST_EPOCHS,
    )
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    goat: GoatConfig = field(default_factory=GoatConfig)
    mixup: MixupConfig = field(default_factory=MixupConfig)
    defense: DefenseConfig = field(default_factory=DefenseConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log_every_steps: int = declare(
        10, "Between lines of the log.", unit="steps", low=1, high=10**12, free=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_agreement()

    def _check_agreement(self) -> None:
        """Checks what only several fields together can break."""
        size, images = self.batch.size, self.batch.images_per_identity
        if self.batch.sampler == "identities" and size % images:
            raise InputError(
                "batch.size must be a multiple of batch.images_per_identity with the sampler "
                f"identities; got {size} and {images}"
            )
        if self.loss.name == "cross_entropy" and self.model.head == "triplet":
            raise InputError(
                "loss.name cross_entropy needs model.head classification, reduction or embedding, "
                f"which have a classifier; got {self.model.head}"
            )
        warmup, epochs = self.schedule.warmup_epochs, self.epochs
        if self.schedule.name == "cosine" and warmup >= epochs:
            raise InputError(
                f"schedule.warmup_epochs must be less than epochs; got {warmup:g} of {epochs}"
            )
        if self.optimizer.swa_from_epoch >= epochs:
            raise InputError(
                "optimizer.swa_from_epoch must be less than epochs; got "
                f"{self.optimizer.swa_from_epoch:g} of {epochs}"
            )
        if self.loss.triplet_weight and self.loss.name == "triplet":
            raise InputError("loss.triplet_weight is beside cross_entropy; loss.name is triplet")
        self._check_defense()
        self.mixup.check_beside(self.goat, self.loss.name)

    def _check_defense(self) -> None:
        """Checks that there is an attack where one is needed, and what it is guided by."""
        goat, defense = self.goat, self.defense
        if goat.enabled and goat.guide_bank and not goat.push:
            raise InputError(
                "goat.guide_bank holds pushing guides: goat.push must be 1 or more; got 0"
            )
        if goat.enabled and "guides" not in goat.objectives and (goat.push or goat.pull):
            raise InputError(
                f"goat.objective {goat.objective} has no guides: goat.push and goat.pull must be "
                f"0; got {goat.push} and {goat.pull}"
            )
        if defense.needs_clean and not goat.enabled:
            raise InputError(
                "defense.clean_weight, consistency and discriminator_weight compare clean images "
                "with attacked ones: they need goat.enabled = true"
            )
        if not (defense.attacked_weight or defense.clean_weight):
            raise InputError(
                "defense.attacked_weight and defense.clean_weight are 0: nothing would be learned"
            )
        if defense.lipschitz_weight and not (self.batch.sampler == "identities" and goat.eps > 0):
            raise InputError(
                "defense.lipschitz_weight needs batch.sampler = identities and goat.eps above 0; "
                f"got {self.batch.sampler} and {goat.eps:g}"
            )
        if defense.batch_norm == "dual" and not (defense.needs_clean and not goat.clean_fraction):
            raise InputError(
                "defense.batch_norm dual tells clean images from attacked ones: it needs "
                "defense.clean_weight or defense.consistency, and goat.clean_fraction = 0; got "
                f"{defense.clean_weight:g}, {defense.consistency} and {goat.clean_fraction:g}"
            )
        self._check_triplets()

    def _check_triplets(self) -> None:
        """Checks that triplets are there where they are looked at."""
        goat, defense = self.goat, self.defense
        attacked = goat.enabled and goat.on_triplets
        if attacked and self.batch.sampler != "identities":
            raise InputError(
                f"goat.objective {goat.objective} attacks images of the same person in a batch: it "
                f"needs batch.sampler = identities; got {self.batch.sampler}"
            )
        if defense.on_triplets and not attacked:
            raise InputError(
                f"defense.consistency {defense.consistency} is of attacked triplets: goat.objective"
                f" must be hardness, collapse, misorder or decoupled; got {goat.objective}"
            )
        if defense.consistency == "decoupled" and goat.objective != "decoupled":
            raise InputError(
                "defense.consistency decoupled takes turns with the attack: goat.objective must be "
                f"decoupled; got {goat.objective}"
            )
        if defense.structure_weight and not defense.on_triplets:
            raise InputError(
                "defense.structure_weight is part of a defense.consistency of triplets, candidates "
                f"or decoupled; got {defense.consistency}"
            )
        if goat.looks_back and not defense.on_triplets:
            raise InputError(
                "goat.destination gradual goes by the loss of triplets: defense.consistency must "
                f"be triplets or candidates; got {defense.consistency}"
            )
