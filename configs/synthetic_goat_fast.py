r"""Drawn people: GOAT in one step, from the weights of synthetic.py.

    jaxreid data prepare synthetic_reid
    jaxreid train --config configs/synthetic_goat_fast.py --workdir runs/synthetic_goat_fast \
        --config.model.start_from=runs/synthetic/best.safetensors

Hardware: 2 CPU cores. Time: not measured.
Expected: not measured.
"""

from default import get_config as defaults
from ml_collections import ConfigDict
from recipes import goat_fast, synthetic_warm_start


def get_config() -> ConfigDict:
    """16 epochs of one step of 1.25 eps; the budget grows for the first one."""
    return synthetic_warm_start(goat_fast(defaults(), eps_warmup_epochs=1.0))
