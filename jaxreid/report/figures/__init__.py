"""Figures of a report: each is drawn once, and given as SVG for the page and as PNG beside it."""

from jaxreid.report.figures.breakdown import average_precisions, cameras, people
from jaxreid.report.figures.canvas import Picture
from jaxreid.report.figures.comparison import side_by_side
from jaxreid.report.figures.curves import curves
from jaxreid.report.figures.feature_map import feature_map
from jaxreid.report.figures.progress import progress

__all__ = [
    "Picture",
    "average_precisions",
    "cameras",
    "curves",
    "feature_map",
    "people",
    "progress",
    "side_by_side",
]
