r"""DukeMTMC-reID: a classifier on ResNet-50, trained without attacks.

    jaxreid data prepare dukemtmc_reid --manual-dir ~/DukeMTMC-reID.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/dukemtmc_reid.py \
        --workdir runs/dukemtmc_reid \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected: not measured.
The dataset was withdrawn by its authors: its people were filmed without consent.
"""

from ml_collections import ConfigDict
from recipes import classification


def get_config() -> ConfigDict:
    """The paper's numbers, without attacks."""
    return classification("dukemtmc_reid")
