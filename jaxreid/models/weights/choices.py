"""What a user may say of a file that its tensors do not show."""

import re
from typing import Literal, TypedDict

from jaxreid.constants import Distance, Filter
from jaxreid.errors import InputError
from jaxreid.models.config import Head
from jaxreid.models.pooling import Pooling

__all__ = ["Choices", "for_convert"]

_OPTION = re.compile(r"--[a-z]{2}")


def for_convert(error: InputError) -> InputError:
    """What is asked of a file, for whoever has no option to answer by: `jaxreid convert` has."""
    if not _OPTION.search(str(error)):
        return error
    return InputError(f"{error}; tell it to jaxreid convert, whose file can be taken as it is")


class Choices(TypedDict, total=False):
    """What the tensors do not show, or what should differ from what they show.

    Attributes:
        network: which of several networks in a file: a key of it ("teacher", "model_ema"), or what
            the names of its tensors begin with.
        architecture: a key of ARCHITECTURES that the file must hold.
        head: see ModelConfig; the file's own by default.
        classes: training identities; the file's own by default.
        dimensions: size of the feature, see ModelConfig; the file's own by default.
        last_stride: 1 or 2, stride of a ResNet's last stage.
        pool: where a ResNet's stem pools, see ResNetConfig.
        pooling: how a ResNet's or MGN's last map becomes a vector, see ResNetConfig.
        stem_relu: whether a ReLU follows a ResNet's stem.
        sie_factor: what multiplies camera embeddings; no tensor shows it.
        semantic_weight: of SOLIDER's semantic control, in [0, 1]; no tensor shows it.
        stride: pixels from one patch of a ViT to the next; refused where the position table is
            that of another stride.
        image_size: (height, width) in pixels of a ViT's images; position embeddings of another
            published size are resampled (bicubic), others taken for those of this one.
        resize: (height, width) in pixels to which images are resized inside.
        training_size: (height, width) in pixels of the images it was trained on; the size that
            `jaxreid evaluate` and `attack` take by default.
        mean: of each channel of images in [0, 1].
        std: of each channel of images in [0, 1].
        colours: order of the channels that the backbone was trained on.
        crop: (height, width) in pixels of the centre that is cut out of images inside.
        neck_feature: whether the feature is taken "before" or "after" the neck's BatchNorm.
        filter: kernel by which images are resized; see Pipeline, as for the next four.
        distance: by which features are compared.
        unit_length: whether features are divided by their L2 norm.
        flip: whether features are averaged over the image and its mirror image.
        first_camera: row of the camera embeddings that belongs to the first camera.
        cameras: that the camera embeddings are of, one for each view of each; no tensor shows how
            many, and by default each row is a camera's.
    """

    network: str | None
    architecture: str | None
    head: Head | None
    classes: int | None
    dimensions: int | None
    last_stride: int | None
    pool: Literal["padded", "ceil"] | None
    pooling: Pooling | None
    stem_relu: bool | None
    sie_factor: float | None
    semantic_weight: float | None
    stride: int | None
    image_size: tuple[int, int] | None
    resize: tuple[int, int] | None
    training_size: tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    colours: Literal["RGB", "BGR"] | None
    crop: tuple[int, int] | None
    neck_feature: Literal["before", "after"] | None
    filter: Filter | None
    distance: Distance | None
    unit_length: bool | None
    flip: bool | None
    first_camera: int | None
    cameras: int | None
