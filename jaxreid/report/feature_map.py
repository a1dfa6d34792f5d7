"""Where features go under attack, in the plane that shows most of them."""

from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from jaxreid.records import FeatureMap
from jaxreid.report.canvas import (
    HUES,
    INK,
    PAPER,
    Picture,
    canvas,
    clipped,
    legend_below,
    picture,
)
from jaxreid.report.style import percent

__all__ = ["draw_feature_map", "principal_plane"]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PEOPLE = len(_MARKERS)


def principal_plane(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Projects features [N,D] onto the two directions of largest variance.

    Returns:
        Coordinates [N,2], and the share of variance that they keep, in [0, 1].
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(features), 2))
    kept = min(2, len(scale))
    plane[:, :kept] = left[:, :kept] * scale[:kept]
    total = float(np.sum(scale**2))
    return plane, float(np.sum(scale[:2] ** 2)) / total if total > 0 else 1.0


@dataclass(frozen=True, eq=False)
class _Plane:
    """Features of a few people, in the plane: clean ones, where the attack moves them, the others.

    Attributes:
        people: identities, at most as many as there are markers.
        identities: int [A], of the attacked images.
        clean: [A,2].
        adversarial: [A,2].
        other_identities: int [N], of the other side's images.
        other: [N,2].
        kept: share of the variance that the plane shows, in [0, 1].
        mean_move: mean distance from clean to adversarial, in the space of the features.
    """

    people: list[int]
    identities: np.ndarray
    clean: np.ndarray
    adversarial: np.ndarray
    other_identities: np.ndarray
    other: np.ndarray
    kept: float
    mean_move: float

    @classmethod
    def of(cls, stored: FeatureMap) -> "_Plane | None":
        """Projects a map; None without features, or where one is NaN or infinite."""
        people = list(dict.fromkeys(stored.identities.tolist()))[:_PEOPLE]
        mine = np.isin(stored.identities, people)
        others = np.isin(stored.other_identities, people)
        parts = [stored.clean[mine], stored.adversarial[mine]]
        if others.any():
            parts.append(stored.other[others])
        every = np.concatenate(parts).astype(np.float64)
        if not len(every) or not np.isfinite(every).all():
            return None
        flat, kept = principal_plane(every)
        count = int(mine.sum())
        moves = np.linalg.norm(every[count : 2 * count] - every[:count], axis=1)
        return cls(
            people,
            stored.identities[mine],
            flat[:count],
            flat[count : 2 * count],
            stored.other_identities[others],
            flat[2 * count :],
            kept,
            float(np.mean(moves)),
        )


def _draw_person(axes: Axes, plane: _Plane, index: int) -> Artist:
    """The marks and arrows of one person; gives the marks, for the legend."""
    colour, marker = HUES[index], _MARKERS[index]
    here = plane.identities == plane.people[index]
    clean, moved = plane.clean[here], plane.adversarial[here]
    still = plane.other[plane.other_identities == plane.people[index]]
    axes.scatter(still[:, 0], still[:, 1], s=14, color=colour, marker=marker, alpha=0.45, lw=0)
    axes.quiver(
        *clean.T,
        *(moved - clean).T,
        color=colour,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0045,
        headwidth=5,
        alpha=0.85,
    )
    (dots,) = axes.plot(
        *clean.T,
        linestyle="none",
        marker=marker,
        markerfacecolor=PAPER,
        markeredgecolor=colour,
        markeredgewidth=1.5,
    )
    return dots


def draw_feature_map(
    stored: FeatureMap, *, run: str, attack: str, side: str, name: str
) -> Picture | None:
    """Draws an arrow from each clean feature to its adversarial one, and the other side as dots.

    `attack` names the attack and its budget; None without features.
    """
    plane = _Plane.of(stored)
    if plane is None:
        return None
    one, other = ("query", "gallery") if side == "query" else ("gallery", "query")
    with canvas(height=4.5) as (figure, (axes,)):
        entries = [
            (_draw_person(axes, plane, index), f"person {person:04d}")
            for index, person in enumerate(plane.people)
        ]
        # Arrows do not widen the axes by themselves.
        axes.update_datalim(np.concatenate([plane.clean, plane.adversarial, plane.other]))
        axes.autoscale_view()
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(INK)
        axes.set_title(clipped(f"Features under {attack}", 42))
        legend_below(figure, entries)
        return picture(
            figure,
            name,
            alt=f"Map of features of {len(plane.people)} people of {run}: arrows lead from "
            f"{len(plane.clean)} clean {one} images to where {attack} moves them, among "
            f"{len(plane.other)} {other} images. The mean move is {plane.mean_move:.3g}.",
            caption=f"Open marks: {one} images, clean; arrows: where the attack moves them; faint "
            f"marks: {other} images of the same people. Two principal directions, with "
            f"{percent(plane.kept, 0)} of the variance.",
        )
