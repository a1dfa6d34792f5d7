r"""DukeMTMC-reID: a classifier on ResNet-50, GOAT without guides, as the paper's code.

    jaxreid data prepare dukemtmc_reid --manual-dir ~/DukeMTMC-reID.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/dukemtmc_reid_goat_sma_reference.py \
        --workdir runs/dukemtmc_reid_goat_sma_reference \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 32; made for one or a few. Time: not measured.
Expected: not measured.
The last weights count: nobody is left out to choose others by.
The dataset was withdrawn by its authors: its people were filmed without consent.
"""

from ml_collections import ConfigDict
from recipes import as_reference, classification, goat_sma


def get_config() -> ConfigDict:
    """As the paper's code trains: see recipes.as_reference."""
    return as_reference(goat_sma(classification("dukemtmc_reid")))
