r"""Market-1501: a classifier on ResNet-50, GOAT in one step, in bfloat16.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_goat_fast.py \
        --workdir runs/market1501_goat_fast \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected: not measured. One attack step per batch instead of 7; an evaluation with many steps tells
whether the network only learned to stand one (Wong et al. 2020, https://arxiv.org/abs/2001.03994).
"""

from ml_collections import ConfigDict
from recipes import bfloat16, classification, goat_fast


def get_config() -> ConfigDict:
    """One step of 1.25 eps instead of 7; the budget grows for 5 epochs."""
    return bfloat16(goat_fast(classification("market1501"), eps_warmup_epochs=5.0))
