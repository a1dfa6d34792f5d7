r"""DukeMTMC-reID: triplet loss on ResNet-50, GOAT with 4 pushes and 1 pull, as the paper's code.

    jaxreid data prepare dukemtmc_reid --manual-dir ~/DukeMTMC-reID.zip
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config configs/dukemtmc_reid_triplet_goat_fna_reference.py \
        --workdir runs/dukemtmc_reid_triplet_goat_fna_reference \
        --config.model.start_from=imagenet.safetensors

Hardware: GPUs or TPUs, which share the batch of 72; made for one or a few. Time: not measured.
Expected: not measured.
The last weights count: nobody is left out to choose others by.
The dataset was withdrawn by its authors: its people were filmed without consent.
"""

from ml_collections import ConfigDict
from recipes import as_reference, goat_fna, triplet


def get_config() -> ConfigDict:
    """As the paper's code trains: see recipes.as_reference."""
    return as_reference(goat_fna(triplet("dukemtmc_reid")))
