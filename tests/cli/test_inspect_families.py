"""`jaxreid inspect` on a file of every family, beside what its project and its names say of it."""

import json
import math

import pytest
from commands import run
from family_files import FILES, osnet_of, write_zeros

# What the projects do at test time: kernel, unit length, distance, mean of the first channel, where
# the feature is taken, and words of the code that says so.
IMAGENET = 0.485
OF_TRANSREID = ("bilinear", True, "euclidean", 0.5, "before")
PIPELINES = {
    "torchreid": ("bilinear", False, "euclidean", IMAGENET, "after"),
    "fast-reid": ("bicubic", True, "cosine", IMAGENET, "after"),
    "fast-reid-v0.1": ("bicubic", True, "cosine", IMAGENET, "after"),
    "fast-reid-mgn": ("bicubic", True, "cosine", IMAGENET, "after"),
    "transreid": OF_TRANSREID,
    "transreid-ssl": OF_TRANSREID,
    "clip-reid": OF_TRANSREID,
    "solider": OF_TRANSREID,
    "torchvision": None,
    "timm": None,
}
# Exceptions: a published configuration, and CLIP-ReID's ResNet, whose pixels are ImageNet's.
OTHERS = {
    "osnet_ain_x1_0": ("bilinear", False, "cosine", IMAGENET, "after"),
    "RN50": ("bilinear", True, "euclidean", IMAGENET, "before"),
    "RN50, SIE": ("bilinear", True, "euclidean", IMAGENET, "before"),
}
# The learnt numbers of ImageNet's networks, as torchvision and timm publish them.
PUBLISHED = {"ResNet-50": 25_557_032, "timm ViT-B/16": 86_567_656, "timm ViT-S/16": 22_050_664}
# In millions, without the classifier: https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO.
OSNETS = {"osnet_x1_0": 2.2, "osnet_x0_75": 1.3, "osnet_x0_5": 0.6, "osnet_x0_25": 0.2}

# One or more of every family; the others are as the like of them.
FAST = {
    *("osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0"),
    *("resnet50_fc512", "BoT R50, 256 numbers", "AGW R50", "SBS R50-IBN", "MGN R50-IBN"),
    *("v0.1.1 SBS R50-IBN", "ViT-B, JPM, SIE, stride 12", "DeiT-S", "ViT-S, convolutional stem"),
    *("ViT-B/16, SIE", "RN50", "Swin-T", "ResNet-50", "timm ViT-S/16"),
}
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in FILES]


def inspected(capsys, path, *options):
    code, out, err = run(capsys, "inspect", path, "--json", *options)
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def file_of(tmp_path, golden):
    """name -> the file, its shapes, and what is known of it."""

    def write(name):
        file = FILES[name]
        shapes = file.shapes(golden)
        write_zeros(tmp_path / "x.safetensors", shapes)
        return file, shapes, tmp_path / "x.safetensors"

    return write


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_known_of_a_file_is_told(capsys, file_of, name):
    file, shapes, path = file_of(name)
    found = inspected(capsys, path, *file.options)
    config = found["config"]
    assert (found["layout"], found["found_by"]) == (file.family, "names")
    assert (found["architecture"], config["head"]) == (file.architecture, file.head)
    assert config["classes"] == file.classes
    assert (config["backbone"].get("cameras") or 0) == file.cameras
    assert found["tensors"] == len(shapes)
    assert found["problems"] == found["asked"] == []
    assert found["supposed"] == {}
    # Every tensor is of the network, or left out for a reason.
    left = {
        each
        for each in shapes
        if each.endswith(".num_batches_tracked") or each.startswith(file.unread or ("-",))
    }
    assert set(found["ignored"]) == left
    assert all(found["ignored"].values())
    counts = {"learnt": 0, "statistics": 0, "indices": 0}
    for each in set(shapes) - left:
        averaged = each.endswith((".running_mean", ".running_var"))
        index = each.endswith(".relative_position_index")
        counts["statistics" if averaged else "indices" if index else "learnt"] += math.prod(
            shapes[each]
        )
    assert (found["parameters"], found["statistics"]) == (counts["learnt"], counts["statistics"])
    if name in PUBLISHED:
        assert found["parameters"] == PUBLISHED[name]
    if name in OSNETS:
        assert round((found["parameters"] - 751 * 513) / 1e6, 1) == OSNETS[name]
    # A network that takes images of one size only says no other.
    size = config["training_size"] or config["backbone"].get("image_size")
    assert (size and tuple(size)) == file.size
    check_pipeline(name, file, config)


def check_pipeline(name, file, config):
    expected, told = OTHERS.get(name, PIPELINES[file.family]), config["pipeline"]
    if expected is None:
        assert told is None
        return
    keys = ("filter", "unit_length", "distance")
    # Old files of fast-reid have means of grey levels.
    said = (*(told[key] for key in keys), round(config["mean"][0], 6), config["neck_feature"])
    assert said == expected
    assert not told["flip"]
    assert told["first_camera"] == 0
    assert config["colours"] == "RGB"


def test_names_that_are_made_from_others_are_the_projects_own(golden):
    """Channels by a factor, where their own code gave both lists."""
    whole = FILES["osnet_x1_0"].shapes(golden)
    assert osnet_of(0.25)(whole) == FILES["osnet_x0_25"].shapes(golden)
