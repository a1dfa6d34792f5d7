r"""Market-1501: a classifier on ResNet-50, GOAT without guides, in bfloat16.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_goat_sma_bfloat16.py \
        --workdir runs/market1501_goat_sma_bfloat16 \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected mAP in %: not measured. The paper's, at eps 5/255, of a model whose dataset it does
not name and which fits Market-1501 (euclidean / cosine):
clean 68.08 / 69.99, SMA 25.92 / 22.91, FNA 11.77 / 8.70.
"""

from ml_collections import ConfigDict
from recipes import bfloat16, classification, goat_sma


def get_config() -> ConfigDict:
    """As without _bfloat16, but for the backbone's arithmetic."""
    return bfloat16(goat_sma(classification("market1501")))
