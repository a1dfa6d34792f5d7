r"""MSMT17: a classifier on ResNet-50, GOAT with 4 pushes and 1 pull.

    jaxreid data prepare msmt17 --manual-dir ~/MSMT17_V2.tar.gz
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/msmt17_goat_fna.py \
        --workdir runs/msmt17_goat_fna \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected: not measured.
The decoded images take 3.2 GB of memory; --config.dataset.cache=false does without.
"""

from ml_collections import ConfigDict
from recipes import classification, goat_fna


def get_config() -> ConfigDict:
    """The paper's numbers, budget in pixels, 4 pushes and 1 pull."""
    return goat_fna(classification("msmt17"))
