r"""Market-1501: a classifier on ResNet-50, GOAT with 4 pushes and 1 pull.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_goat_fna.py \
        --workdir runs/market1501_goat_fna \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected mAP in %: not measured. The paper's, at eps 5/255, of a model whose dataset it does
not name and which fits Market-1501 (euclidean / cosine):
clean 69.95 / 71.55, SMA 29.45 / 26.28, FNA 16.76 / 13.41.
"""

from ml_collections import ConfigDict
from recipes import classification, goat_fna


def get_config() -> ConfigDict:
    """The paper's numbers, budget in pixels, 4 pushes and 1 pull."""
    return goat_fna(classification("market1501"))
