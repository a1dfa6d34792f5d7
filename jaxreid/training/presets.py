"""What the files of configs/ are made of: the paper's recipes, and the words that choose from them.

Numbers of training are those of Bouniot et al. 2020 ("the paper"), whose code is PyTorch. One thing
of that code has no field here: its pulling guides may be of the image's own identity.
"""

from collections.abc import Iterable, Mapping

from jaxreid.data.catalogue import IMAGE_SIZE
from jaxreid.errors import InputError, did_you_mean
from jaxreid.training.config import TrainConfig
from jaxreid.training.preset_defenses import DEFENSES

__all__ = ["drawn_people", "paper", "read_words"]

_RESNET50 = {
    "dataset.size": IMAGE_SIZE,
    "model.architecture": "resnet50",
    "model.last_stride": 2,
    "augmentation.pad": 10,
    "optimizer.name": "adam",
    "schedule.warmup_epochs": 0.0,
}
# 60 epochs, a tenth of the learning rate twice.
_CLASSIFICATION = {
    **_RESNET50,
    "epochs": 60,
    "batch.size": 32,
    "model.head": "classification",
    "loss.name": "cross_entropy",
    "optimizer.learning_rate": 3.5e-4,
    "optimizer.weight_decay": 5e-4,
    "schedule.name": "steps",
    "schedule.boundaries": (20, 40),
    "schedule.factor": 0.1,
}
# 100 epochs of batches of 18 people x 4 images, soft margin.
_TRIPLET = {
    **_RESNET50,
    "epochs": 100,
    "batch.sampler": "identities",
    "batch.size": 72,
    "batch.images_per_identity": 4,
    "model.head": "triplet",
    "model.dimensions": 128,
    "loss.name": "triplet",
    "loss.margin": -1.0,
    "optimizer.learning_rate": 3e-4,
    "optimizer.weight_decay": 0.0,
    "schedule.name": "exponential",
    "schedule.decay_start": 50.0,
    "schedule.decay_epochs": 100.0,
    "schedule.final_fraction": 0.001,
}
_HEADS: Mapping[str, dict[str, object]] = {"classification": _CLASSIFICATION, "triplet": _TRIPLET}

# The paper's GOAT without guides, where every image is its own.
_SMA = {
    "goat.enabled": True,
    "goat.push": 0,
    "goat.pull": 0,
    "goat.eps": 5.0,
    "goat.step_size": 1.0,
    "goat.steps": 7,
    "evaluation.attack": "worst-quick",
}
# The paper's GOAT with guides.
_FNA = {**_SMA, "goat.push": 4, "goat.pull": 1}
# Towards the nearest images of other people: several, as there are several pushes.
_NNA = {**_FNA, "goat.pull": 4, "goat.pull_from": "nearest"}
# One step of 1.25 eps with the guides of `fna`; the budget grows from 0 at first.
_FAST = {**_FNA, "goat.steps": 1, "goat.step_size": 1.25 * 5.0, "goat.eps_warmup_epochs": 5.0}
_GOAT: Mapping[str, dict[str, object]] = {
    "sma": _SMA,
    "fna": _FNA,
    "nna": _NNA,
    "fast": _FAST,
}

# As the paper's code trains, where ours decides otherwise. Its budget is in units of normalised
# images, about 1.1/255 of the pixel range; its attack normalises by the statistics of the batch;
# missing guides are the image's own feature; it trains on all training people. It then chooses
# weights on the test set; we take the last ones.
_REFERENCE = {
    "goat.eps_unit": "normalized",
    "goat.batch_norm": "batch",
    "goat.pad_with_self": True,
    "dataset.split": "train_all",
    "evaluation.every_epochs": 0,
}

# On drawn people GOAT starts from weights that were trained without attacks, and leaves half of
# each batch clean. Two longer inner steps, and guides from the bank: three times as many epochs for
# the same time keep more of clean retrieval and leave less to the attacker than the paper's seven
# steps do. A budget of 3.5/255 costs less than five points of clean mAP with four pushes and a
# pull; 5/255 costs nine.
_WARM_START = {
    "epochs": 16,
    "optimizer.learning_rate": 2e-3,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 0.5,
    "goat.clean_fraction": 0.5,
    "goat.eps": 3.5,
    "goat.steps": 2,
    "goat.step_size": 2.5,
    "evaluation.every_epochs": 4,
}
_DRAWN: Mapping[str, dict[str, object]] = {
    "sma": {**_SMA, **_WARM_START},
    "fna": {**_FNA, **_WARM_START, "goat.guide_bank": True},
    "nna": {**_NNA, **_WARM_START, "goat.guide_bank": True},
    "fast": {
        **_FAST,
        **_WARM_START,
        "goat.guide_bank": True,
        "goat.steps": 1,
        "goat.step_size": 1.25 * 3.5,
        "goat.eps_warmup_epochs": 1.0,
    },
}
# A defense that compares clean images with attacked ones, or mixes them, sees both anyway: all are
# attacked.
_COMPARED = {"goat.clean_fraction": 0.0}
# Half of what is learned is clean, as above. The 4 images of each person that an epoch of
# identities has are a quarter of what there is.
_DRAWN_TRIPLETS = {
    "defense.attacked_weight": 0.5,
    "defense.clean_weight": 0.5,
    "epochs": 64,
    "schedule.warmup_epochs": 2.0,
    "evaluation.every_epochs": 16,
}
# Likewise, about (751 people of Market-1501 have 17 images each, those of the others more).
_CLASSIFIED_TRIPLETS = {"epochs": 240, "schedule.boundaries": (80, 160)}
_DTYPES = ("float32", "bfloat16")
# Noise that a small or a large image can be recognised in.
_NOISE = {"augmentation.noise": 0.1}


