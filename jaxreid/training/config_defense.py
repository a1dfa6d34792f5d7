"""The part of the configuration that says how images are attacked, and what is asked of them."""

from dataclasses import dataclass
from typing import Literal

from jaxreid.constants import MOST_STEPS
from jaxreid.errors import InputError
from jaxreid.training.fields import Group, Levels, declare

__all__ = ["PIXELS", "DefenseConfig", "GoatConfig"]

PIXELS = "1/255 of the pixel range"
"""The unit of budgets."""

# What is climbed for each image by itself, and what of triplets.
_SINGLY = ("guides", "margin", "soft_margin", "nearest_others", "smooth_ap", "log_intruders")
_ON_TRIPLETS = ("hardness", "collapse", "misorder", "decoupled")
_UNIVERSAL = "universal"
_OF_UNIVERSAL = ("restart_every", "diversity", "blur")


def _are_objectives(value: str) -> bool:
    names = value.split("+")
    single = len(set(names)) == len(names) and set(names) <= set(_SINGLY)
    return single or value in (*_ON_TRIPLETS, _UNIVERSAL)


@dataclass(frozen=True, kw_only=True)
class GoatConfig(Group, group="goat"):
    """Guide-sampling Online Adversarial Training (GOAT) of Bouniot et al. 2020."""

    enabled: bool = declare(False, "Whether images are attacked before the network learns them.")
    push: int = declare(
        0,
        "P pushing guides: other training images of the same person; 0 pushes and 0 pulls is SMA.",
        low=0,
        high=4096,
    )
    pull: int = declare(
        0,
        "L pulling guides: images of other people in the whole batch, those of pull_from.",
        low=0,
        high=4096,
    )
    pull_from: Literal["furthest", "nearest"] = declare(
        "furthest", "Images that pull: `furthest` makes the attack FNA, `nearest` NNA."
    )
    objective: str = declare(
        "guides",
        "What the attack climbs: the distances to its `guides`, or, without guides, an objective "
        "of the worst case on the ranking of all training images, whose features a bank holds; or, "
        "on triplets of the batch whose images move together, their `hardness` (HM), the `collapse`"
        " of positive and negative (ACT), to `misorder` all three (AMD), or `decoupled`: anchors "
        "and the others in turns (CA-TRIDE). Of several, one is drawn for every batch. Or, "
        "`universal`, all that is minimised, by one perturbation of all images, which each update "
        "moves by a step without another pass.",
        expected=f"one of {', '.join((*_SINGLY, *_ON_TRIPLETS, _UNIVERSAL))}, or several of the "
        f"first {len(_SINGLY)} with + between them, such as guides+soft_margin",
        fits=_are_objectives,
    )
    mining: Literal["softhard", "semihard"] = declare(
        "softhard", "How triplets are drawn from the batch, by clean features."
    )
    destination: Literal["gradual", "semihard", "softhard"] = declare(
        "gradual",
        "How hard `hardness` makes a triplet: as one that is drawn so, or the harder the lower the "
        "loss of the triplets was in the update before.",
    )
    sharpness: float = declare(
        10.0,
        "How much more the larger distances weigh in the means of `decoupled`; 2 to 10 by dataset "
        "in CA-TRIDE.",
        low=0,
    )
    restart_every: int = declare(
        0,
        "After how many steps `universal` draws its perturbation anew; 0 for only at the start.",
        unit="steps",
        low=0,
        high=10**9,
    )
    diversity: float = declare(
        0.0,
        "Probability that `universal` shows an attacked image a little smaller and elsewhere, on "
        "black (DI).",
        low=0,
        high=1,
    )
    blur: float = declare(
        0.0,
        "Deviation of the Gaussian by which `universal` blurs the gradient of its perturbation "
        "(TI); 0 for none.",
        unit="pixels",
        low=0,
    )
    eps: Levels = declare(
        5.0,
        "Budget of the attack; below one grey level with its unit, as 0.5/255.",
        unit=PIXELS,
        low=0,
        high=255,
    )
    step_size: Levels = declare(
        1.0, "Of an attack step; written like eps.", unit=PIXELS, low=0, high=255
    )
    steps: int = declare(
        7,
        "Of the attack; one step of 1.25 eps from a random start is `fast` training.",
        low=1,
        high=MOST_STEPS,
    )
    step_schedule: Literal["constant", "cosine", "adaptive"] = declare(
        "constant",
        "How long the steps are: all step_size; `cosine`, from step_size towards 0; or `adaptive`, "
        "as those of the worst case: twice eps at first and halved where it leads no further, the "
        "best image met being the result, for one more pass; step_size is then not looked at.",
    )
    replays: int = declare(
        1,
        "Updates per batch, each of which carries the perturbation of the one before on (`free` "
        "training, with steps = 1); 1 for ordinary training.",
        low=1,
        high=10_000,
    )
    eps_warmup_epochs: float = declare(
        0.0, "Over which eps and step_size grow from 0 to their values.", unit="epochs", low=0
    )
    batch_norm: Literal["running", "batch"] = declare(
        "running", "Which statistics BatchNorm uses in the attack."
    )
    clean_fraction: float = declare(
        0.0,
        "Share of images that are trained on as they are, drawn anew for every batch.",
        low=0,
        high=1,
    )
    eps_unit: Literal["pixels", "normalized"] = declare(
        "pixels",
        "`normalized`: eps and step_size are in units of the normalised image / 255, that is, "
        "times the deviation of each channel, as the paper's code trains.",
    )
    pad_with_self: bool = declare(
        False,
        "Whether missing pushing guides are padded with the image's own feature, as the paper's "
        "code does; otherwise they are left out.",
    )
    guide_bank: bool = declare(
        False,
        "Whether pushing guides come from a memory bank of all training features, refreshed by "
        "each batch, instead of P more forward passes per image.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_universal and self.steps != 1:
            raise InputError(
                "goat.objective universal moves its perturbation by one step in each update: "
                f"goat.steps must be 1; got {self.steps}"
            )
        own = [name for name in _OF_UNIVERSAL if getattr(self, name)]
        if own and self.objective != _UNIVERSAL:
            raise InputError(f"goat.{own[0]} is of goat.objective universal; got {self.objective}")
        if self.step_schedule == "adaptive" and self.on_triplets:
            raise InputError(
                "goat.step_schedule adaptive keeps the best that each image met by itself: of "
                f"triplets, goat.objective {self.objective}, it must be constant or cosine"
            )

    @property
    def is_universal(self) -> bool:
        """Whether one perturbation of all images is kept."""
        return self.enabled and self.objective == _UNIVERSAL

    @property
    def on_triplets(self) -> bool:
        """Whether images of triplets are attacked together."""
        return self.objective in _ON_TRIPLETS

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of those that are climbed, one of them in each batch."""
        return tuple(self.objective.split("+"))

    @property
    def looks_back(self) -> bool:
        """Whether the attack goes by the loss of the triplets of the update before."""
        return self.enabled and self.objective == "hardness" and self.destination == "gradual"

    @property
    def keeps_bank(self) -> bool:
        """Whether the features of all training images are kept."""
        if self.objective == "guides":
            return self.enabled and self.guide_bank and self.push > 0
        return self.enabled and not (self.on_triplets or self.is_universal)

    @property
    def takes_push_pixels(self) -> bool:
        """Whether pushing guides are images, whose features are computed in the step."""
        return not (self.keeps_bank and (self.guide_bank or "guides" not in self.objectives))

    @property
    def updates_per_batch(self) -> int:
        """How often the parameters change per batch: its replays, or once without GOAT."""
        return self.replays if self.enabled else 1


@dataclass(frozen=True, kw_only=True)
class DefenseConfig(Group, group="defense"):
    """What is minimised beside the loss of the attacked images."""

    attacked_weight: float = declare(1.0, "Of the loss of the attacked images.", low=0)
    clean_weight: float = declare(
        0.0,
        "Of the loss of the same images as they are, for one more pass; TRADES has 1 here and 0 "
        "for the attacked ones.",
        low=0,
    )
    consistency: Literal[
        "none", "features", "similarities", "triplets", "candidates", "decoupled"
    ] = declare(
        "none",
        "What an attack shall not move: `features`, their squared shift over their spread; "
        "`similarities`, the divergence between whom an image of the batch resembles; or the order "
        "in triplets of goat.objective, attacked as a whole (`triplets`), but for the anchor "
        "(`candidates`, ACT), or as `decoupled` attacks them, with a term against collapse.",
    )
    consistency_weight: float = declare(1.0, "Of consistency.", above=0)
    margin: float = declare(
        0.2,
        "Of triplets of goat.objective.",
        unit="root mean squared distances to the mean feature",
        above=0,
    )
    structure_weight: float = declare(
        0.0,
        "Within a consistency of triplets, of the intra-class structure: an attacked image no "
        "further from itself than from its positive; 0 for none.",
        low=0,
    )
    temperature: float = declare(
        0.1, "Of `similarities`, in mean squared distances to the mean feature.", above=0
    )
    discriminator_weight: float = declare(
        0.0,
        "Of fooling a small network that learns beside to tell features of attacked images from "
        "clean ones (DDDefense); 0 for none.",
        low=0,
    )
    batch_norm: Literal["together", "apart", "dual"] = declare(
        "together",
        "How clean and attacked images pass BatchNorm where both are seen: `together`, as one "
        "batch; `apart`, as two; `dual`, in layers of their own (AdvProp), of which those of the "
        "attacked images are evaluated and saved.",
    )
    weight_perturbation: float = declare(
        0.0,
        "How far weights are moved uphill before the gradient is taken, as a share of their length "
        "(AWP; 0.005 to 0.01), for one more gradient; 0 for not at all.",
        low=0,
        below=1,
    )

    lipschitz_weight: float = declare(
        0.0,
        "Of a penalty on clean images that goat.eps would take, to first order, across the "
        "bisector to somebody else: it flattens the features' slope there, for a second "
        "derivative; 0 for none. It needs images of the same person in a batch: batch.sampler = "
        "identities.",
        low=0,
    )
    meta_step: float = declare(
        0.0,
        "Length of a step down the loss of every other image of a batch, from where the rest is "
        "learned, through that step (the self-meta step of DDDefense); 0 for none.",
        unit="gradients",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.meta_step and self.on_triplets:
            raise InputError(
                f"defense.meta_step halves the batch, and defense.consistency {self.consistency} "
                "is of triplets of a whole one: one of them must be 0 or none"
            )

    @property
    def on_triplets(self) -> bool:
        """Whether something is asked of the triplets that were attacked."""
        return self.consistency in ("triplets", "candidates", "decoupled")

    @property
    def needs_clean(self) -> bool:
        """Whether the network learns from clean images, too."""
        compares = self.consistency != "none" or self.discriminator_weight > 0
        return self.clean_weight > 0 or compares
