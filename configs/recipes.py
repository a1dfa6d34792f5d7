"""What presets are made of; not a preset itself. Functions change the configuration they are given.

Numbers of training are those of Bouniot et al. 2020 ("the paper"), whose code is PyTorch. One thing
of that code has no field here: its pulling guides may be of the image's own identity.
"""

from default import get_config as defaults
from ml_collections import ConfigDict


def resnet50(dataset: str) -> ConfigDict:
    """ResNet-50 on images of 256x128 pixels, augmented as in the paper."""
    config = defaults()
    config.dataset.name = dataset
    config.dataset.size = (256, 128)
    config.model.architecture = "resnet50"
    config.model.last_stride = 2
    config.augmentation.pad = 10
    config.optimizer.name = "adam"
    config.schedule.warmup_epochs = 0.0
    return config


def classification(dataset: str) -> ConfigDict:
    """The paper's classification model: cross entropy, 60 epochs, a tenth of the rate twice."""
    config = resnet50(dataset)
    config.epochs = 60
    config.batch.size = 32
    config.model.head = "classification"
    config.loss.name = "cross_entropy"
    config.optimizer.learning_rate = 3.5e-4
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "steps"
    config.schedule.boundaries = (20, 40)
    config.schedule.factor = 0.1
    return config


def triplet(dataset: str) -> ConfigDict:
    """The paper's triplet model: batches of 18 people x 4 images, soft margin, 100 epochs."""
    config = resnet50(dataset)
    config.epochs = 100
    config.batch.sampler = "identities"
    config.batch.size = 72
    config.batch.images_per_identity = 4
    config.model.head = "triplet"
    config.model.dimensions = 128
    config.loss.name = "triplet"
    config.loss.margin = -1.0
    config.optimizer.learning_rate = 3e-4
    config.optimizer.weight_decay = 0.0
    config.schedule.name = "exponential"
    config.schedule.decay_start = 50.0
    config.schedule.decay_epochs = 100.0
    config.schedule.final_fraction = 0.001
    return config


def goat(config: ConfigDict, *, push: int, pull: int) -> ConfigDict:
    """Adversarial training with the paper's attack: eps 5/255, 7 steps of 1/255."""
    config.goat.enabled = True
    config.goat.push = push
    config.goat.pull = pull
    config.goat.eps = 5.0
    config.goat.step_size = 1.0
    config.goat.steps = 7
    config.evaluation.attack = "fna"
    return config


def goat_sma(config: ConfigDict) -> ConfigDict:
    """The paper's GOAT without guides: every image is its own."""
    return goat(config, push=0, pull=0)


def goat_fna(config: ConfigDict) -> ConfigDict:
    """The paper's GOAT with 4 pushing guides and 1 pulling guide."""
    return goat(config, push=4, pull=1)


def goat_fast(config: ConfigDict, *, eps_warmup_epochs: float) -> ConfigDict:
    """One step of 1.25 eps with the guides of `goat_fna`; the budget grows from 0 at first."""
    config = goat_fna(config)
    config.goat.steps = 1
    config.goat.step_size = 1.25 * config.goat.eps
    config.goat.eps_warmup_epochs = eps_warmup_epochs
    return config


def as_reference(config: ConfigDict) -> ConfigDict:
    """Trains as the paper's code does, where ours decides otherwise.

    Its budget is in units of normalised images, about 1.1/255 of the pixel range; its attack
    normalises by the statistics of the batch; missing guides are the image's own feature; it trains
    on all training people. It then chooses weights on the test set; we take the last ones.
    """
    config.goat.eps_unit = "normalized"
    config.goat.batch_norm = "batch"
    config.goat.pad_with_self = True
    config.dataset.split = "train_all"
    config.evaluation.every_epochs = 0
    return config


def bfloat16(config: ConfigDict) -> ConfigDict:
    """Computes the backbone in bfloat16, as TPUs and recent GPUs are built for."""
    config.model.dtype = "bfloat16"
    return config


def synthetic_warm_start(config: ConfigDict) -> ConfigDict:
    """16 epochs from weights that were trained without attacks, half of each batch left clean.

    Two longer inner steps, and guides from the bank: on drawn people, three times as many epochs
    for the same time keep more of clean retrieval and leave less to the attacker than the paper's
    seven steps do. A budget of 3.5/255 costs less than five points of clean mAP with four
    pushes and a pull; 5/255 costs nine.
    """
    config.epochs = 16
    config.optimizer.learning_rate = 2e-3
    config.schedule.name = "cosine"
    config.schedule.warmup_epochs = 0.5
    config.goat.clean_fraction = 0.5
    config.goat.guide_bank = config.goat.push > 0
    config.goat.eps = 3.5
    if config.goat.steps > 1:
        config.goat.steps = 2
        config.goat.step_size = 2.5
    else:
        config.goat.step_size = 1.25 * config.goat.eps
    config.evaluation.every_epochs = 4
    return config
