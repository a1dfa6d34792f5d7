"""Drawn pedestrians: a re-identification dataset made on the spot, the same on every machine.

NumPy and Pillow only. Every image is a function of a SyntheticConfig and an entry of its plan.
"""

from jaxreid.data.synthetic.config import CONFIGS, SyntheticConfig
from jaxreid.data.synthetic.parallel import render_all
from jaxreid.data.synthetic.planning import SyntheticImage, plan
from jaxreid.data.synthetic.rendering import render

__all__ = ["CONFIGS", "SyntheticConfig", "SyntheticImage", "plan", "render", "render_all"]
