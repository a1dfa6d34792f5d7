r"""Market-1501: a classifier on ResNet-50, GOAT with a memory bank, in bfloat16.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_goat_fna_bank.py \
        --workdir runs/market1501_goat_fna_bank \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected: not measured.
"""

from ml_collections import ConfigDict
from recipes import bfloat16, classification, goat_fna


def get_config() -> ConfigDict:
    """Pushing guides are features remembered from earlier batches: 4 forward passes fewer."""
    config = bfloat16(goat_fna(classification("market1501")))
    config.goat.guide_bank = True
    return config
