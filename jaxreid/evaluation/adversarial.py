"""Features of attacked images, from an attack or from images on disk, and a few of the images."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreid.budgets import exact
from jaxreid.errors import InputError
from jaxreid.evaluation.attack_split import AttackedBatch, attack_split
from jaxreid.evaluation.embeds import Shots, as_pytree, features_of_shots
from jaxreid.evaluation.features import Subset, extract, refuse_nonfinite
from jaxreid.evaluation.guidance import Targets
from jaxreid.evaluation.retrieval import Plan, RetrievalTest
from jaxreid.evaluation.rounding import as_float
from jaxreid.evaluation.stored_images import StoredImages
from jaxreid.evaluation.universal import Perturbation
from jaxreid.sharding import gathered, over_rows, replicated, row_mesh, summed_over_processes
from jaxreid.types import ArrayLike

__all__ = ["Adversarial", "attacked_again", "attacked_features"]


class Adversarial(NamedTuple):
    """Features of T attacked images, and what was seen on the way.

    Attributes:
        features: [T,D] after the attack; the clean ones where nothing guides.
        largest_change: of a pixel, in 1/255.
        pictures: position in the split -> float32 [H,W,3] in [0, 1], of the images to show.
        nonfinite: boolean [T], whether the gradient held NaN or infinity at some step.
        zero: boolean [T], whether it was zero at some step.
    """

    features: np.ndarray
    largest_change: float
    pictures: dict[int, np.ndarray]
    nonfinite: np.ndarray
    zero: np.ndarray


def attacked_features(
    plan: Plan,
    test: RetrievalTest,
    *,
    show: np.ndarray,
    stored: StoredImages | None = None,
    perturbation: Perturbation | None = None,
    progress: Callable[[int], None] | None = None,
) -> Adversarial:
    """Attacks a side of a test, or reads the images of an earlier attack, and embeds them.

    Args:
        plan: from `RetrievalTest.plan` of the test whose network is attacked.
        test: whose network embeds the images: the same, or another one on the same splits.
        show: int64 [S], positions in the split of the images to keep.
        stored: adversarial images to read in place of attacking.
        perturbation: what was learned before, for a condition of such.
        progress: called with the images attacked, restarts counted.

    Raises:
        InputError: an attack, an image or a feature that fails; stored images that differ from
            those of the manifest.
    """
    _, condition, targets, guidance = plan
    clean = np.asarray(getattr(test.clean(condition.distance), condition.side).features)
    clean = clean[targets.indices]
    if condition.eps == 0:
        # A budget of zero leaves the clean images: their features are known, to the bit.
        none = np.zeros(len(targets.indices), bool)
        return Adversarial(clean, 0.0, {}, none, none)
    if stored is not None:
        return _from_store(stored, plan, show)
    mesh, count = row_mesh(test.loader.devices), len(targets.indices)
    embed = replicated(as_pytree(test.clean(condition.distance).embed), mesh)
    run = over_rows(features_of_shots, mesh)
    features: list[ArrayLike] = []
    changes, nonfinite, zero = [], [], []
    kept = _Kept(np.isin(targets.indices, show), test.loader.size)
    if progress is not None:
        progress(0)  # before the program compiles
    for batch in attack_split(plan, perturbation=perturbation, progress=progress):
        features.append(run(embed, _shots(plan, batch)))
        changes.append(batch.change)
        nonfinite.append(batch.nonfinite)
        zero.append(batch.zero)
        kept.add(batch)
        if len(features) > 1:
            # One batch behind: the devices have work while the host decodes.
            features[-2] = np.asarray(features[-2])
    found = gathered(features, count)
    try:
        refuse_nonfinite(found, Subset(test.source(condition.side), targets.indices))
    except InputError as error:
        # The images are finite and in [0, 1], whatever the gradient was.
        raise InputError(f"under {condition.attack}, eps {exact(condition.eps)}: {error}") from None
    guided = guidance.guided
    return Adversarial(
        np.where(guided[:, None], found, clean),
        float(gathered(changes, count)[guided].max(initial=0)),
        kept.pictures(targets),
        (gathered(nonfinite, count) > 0) & guided,
        (gathered(zero, count) > 0) & guided,
    )


def _shots(plan: Plan, batch: AttackedBatch) -> Shots:
    """Attacked images as they are ranked: numbered as the clean ones were."""
    queries = len(plan.test.source("query"))
    before = queries if plan.condition.side == "gallery" else 0
    numbers = before + plan.targets.indices[np.maximum(batch.rows, 0)]
    return Shots(batch.images, plan.cameras(batch.rows), numbers.astype(np.int32))


def _from_store(stored: StoredImages, plan: Plan, show: np.ndarray) -> Adversarial:
    test, condition, targets, guidance = plan
    change = stored.largest_change(test, condition, targets.indices)
    embed = test.clean(condition.distance).embed
    found = extract(embed, Subset(stored, targets.indices), **test.loader._asdict()).features
    features = np.where(guidance.guided[:, None], found, targets.clean)
    nonfinite, zero = stored.without_gradient(targets.indices)
    return Adversarial(features, change, stored.pictures(test.loader, show), nonfinite, zero)


def attacked_again(
    plan: Plan,
    *,
    positions: np.ndarray,
    stored: StoredImages | None = None,
    perturbation: Perturbation | None = None,
) -> dict[int, np.ndarray]:
    """Attacks a few images once more: which of a gallery to show is known only after the ranking.

    Args:
        plan: from `RetrievalTest.plan`.
        positions: in the split, of the images that are wanted.
        stored: adversarial images to read in place of attacking.
        perturbation: what was learned before, for a condition of such.

    Returns:
        Position in the split -> float32 [H,W,3] in [0, 1].
    """
    test, targets = plan.test, plan.targets
    wanted = np.isin(targets.indices, positions)
    if stored is not None:
        return stored.pictures(test.loader, targets.indices[wanted])
    # Filled up to a whole batch, so that the same program runs.
    count = max(int(wanted.sum()), min(test.loader.batch_size, len(wanted)))
    rows = np.sort(np.argsort(~wanted, kind="stable")[:count])
    few = plan.rows(rows)
    kept = _Kept(wanted[rows], test.loader.size)
    for batch in attack_split(few, perturbation=perturbation):
        kept.add(batch)
    return kept.pictures(few.targets)


class _Kept:
    """The few adversarial images that are kept while all of them pass by, of any process.

    Args:
        wanted: boolean [T], which of the targets to keep.
        size: (height, width) in pixels.
    """

    def __init__(self, wanted: np.ndarray, size: tuple[int, int]) -> None:
        self._slots = np.where(wanted, np.cumsum(wanted) - 1, -1)
        self._images = np.zeros((int(wanted.sum()), *size, 3), np.float32)

    def add(self, batch: AttackedBatch) -> None:
        """Keeps those of a batch of this process that are wanted."""
        slots = np.where(batch.rows >= 0, self._slots[batch.rows], -1)
        if (slots >= 0).any():
            self._images[slots[slots >= 0]] = as_float(np.asarray(batch.images)[slots >= 0])

    def pictures(self, targets: Targets) -> dict[int, np.ndarray]:
        """Position in the split -> image, of what all processes kept; each must call this."""
        # Each image is in one process, and zeros in all others.
        whole = summed_over_processes(self._images)
        kept = self._slots >= 0
        return dict(zip(targets.indices[kept].tolist(), whole[self._slots[kept]], strict=True))
