r"""Market-1501: a classifier on ResNet-50, trained without attacks.

    jaxreid data prepare market1501 --manual-dir ~/Market-1501-v15.09.15.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/market1501.py \
        --workdir runs/market1501 \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected mAP in %: not measured. The paper's, at eps 5/255, of a model whose dataset it does
not name and which fits Market-1501 (euclidean / cosine):
clean 76.02 / 77.53, SMA 2.34 / 0.26, FNA 0.53 / 0.07.
The paper trained on all people: --config.dataset.split=train_all does.
"""

from ml_collections import ConfigDict
from recipes import classification


def get_config() -> ConfigDict:
    """The paper's numbers, without attacks."""
    return classification("market1501")
