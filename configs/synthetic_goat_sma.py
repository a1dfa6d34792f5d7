r"""Drawn people: GOAT without guides, from the weights of synthetic.py.

    jaxreid data prepare synthetic_reid
    jaxreid train --config configs/synthetic_goat_sma.py --workdir runs/synthetic_goat_sma \
        --config.model.start_from=runs/synthetic/best.safetensors

Hardware: 2 CPU cores. Time: less than 10 minutes when they are idle.
Expected: mAP of the test queries, clean / SMA / FNA at 5/255: 71.3 / 38.8 / 22.4 % (README.md).
"""

from default import get_config as defaults
from ml_collections import ConfigDict
from recipes import goat_sma, synthetic_warm_start


def get_config() -> ConfigDict:
    """16 epochs, budget of 3.5/255, no guides."""
    return synthetic_warm_start(goat_sma(defaults()))
