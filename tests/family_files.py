"""A file of every family that jaxreid reads: names and shapes, and what its project says of it.

Also for `benchmarks/inspect_models.py`, which makes the table of docs/models.md.

Names and shapes of 25 networks are those that the projects' own code gave, `golden/models/keys`.
The others differ from one of these in one thing: the widths of an OSNet, the blocks of a
ResNet-101, the stride of patches, the width of DeiT-S, or the names of timm and torchvision.
"""

import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from golden_models import GoldenModel, draw, window_index

Shapes = dict[str, tuple[int, ...]]

_LARGE = (384, 128)
_FC = ("base.fc.",)
_TEXTS = ("text_encoder.", "prompt_learner.")
_PIXELS = ("pixel_mean", "pixel_std")
_SWIN = ("base.norm0.", "base.norm1.", "base.norm2.")
_SWIN += ("base.semantic_embed_w.3.", "base.semantic_embed_b.3.")


class FamilyFile(NamedTuple):
    """One file, and what its project says of it.

    Attributes:
        family: key of `jaxreid.models.weights.layouts.LAYOUTS`.
        base: the network of `golden/models` whose names and shapes it has.
        architecture: key of `jaxreid.models.ARCHITECTURES`.
        change: from the names and shapes of `base` to its own.
        head: of `jaxreid.models.ModelConfig`.
        size: (height, width) of its project's images; None where its names leave it open.
        options: what `jaxreid inspect` must be told.
        unread: beginnings of the names that no feature passes.
        cameras: that it tells apart.
        classes: people of its training.
    """

    family: str
    base: str
    architecture: str
    change: Callable[[Shapes], Shapes] = dict
    head: str = "classification"
    size: tuple[int, int] | None = (256, 128)
    options: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    cameras: int = 0
    classes: int = 751

    def shapes(self, golden: Path) -> Shapes:
        """Names and shapes of its tensors, in the order of the file."""
        return self.change(GoldenModel(golden, self.base).shapes)


