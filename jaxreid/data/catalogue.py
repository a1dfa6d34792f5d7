"""The datasets jaxreid prepares: their counts, where each must be placed, and its standing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = [
    "DATASETS",
    "IMAGE_SIZE",
    "ORIENTATIONS",
    "PARTS_OF_TRAIN_ALL",
    "SPLITS",
    "Counts",
    "DatasetCard",
    "image_size",
]

IMAGE_SIZE = (256, 128)
"""(height, width) that person re-identification usually trains and evaluates at."""

ORIENTATIONS = ("upright", "as-stored")
"""How images that are stored rotated may be read: turned as Exif says (the default), or not."""

PARTS_OF_TRAIN_ALL = ("train", "validation_query", "validation_gallery")
"""Splits whose union is `train_all`, in its order; their records are stored once."""

SPLITS = ("train", "train_all", "query", "gallery", "validation_query", "validation_gallery")
"""Every split a prepared dataset can be opened with.

The validation splits are absent when no training identity is seen by two cameras.
"""


@dataclass(frozen=True)
class Counts:
    """How large the full dataset is.

    Attributes:
        train_images: images of the training folder.
        train_identities: people in them.
        query_images: query images.
        query_identities: people in them.
        gallery_images: gallery images, junk (-1) and distractors (0) included.
        gallery_images_without_junk: the same without junk: what is ranked.
        cameras: cameras over all images.
    """

    train_images: int
    train_identities: int
    query_images: int
    query_identities: int
    gallery_images: int
    gallery_images_without_junk: int
    cameras: int


@dataclass(frozen=True)
class DatasetCard:
    """What a user has to know before preparing a dataset.

    Attributes:
        title: the name its authors use.
        homepage: where its authors describe it; empty if nowhere.
        placement: what `--manual-dir` has to hold; empty if nothing is needed.
        licence: terms in a few words.
        notice: a warning that must be shown with the dataset; empty if there is none.
        counts: config name ("" where there are no configs) -> counts of the full dataset;
            empty where any size is right.
        configs: names of the predefined variants, the default first; empty if there are none.
        sizes: config -> (height, width) that networks are trained and evaluated at, where it is
            not `IMAGE_SIZE`; see `image_size`.
    """

    title: str
    homepage: str
    placement: str
    licence: str
    notice: str
    counts: Mapping[str, Counts]
    configs: tuple[str, ...] = ()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def default_config(self) -> str:
        """The first config; "" if there are none."""
        return self.configs[0] if self.configs else ""


_DUKE_NOTICE = (
    "DukeMTMC was withdrawn by its authors in June 2019: the people in it were filmed on a campus "
    "without informed consent. jaxreid neither links to it nor encourages its use; the builder "
    "exists so that published numbers can be checked by those who hold the data lawfully."
)

# The default with more people to learn from.
_MORE_DRAWN = tuple(f"people_{count}" for count in (400, 800, 1600, 2400))

DATASETS: Mapping[str, DatasetCard] = MappingProxyType(
    {
        "market1501": DatasetCard(
            title="Market-1501",
            homepage="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
            placement=(
                "Market-1501-v15.09.15.zip, or the folder unpacked from it, which has "
                "bounding_box_train/, query/ and bounding_box_test/"
            ),
            licence="research only; ask its authors",
            notice="",
            counts={"": Counts(12_936, 751, 3_368, 750, 19_732, 15_913, 6)},
        ),
        "dukemtmc_reid": DatasetCard(
            title="DukeMTMC-reID",
            homepage="https://exposing.ai/duke_mtmc/",
            placement=(
                "DukeMTMC-reID.zip, or the folder unpacked from it, which has "
                "bounding_box_train/, query/ and bounding_box_test/"
            ),
            licence="withdrawn by its authors",
            notice=_DUKE_NOTICE,
            counts={"": Counts(16_522, 702, 2_228, 702, 17_661, 17_661, 8)},
        ),
        "msmt17": DatasetCard(
            title="MSMT17",
            homepage="https://www.pkuvmc.com/dataset.html",
            placement=(
                "MSMT17_V1.tar.gz or MSMT17_V2.tar.gz, or the folder unpacked from it, which has "
                "list_train.txt, list_val.txt, list_query.txt and list_gallery.txt beside train/ "
                "and test/ (V1) or mask_train_v2/ and mask_test_v2/ (V2)"
            ),
            licence="research only; ask its authors",
            notice="",
            counts={"": Counts(32_621, 1_041, 11_659, 3_060, 82_161, 82_161, 15)},
        ),
        "cuhk03_np": DatasetCard(
            title="CUHK03-NP (new protocol)",
            homepage="https://github.com/zhunzhong07/person-re-ranking",
            placement=(
                "cuhk03-np.zip, or the folder unpacked from it, which has detected/ and labeled/, "
                "each with bounding_box_train/, query/ and bounding_box_test/"
            ),
            licence="research only; ask its authors",
            notice="",
            counts={
                "detected": Counts(7_365, 767, 1_400, 700, 5_332, 5_332, 2),
                "labeled": Counts(7_368, 767, 1_400, 700, 5_328, 5_328, 2),
            },
            configs=("detected", "labeled"),
        ),
        "occluded_duke": DatasetCard(
            title="Occluded-Duke",
            homepage="https://github.com/lightas/Occluded-DukeMTMC-Dataset",
            placement=(
                "Occluded_Duke.zip, or the folder unpacked from it, which has "
                "bounding_box_train/, query/ and bounding_box_test/"
            ),
            licence="withdrawn with DukeMTMC",
            notice=_DUKE_NOTICE,
            counts={"": Counts(15_618, 702, 2_210, 519, 17_661, 17_661, 8)},
        ),
        "veri776": DatasetCard(
            title="VeRi-776 (vehicles)",
            homepage="https://github.com/JDAI-CV/VeRidataset",
            placement=(
                "VeRi.zip, or the folder unpacked from it, which has image_train/, image_query/ "
                "and image_test/"
            ),
            licence="research only; ask its authors",
            notice="",
            counts={"": Counts(37_778, 576, 1_678, 200, 11_579, 11_579, 20)},
            sizes={"": (256, 256)},
        ),
        "reid_folder": DatasetCard(
            title="Your own images",
            homepage="",
            placement=(
                "bounding_box_train/, query/ and bounding_box_test/ with images named like "
                "0002_c1s1_000451_03.jpg (identity, camera), or otherwise with --pattern"
            ),
            licence="yours",
            notice="",
            counts={},
            configs=("default",),
        ),
        "synthetic_reid": DatasetCard(
            title="Drawn pedestrians",
            homepage="",
            placement="",
            licence="Apache-2.0",
            notice="",
            counts={},
            configs=("default", "tiny", "market_like", *_MORE_DRAWN),
            sizes=dict.fromkeys(("default", "tiny", *_MORE_DRAWN), (64, 32)),
        ),
    }
)


def image_size(name: str) -> tuple[int, int]:
    """(height, width) in pixels of a dataset's images for a network, if the user names none.

    `name` is such as `market1501`, or with its config `synthetic_reid/tiny`; it may be unknown.
    """
    base, _, config = name.partition("/")
    card = DATASETS.get(base)
    return card.sizes.get(config or card.default_config, IMAGE_SIZE) if card else IMAGE_SIZE
