r"""Market-1501: triplet loss on ResNet-50, GOAT with 4 pushes and 1 pull.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_triplet_goat_fna.py \
        --workdir runs/market1501_triplet_goat_fna \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 72; made for one or a few. Time: not measured.
Expected: not measured.
"""

from ml_collections import ConfigDict
from recipes import goat_fna, triplet


def get_config() -> ConfigDict:
    """The paper's numbers, budget in pixels, 4 pushes and 1 pull."""
    return goat_fna(triplet("market1501"))
