"""Drawn pedestrians: a re-identification dataset made on the spot, the same on every machine.

NumPy and Pillow only. Every image is a function of a SyntheticConfig and an entry of its plan.
"""

from jaxreid.data.synthetic.planning import CONFIGS, SyntheticConfig, SyntheticImage, plan
from jaxreid.data.synthetic.rendering import render, render_all

__all__ = ["CONFIGS", "SyntheticConfig", "SyntheticImage", "plan", "render", "render_all"]
