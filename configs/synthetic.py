r"""Drawn people: a small network on 2 CPU cores.

    jaxreid data prepare synthetic_reid
    jaxreid train --config synthetic --workdir runs/synthetic
    jaxreid train --config synthetic:goat=fna --workdir runs/synthetic_goat_fna \
        --config.model.start_from=runs/synthetic/best.safetensors

Words behind the colon, with commas between them:

    goat=sma         GOAT without guides, from the weights of a plain network
    goat=fna         GOAT with 4 pushes and 1 pull, likewise
    goat=nna         GOAT with 4 pushes and the 4 nearest others pulling, likewise
    goat=fast        goat=fna in one step, whose budget grows for the first epoch
    defense=recommended  goat=fna on four times the people, all of them attacked: what came out
                     best in docs/defenses.md
    defense=trades   clean images, and whom they resemble shall not change under attack
    defense=hm       triplets made as hard as the network can bear (HM), each image kept near itself
    defense=act      positives and negatives moved onto each other (ACT)
    defense=est      features moved as far as they go (EST): goat=sma under another name
    defense=amd      anchors, positives and negatives all moved against their order (AMD)
    defense=catride  anchors in one step, the others in the next (CA-TRIDE)
    defense=ranking  images moved down the ranking of all training images (soft_margin)
    defense=universal  one perturbation of all images, learned beside the network for free
    defense=awp      goat=fna, learned at weights that were moved uphill (AWP)
    defense=fnes     mixes of clean images with ones twice as far as goat=fna's, and of their labels
    noise            Gaussian noise of deviation 0.1 on the images, to be certified afterwards
    dtype=bfloat16   the backbone computes in bfloat16

Time on 2 idle cores: about 2.5 minutes plain, less than 10 minutes with GOAT.
mAP in % of the test queries, clean / SMA / FNA at 5/255, measured (docs/benchmarks.md):
plain 77.5 / 11.9 / 4.1, goat=sma 71.3 / 38.8 / 22.4, goat=fna 74.0 / 41.4 / 24.7.
Of the defenses neither time nor mAP is measured. Each goes on from a plain network for 16 epochs;
hm, act, amd and catride for 64 epochs of 4 images of each person, which are as many images.
"""

from jaxreid.training.config import TrainConfig
from jaxreid.training.presets import drawn_people


def get_config(arg: str = "") -> TrainConfig:
    """The defaults of every field; with GOAT, 16 epochs and a budget of 3.5/255."""
    return drawn_people(arg)
