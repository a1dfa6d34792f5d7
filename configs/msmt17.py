r"""MSMT17: the paper's models on ResNet-50.

    jaxreid data prepare msmt17 --manual-dir ~/MSMT17_V2.tar.gz
    jaxreid convert hf:timm/resnet50.tv_in1k imagenet.safetensors --head none --allow-unused head
    jaxreid train --config msmt17 --workdir runs/msmt17 \
        --config.model.start_from=imagenet.safetensors
    jaxreid train --config msmt17:goat=fna --workdir runs/msmt17_goat_fna \
        --config.model.start_from=imagenet.safetensors

Words behind the colon, with commas between them:

    head=triplet    triplet loss on batches of 18 people x 4 images, instead of a classifier
    goat=sma        GOAT without guides
    goat=fna        GOAT with 4 pushes and 1 pull
    goat=nna        GOAT with 4 pushes and the 4 nearest others pulling
    goat=fast       goat=fna in one step instead of 7, whose budget grows for 5 epochs; evaluate it
                    with many steps, as such a network may resist only a single one
                    (Wong et al. 2020, https://arxiv.org/abs/2001.03994)
    defense=NAME    in the place of goat, another defense (jaxreid/training/preset_defenses.py):
                    trades, hm, act, est, amd, catride, ranking, universal, awp or fnes (a
                    classifier's); hm, act, amd and catride learn from batches of people, a
                    classifier then for 240 epochs of 4 images each. defense=recommended is what
                    came out best on drawn people, from a network that was trained without attacks:
                    here a hypothesis (docs/defenses.md)
    bank            with goat=fna, nna or fast: pushing guides are features remembered from
                    earlier batches, 4 forward passes fewer
    reference       with goat: as the paper's code trains (jaxreid/training/presets.py), on all
                    training people: there is no validation, and the last weights are the result
    noise           Gaussian noise of deviation 0.1 on the images, to be certified afterwards
    dtype=bfloat16  the backbone computes in bfloat16

Hardware: GPUs or TPUs, which share the batch of 32 (of 72 with head=triplet); made for one or a
few. Time and mAP: not measured. The decoded images take 3.2 GB of memory;
--config.dataset.cache=false does without.
"""

from jaxreid.training.config import TrainConfig
from jaxreid.training.presets import paper


def get_config(arg: str = "") -> TrainConfig:
    """The paper's numbers; without words, a classifier that is not attacked."""
    return paper("msmt17", arg)
