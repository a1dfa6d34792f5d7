"""Figures of a report: each is drawn once, and given as SVG for the page and as PNG beside it."""

from jaxreid.report.figures.breakdown import draw_average_precisions, draw_cameras, draw_people
from jaxreid.report.figures.canvas import Picture
from jaxreid.report.figures.curves import draw_attacks, draw_runs
from jaxreid.report.figures.feature_map import draw_feature_map
from jaxreid.report.figures.training import draw_training

__all__ = [
    "Picture",
    "draw_attacks",
    "draw_average_precisions",
    "draw_cameras",
    "draw_feature_map",
    "draw_people",
    "draw_runs",
    "draw_training",
]
