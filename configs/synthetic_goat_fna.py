r"""Drawn people: GOAT with 4 pushes and 1 pull, from the weights of synthetic.py.

    jaxreid data prepare synthetic_reid
    jaxreid train --config configs/synthetic_goat_fna.py --workdir runs/synthetic_goat_fna \
        --config.model.start_from=runs/synthetic/best.safetensors

Hardware: 2 CPU cores. Time: less than 10 minutes when they are idle.
Expected: mAP of the test queries, clean / SMA / FNA at 5/255: 74.0 / 41.4 / 24.7 % (README.md).
"""

from default import get_config as defaults
from ml_collections import ConfigDict
from recipes import goat_fna, synthetic_warm_start


def get_config() -> ConfigDict:
    """16 epochs, budget of 3.5/255, 4 pushes and 1 pull."""
    return synthetic_warm_start(goat_fna(defaults()))
