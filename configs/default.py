"""Every field of a training run, with its default and its meaning; presets override some.

    jaxreid train --config configs/default.py --workdir runs/first
    jaxreid train --config configs/default.py --workdir runs/second --config.epochs=20

As it stands: a small network on the synthetic people, a few minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All fields at their defaults."""
    config = ConfigDict()

    # Of the initial weights, the order of the data, augmentation and random starts. The same seed
    # gives the same run on any number of devices and processes, up to floating point.
    config.seed = 0

    # Passes over the training split (with the sampler "identities": over the training identities).
    config.epochs = 12

    config.dataset = dataset = ConfigDict()
    # As in `jaxreid data prepare`: market1501, cuhk03_np/labeled, synthetic_reid/tiny, ...
    dataset.name = "synthetic_reid"
    # Where prepared datasets are; empty for $TFDS_DATA_DIR or ~/tensorflow_datasets.
    dataset.data_dir = ""
    # "train" leaves the validation people out; "train_all" trains on them too (then the last
    # weights count: there is nothing left to choose the best by).
    dataset.split = "train"
    # (height, width) in pixels to which every image is resized.
    dataset.size = (64, 32)
    # PIL's kernel for that: "bicubic" or "bilinear". Evaluation resizes with "bilinear".
    dataset.filter = "bicubic"
    # Processes that decode; 0 decodes in threads.
    dataset.workers = 0
    # Whether the decoded training images stay in memory (Market-1501 at 256x128: 1.3 GB).
    dataset.cache = True

    config.batch = batch = ConfigDict()
    # "shuffled": every image once per epoch. "identities": `images_per_identity` images of each of
    # size / images_per_identity people, every person once per epoch.
    batch.sampler = "shuffled"
    # Images per step, over all devices of all processes.
    batch.size = 32
    batch.images_per_identity = 4

    config.model = model = ConfigDict()
    # A key of jaxreid.models.ARCHITECTURES.
    model.architecture = "resnet_patch"
    # "classification" (BatchNorm neck and classifier) or "triplet" (an embedding).
    model.head = "classification"
    # Size of the triplet head's feature.
    model.dimensions = 128
    # 1 or 2, of a ResNet's last stage; 0 for the architecture's own.
    model.last_stride = 0
    # Weights to start from: a .safetensors of `jaxreid convert` or of an earlier run. Its head is
    # left out where it has another shape. Empty for fresh weights.
    model.start_from = ""
    # What the backbone computes in: "float32" or "bfloat16". Parameters, BatchNorm statistics,
    # losses and the attack's images stay in float32. ("float64", everywhere, is for comparisons of
    # layouts; it needs JAX_ENABLE_X64=1.)
    model.dtype = "float32"
    # Whether BatchNorm's batch statistics are those of the whole batch or each device's own.
    model.synchronize_batch_norm = True

    config.augmentation = augmentation = ConfigDict()
    # Black pixels added on every side before a random crop of the old size.
    augmentation.pad = 3
    # Probability of mirroring.
    augmentation.flip = 0.5
    # Probability of random erasing.
    augmentation.erase = 0.0

    config.loss = loss = ConfigDict()
    # "cross_entropy" (heads with a classifier) or "triplet" (batch-hard, over the whole batch).
    loss.name = "cross_entropy"
    loss.label_smoothing = 0.0
    # Of the triplet loss, in the unit of the features; below 0 for the soft margin.
    loss.margin = -1.0

    config.optimizer = optimizer = ConfigDict()
    # "adam" (weight decay added to the gradient, as PyTorch's Adam), "adamw" (decoupled) or "sgd"
    # (Nesterov momentum 0.9, weight decay added to the gradient).
    optimizer.name = "adamw"
    # Peak learning rate, for the whole batch.
    optimizer.learning_rate = 3e-3
    optimizer.weight_decay = 5e-4
    # Longest gradient (L2 norm over all parameters); longer ones are scaled. 0 for no limit.
    optimizer.clip_norm = 0.0
    # Decay per step of an exponential moving average of the parameters, which is then evaluated
    # and saved as the result. 0 for none.
    optimizer.ema = 0.0

    config.schedule = schedule = ConfigDict()
    # "constant"; "steps" (times `factor` at each of `boundaries`); "exponential" (constant until
    # `decay_start`, then times final_fraction ** (epochs since / decay_epochs)); "cosine".
    schedule.name = "cosine"
    # Epochs of linear warm-up from 0; with every schedule.
    schedule.warmup_epochs = 2.0
    schedule.boundaries = (20, 40)
    schedule.factor = 0.1
    schedule.decay_start = 50.0
    schedule.decay_epochs = 100.0
    schedule.final_fraction = 0.001

    # Guide-sampling Online Adversarial Training (GOAT) of Bouniot et al. 2020.
    config.goat = goat = ConfigDict()
    goat.enabled = False
    # P pushing guides: other training images of the same person. 0 pushes, 0 pulls is SMA.
    goat.push = 0
    # L pulling guides: the furthest images of other people in the whole batch.
    goat.pull = 0
    # Budget and step, in 1/255 of the pixel range. Below one grey level they need their unit, as
    # --config.goat.eps=0.5/255 (in a file "0.5/255", inside `with config.ignore_type():`).
    goat.eps = 5.0
    goat.step_size = 1.0
    # Inner attack steps. One step of 1.25 eps from a random start is "fast" training.
    goat.steps = 7
    # Updates per batch, each of which carries the perturbation of the one before on ("free"
    # training, with steps = 1); 1 for ordinary training.
    goat.replays = 1
    # Epochs over which eps and step_size grow from 0 to their values.
    goat.eps_warmup_epochs = 0.0
    # Which statistics BatchNorm uses in the attack: "running" or "batch".
    goat.batch_norm = "running"
    # Share of images that are trained on as they are, drawn anew for every batch.
    goat.clean_fraction = 0.0
    # "pixels"; or "normalized": eps and step_size are in units of the normalised image / 255, that
    # is, times the deviation of each channel, as the paper's code trains.
    goat.eps_unit = "pixels"
    # Whether missing pushing guides are padded with the image's own feature, as the paper's code
    # does; otherwise they are left out.
    goat.pad_with_self = False
    # Whether pushing guides come from a memory bank of all training features, refreshed by each
    # batch, instead of P more forward passes per image.
    goat.guide_bank = False

    # On the validation people, to choose the best weights.
    config.evaluation = evaluation = ConfigDict()
    # Epochs between evaluations; 0 for none.
    evaluation.every_epochs = 1
    evaluation.batch_size = 128
    # "euclidean" or "cosine".
    evaluation.distance = "euclidean"
    # Whether features are averaged with those of the mirror image.
    evaluation.flip = False
    # The attack under which the best weights are chosen (a name of `jaxreid evaluate --attacks`);
    # empty to choose by clean images. Weights that retrieve those best are the least hardened.
    evaluation.attack = ""
    # Its budget, in 1/255 of the pixel range, written like goat.eps.
    evaluation.attack_eps = 5.0

    config.checkpoint = checkpoint = ConfigDict()
    # Steps between checkpoints; 0 for one per epoch. One is also written after every evaluation, at
    # the end, and at preemption.
    checkpoint.every_steps = 0
    # Checkpoints that are kept, beside the best weights.
    checkpoint.keep = 2

    # Steps between lines of the log.
    config.log_every_steps = 10

    return config
