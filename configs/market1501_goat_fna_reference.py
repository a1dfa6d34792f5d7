r"""Market-1501: a classifier on ResNet-50, GOAT with 4 pushes and 1 pull, as the paper's code.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501_goat_fna_reference.py \
        --workdir runs/market1501_goat_fna_reference \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected mAP in %: not measured. The paper's, at eps 5/255, of a model whose dataset it does
not name and which fits Market-1501 (euclidean / cosine):
clean 69.95 / 71.55, SMA 29.45 / 26.28, FNA 16.76 / 13.41.
The last weights count: nobody is left out to choose others by.
"""

from ml_collections import ConfigDict
from recipes import as_reference, classification, goat_fna


def get_config() -> ConfigDict:
    """As the paper's code trains: see recipes.as_reference."""
    return as_reference(goat_fna(classification("market1501")))