def write_zeros(path: Path, shapes: Shapes) -> None:
    """A .safetensors of zeros, which takes no room on the disk; only what is checked is another."""
    header, end, written = {}, 0, {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        whole = last in ("num_batches_tracked", "relative_position_index")
        start, end = end, end + math.prod(shape) * (8 if whole else 4)
        dtype = "I64" if whole else "F32"
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        if last == "relative_position_index":
            written[start] = window_index().astype(np.int64)
        elif name in _PIXELS:
            written[start] = draw(name, shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start, values in written.items():
            file.seek(8 + len(text) + start)
            file.write(values.tobytes())
        file.truncate(8 + len(text) + end)


def drawn(golden: Path, file: FamilyFile) -> dict[str, np.ndarray]:
    """Its tensors by recipe, as those of the golden models."""
    return {
        name: window_index() if name.endswith(".relative_position_index") else draw(name, shape)
        for name, shape in file.shapes(golden).items()
    }


def osnet_of(factor: float) -> Callable[[Shapes], Shapes]:
    """Channels times a factor, but for the three of an image and the 512 of the feature."""

    def scaled(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if name.startswith(("fc.1.", "classifier.")):
            return shape
        channels = [max(1, int(side * factor)) for side in shape[:2]]
        if name == "conv1.conv.weight":
            channels[1] = 3
        if name.startswith("fc.0."):
            channels[0] = shape[0]
        return (*channels, *shape[2:])

    return lambda shapes: {name: scaled(name, shape) for name, shape in shapes.items()}


def _resnet101(shapes: Shapes) -> Shapes:
    """23 blocks in layer3 for 6, and behind the last nine of them a non-local block for three."""
    found = dict(shapes)
    for name, shape in shapes.items():
        for stage, block, count in (("layer3", 5, 23), ("NL_3", 2, 9)):
            start = f"backbone.{stage}.{block}."
            if name.startswith(start):
                ending = name.removeprefix(start)
                more = (f"backbone.{stage}.{place}.{ending}" for place in range(block + 1, count))
                found |= dict.fromkeys(more, shape)
    return found


def _rows(count: int) -> Callable[[Shapes], Shapes]:
    """Another number of positions, of which one is the class token's."""
    tables = ("pos_embed", ".positional_embedding")
    unread = ("text_encoder.", "prompt_learner.")
    return lambda shapes: {
        name: (*shape[:-2], count, shape[-1])
        if name.endswith(tables) and not name.startswith(unread)
        else shape
        for name, shape in shapes.items()
    }


def _deit_small(shapes: Shapes) -> Shapes:
    """384 channels in place of 768, as many blocks, heads of as many channels."""
    half = {768: 384, 2304: 1152, 3072: 1536}
    return {name: tuple(half.get(side, side) for side in shape) for name, shape in shapes.items()}


def _transreid_small(shapes: Shapes) -> Shapes:
    """TransReID's vit_small: 8 blocks, three times the width in the MLP, no bias of attention."""
    return {
        name: tuple(2304 if side == 3072 else side for side in shape)
        for name, shape in shapes.items()
        if not re.search(r"blocks\.(8|9|1\d)\.|qkv\.bias", name)
    }


def _timm_vit(shapes: Shapes) -> Shapes:
    """ImageNet's: 224x224 pixels, a classifier `head` of 1000 classes and no neck."""
    own = {name.removeprefix("base."): shape for name, shape in _rows(197)(shapes).items()}
    own = {f"head{name[2:]}" if name[:3] == "fc." else name: own[name] for name in own}
    return {name: own[name] for name in own if not name.startswith(("bottleneck.", "classifier."))}


def _imagenet_resnet(shapes: Shapes) -> Shapes:
    """torchvision's and timm's: a classifier `fc` of 1000 classes, and nothing before it."""
    own = {name: shapes[name] for name in shapes if not name.startswith(("fc.", "classifier."))}
    return {**own, "fc.weight": (1000, 2048), "fc.bias": (1000,)}


def _with_cameras(shapes: Shapes) -> Shapes:
    """CLIP-ReID stores embeddings of cameras beside its ResNet as well, which reads none."""
    return {"cv_embed": (6, 2048), **shapes}


_today = partial(FamilyFile, "fast-reid")
_zoo = partial(FamilyFile, "fast-reid-v0.1", unread=_PIXELS)
_mgn = partial(FamilyFile, "fast-reid-mgn", head="reduction", size=_LARGE)
_osnet = partial(FamilyFile, "torchreid", head="embedding")
_transreid = partial(FamilyFile, "transreid", unread=_FC)
_clip = partial(FamilyFile, "clip-reid", unread=_TEXTS)
_swin = partial(
    FamilyFile, "solider", size=_LARGE, unread=_SWIN, options=("--semantic-weight", "0.2")
)
_imagenet = {"head": "linear", "size": None, "classes": 1000}
_sie = {"options": ("--sie-factor", "3"), "cameras": 6}
_clip_sie = {"options": ("--sie-factor", "1"), "cameras": 6}
_jpm = {**_sie, "unread": (*_FC, "base.blocks.11.", "base.norm.")}
_jpm_base = "transreid_vit_base_jpm_sie_stride12"

FILES = {
    "osnet_x1_0": _osnet("torchreid_osnet_x1_0", "osnet_x1_0"),
    "osnet_x0_75": _osnet("torchreid_osnet_x1_0", "osnet_x0_75", osnet_of(0.75)),
    "osnet_x0_5": _osnet("torchreid_osnet_x1_0", "osnet_x0_5", osnet_of(0.5)),
    "osnet_x0_25": _osnet("torchreid_osnet_x0_25", "osnet_x0_25"),
    "osnet_ibn_x1_0": _osnet("torchreid_osnet_ibn_x1_0", "osnet_ibn_x1_0"),
    "osnet_ain_x1_0": _osnet("torchreid_osnet_ain_x1_0", "osnet_ain_x1_0"),
    "resnet50_fc512": _osnet("torchreid_resnet50_fc512", "resnet50"),
    "BoT R50": _today("fastreid_bot_r50", "resnet50"),
    "BoT R50-IBN": _today("fastreid_bot_r50_ibn", "resnet50_ibn"),
    "BoT R50, 256 numbers": _today("fastreid_bot_r50_embed256", "resnet50", head="reduction"),
    "BoT R101-IBN": _today("fastreid_bot_r50_ibn", "resnet101_ibn", _resnet101),
    "AGW R50": _today("fastreid_agw_r50", "resnet50_nl"),
    "AGW R101": _today("fastreid_agw_r50", "resnet101_nl", _resnet101),
    "SBS R50": _today("fastreid_sbs_r50", "resnet50_nl", size=_LARGE),
    "SBS R50-IBN": _today("fastreid_sbs_r50_ibn", "resnet50_ibn_nl", size=_LARGE),
    "MGN R50-IBN": _mgn("fastreid_mgn_r50_ibn", "mgn_resnet50_ibn"),
    "v0.1.1 BoT R50": _zoo("fastreid_v011_bot_r50", "resnet50"),
    "v0.1.1 AGW R50": _zoo("fastreid_v011_agw_r50", "resnet50_nl", size=None),
    "v0.1.1 SBS R50-IBN": _zoo("fastreid_v011_sbs_r50_ibn", "resnet50_ibn_nl", size=None),
    "ViT-B": _transreid("transreid_vit_base", "vit_base"),
    "ViT-B, stride 12": _transreid("transreid_vit_base", "vit_base", _rows(211)),
    "ViT-B, SIE": _transreid("transreid_vit_base_sie", "vit_base", **_sie),
    "ViT-B, JPM, SIE, stride 12": _transreid(_jpm_base, "vit_base_jpm", **_jpm),
    "ViT-B, JPM, SIE": _transreid(_jpm_base, "vit_base_jpm", _rows(129), **_jpm),
    "DeiT-S": _transreid("transreid_vit_base", "vit_small", _deit_small),
    "TransReID's ViT-S": _transreid("transreid_vit_base", "transreid_vit_small", _transreid_small),
    "ViT-S, convolutional stem": FamilyFile(
        "transreid-ssl", "transreid_ssl_vit_small_ics", "vit_small_ics", unread=_FC
    ),
    "ViT-B/16": _clip("clipreid_vit_b16", "clip_vit_b16"),
    "ViT-B/16, stride 12": _clip("clipreid_vit_b16", "clip_vit_b16", _rows(211)),
    "ViT-B/16, SIE": _clip("clipreid_vit_b16_sie", "clip_vit_b16", **_clip_sie),
    "RN50": _clip("clipreid_rn50", "clip_rn50"),
    "RN50, SIE": _clip("clipreid_rn50", "clip_rn50", _with_cameras, unread=("cv_embed", *_TEXTS)),
    "Swin-T": _swin("solider_swin_tiny", "swin_tiny"),
    "Swin-S": _swin("solider_swin_small", "swin_small"),
    "Swin-B": _swin("solider_swin_base", "swin_base"),
    "ResNet-50": FamilyFile(
        "torchvision", "torchreid_resnet50_fc512", "resnet50", _imagenet_resnet, **_imagenet
    ),
    "timm ViT-B/16": FamilyFile(
        "timm", "transreid_vit_base", "vit_base", _timm_vit, **(_imagenet | {"size": (224, 224)})
    ),
    "timm ViT-S/16": FamilyFile(
        *("timm", "transreid_vit_base", "vit_small"),
        lambda shapes: _timm_vit(_deit_small(shapes)),
        **(_imagenet | {"size": (224, 224)}),
    ),
}
"""What is in the file -> the file."""