def paper(dataset: str, arg: str = "") -> TrainConfig:
    """A model of the paper: ResNet-50 on images of 256x128 pixels.

    Args:
        dataset: as in `jaxreid data prepare`.
        arg: words with commas between them: `head=classification` (the default) or `head=triplet`;
            `goat=sma`, `goat=fna`, `goat=nna` or `goat=fast` for adversarial training; `bank` for
            pushing guides from a memory bank; `reference` to train as the paper's code does; or, in
            their place, `defense=NAME` for one of DEFENSES; `noise` to learn noisy images;
            `dtype=bfloat16`, which TPUs and recent GPUs are built for.
    """
    known: dict[str, Iterable[str]] = {"goat": _GOAT, "defense": DEFENSES, "head": _HEADS}
    known |= {"dtype": _DTYPES, "bank": (), "reference": (), "noise": ()}
    words = read_words(arg, known, where=dataset)
    head, defense = words.get("head", "classification"), DEFENSES.get(words.get("defense", ""))
    longer = defense is not None and defense.on_triplets and head == "classification"
    for word in ("bank", "reference"):
        if word in words and "goat" not in words:
            raise InputError(f"{dataset}:{arg}: {word} is for adversarial training, as goat=fna is")
    return TrainConfig().replace(
        {
            "dataset.name": dataset,
            **_HEADS[head],
            **_attacked(words, _GOAT, f"{dataset}:{arg}"),
            **(_CLASSIFIED_TRIPLETS if longer else {}),
            **({"goat.guide_bank": True} if "bank" in words else {}),
            **(_REFERENCE if "reference" in words else {}),
            **(_NOISE if "noise" in words else {}),
            "model.dtype": words.get("dtype", "float32"),
        }
    )


def drawn_people(arg: str = "") -> TrainConfig:
    """The small network on the synthetic people.

    Args:
        arg: words with commas between them: `goat=sma`, `goat=fna`, `goat=nna` or `goat=fast` for
            adversarial training, or `defense=NAME` for one of DEFENSES, from weights that were
            trained without; `noise` to learn noisy images; `dtype=bfloat16`.
    """
    known: dict[str, Iterable[str]] = {"goat": _DRAWN, "defense": DEFENSES, "dtype": _DTYPES}
    known["noise"] = ()
    words = read_words(arg, known, where="synthetic")
    defense = DEFENSES.get(words.get("defense", ""))
    return TrainConfig().replace(
        {
            **_attacked(words, _DRAWN, f"synthetic:{arg}"),
            **(_COMPARED if defense and defense.compares else {}),
            **(_DRAWN_TRIPLETS if defense and defense.on_triplets else {}),
            **(defense.on_drawn_people if defense else {}),
            **(_NOISE if "noise" in words else {}),
            "model.dtype": words.get("dtype", "float32"),
        }
    )


def _attacked(
    words: Mapping[str, str], goat: Mapping[str, dict[str, object]], preset: str
) -> dict[str, object]:
    """The fields of `goat=` or `defense=`; none without either."""
    if "defense" not in words:
        return goat.get(words.get("goat", ""), {})
    if "goat" in words:
        raise InputError(
            f"{preset}: defense={words['defense']} brings its own attack; leave "
            f"goat={words['goat']} out"
        )
    defense = DEFENSES[words["defense"]]
    return {**goat[defense.attack], **defense.fields}


def read_words(arg: str, known: Mapping[str, Iterable[str]], *, where: str) -> dict[str, str]:
    """Reads what stands behind the colon of `--config market1501:goat=fna,reference`.

    Args:
        arg: words with commas between them, each at most once.
        known: name of a word -> the values it may have; none for a word without.
        where: name of the preset, for messages, which name the nearest word that there is.

    Returns:
        name -> value, "" of a word without.
    """
    words: dict[str, str] = {}
    for word in filter(None, arg.split(",")):
        name, equals, value = (part.strip() for part in word.partition("="))
        preset = f"{where}:{arg}"
        if name not in known:
            near = did_you_mean(name, known) or _of_value(name, known)
            raise InputError(f"{preset}: no word {name!r}; {near or f'there are {_listed(known)}'}")
        values = list(known[name])
        if value not in values and (values or equals):
            near = did_you_mean(value, values)
            expected = f"{name}={'|'.join(values)}" if values else f"{name} alone"
            raise InputError(f"{preset}: expected {expected}, got {word!r}{near and f'; {near}'}")
        if name in words:
            raise InputError(f"{preset}: {name} comes twice")
        words[name] = value
    return words


def _of_value(wanted: str, known: Mapping[str, Iterable[str]]) -> str:
    """A suggestion for a value whose name was left out."""
    names = [name for name, values in known.items() if wanted in values]
    return f"did you mean '{names[0]}={wanted}'?" if names else ""


def _listed(known: Mapping[str, Iterable[str]]) -> str:
    return ", ".join(f"{name}={'|'.join(vs)}" if vs else name for name, vs in known.items())
