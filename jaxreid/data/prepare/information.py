"""What TFDS is told of a data set: its words, and the type of every field of a record."""

import numpy as np
import tensorflow_datasets as tfds

from jaxreid.data.catalogue import DatasetCard

__all__ = ["NUMBERS", "dataset_information"]

NUMBERS = ("identity", "label", "label_all", "camera", "sequence", "frame")  # of each record


class _OwnInformation(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Asks no bucket: TFDS would for what is not prepared, and leave an empty folder."""


def dataset_information(
    builder: tfds.core.DatasetBuilder, card: DatasetCard
) -> tfds.core.DatasetInfo:
    """Gives TFDS the description, licence and fields of a re-identification data set.

    See https://www.tensorflow.org/datasets/api_docs/python/tfds/core/DatasetInfo.

    Args:
        builder: whose data set it is.
        card: its entry in the catalogue.

    Returns:
        The information, read and written on this machine alone.
    """
    parts = (f"{card.title}.", card.notice, f"Licence: {card.licence}.")
    return _OwnInformation(
        builder=builder,
        description=" ".join(part for part in parts if part),
        homepage=card.homepage or None,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                **dict.fromkeys(NUMBERS, tfds.features.Scalar(np.int64)),
                "file_name": tfds.features.Text(),
            }
        ),
        disable_shuffling=True,
    )
