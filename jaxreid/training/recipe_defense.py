"""What a configuration asks of clean and attacked images."""

from jaxreid.training.bisectors import bisector_penalty
from jaxreid.training.config import TrainConfig
from jaxreid.training.defenses import Consistency, Defense, consistent, weight_perturbation
from jaxreid.training.triplet_terms import triplet_term
from jaxreid.types import ArrayLike

__all__ = ["defense_of"]


def defense_of(config: TrainConfig, unit: float | ArrayLike) -> Defense:
    """The defense of a run.

    Args:
        config: of the run.
        unit: of goat.eps, in pixel range; a number or [C].
    """
    fields = config.defense
    size, steepness = fields.weight_perturbation, fields.lipschitz_weight
    return Defense(
        attacked_weight=fields.attacked_weight,
        clean_weight=fields.clean_weight,
        consistency=_consistency(config),
        together=fields.batch_norm == "together",
        perturbation=weight_perturbation(size) if size else None,
        penalty=bisector_penalty(steepness, config.goat.eps * unit) if steepness else None,
        discriminator_weight=fields.discriminator_weight,
        meta_step=fields.meta_step,
    )


def _consistency(config: TrainConfig) -> Consistency | None:
    fields = config.defense
    kind, weight = fields.consistency, fields.consistency_weight
    if kind == "none":
        return None
    if kind == "features" or kind == "similarities":
        return consistent(kind, weight, temperature=fields.temperature)
    return triplet_term(kind, weight, margin=fields.margin, structure=fields.structure_weight)
