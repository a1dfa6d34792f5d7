"""What files of TransReID say of their network, and what has to be said of them."""

import json

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.jpm import JPMConfig
from jaxreid.models.vit import VITS
from jaxreid.models.weights.layouts import detect_layout
from jaxreid.models.weights.recognition import resample_positions
from jaxreid.models.weights.shapes import transreid_shape
from jaxreid.models.weights.shapes.vit import blocks_of

SMALL = {"width": 64, "depth": 2, "heads": 1, "image_size": (48, 32)}
JPM = JPMConfig(**SMALL | {"stride": 8, "cameras": 2, "sie_factor": 3.0, "depth": 3})
ICS = models.ViTConfig(**SMALL, stem="convolutional", stem_width=8)


def shapes(tokens, *, width=768, depth=12, hidden=3072, bias=True, patch=(3, 16, 16), **others):
    """The shapes of a backbone that its reader looks at."""
    found = {"pos_embed": (1, tokens, width), "patch_embed.proj.weight": (width, *patch)}
    for place in range(depth):
        found[f"blocks.{place}.mlp.fc1.weight"] = (hidden, width)
        if bias:
            found[f"blocks.{place}.attn.qkv.bias"] = (3 * width,)
    return {**found, **others}


@pytest.mark.parametrize(
    ("tokens", "choices", "size", "stride"),
    [
        (129, {}, (256, 128), 16),
        (211, {}, (256, 128), 12),
        (193, {}, (384, 128), 16),
        (311, {}, (384, 128), 12),
        (197, {}, (224, 224), 16),
        (257, {}, (256, 256), 16),
        (442, {}, (256, 256), 12),
        (325, {"stride": 12}, (224, 224), 12),
        (325, {"image_size": (256, 256)}, (256, 256), 14),
        (9, {"image_size": (64, 32), "stride": 16}, (64, 32), 16),
        # Positions that will be resampled belong to what they were trained for.
        (129, {"image_size": (384, 128)}, (256, 128), 16),
        # So do those of which the wanted size has as many, at another stride or on its side ...
        (211, {"image_size": (336, 160)}, (256, 128), 12),
        (129, {"image_size": (128, 256)}, (256, 128), 16),
        (211, {"image_size": (256, 128)}, (256, 128), 12),
        # ... unless nothing published has so many at the stride that is said.
        (211, {"image_size": (336, 160), "stride": 16}, (336, 160), 16),
    ],
)
def test_a_position_table_says_size_and_stride(tokens, choices, size, stride):
    found = transreid_shape(shapes(tokens), choices)
    assert (found.image_size, found.step) == (size, stride)
    assert found.grid[0] * found.grid[1] == tokens - 1
    assert (found.heads, found.mlp_ratio, found.cameras) == (12, 4, 0)


@pytest.mark.parametrize(
    ("trained", "wanted", "grid", "done"),
    [
        # 16 x 8 positions, for which 8 x 16 are no less to be resampled.
        ((256, 128), (128, 256), (8, 16), "positions of 256x128 resampled"),
        # One row of pixels more makes no row of patches more.
        ((256, 128), (257, 128), (16, 8), "positions of 256x128 as they are"),
        # 4 x 2, as no published configuration has them.
        ((64, 32), (64, 32), (4, 2), "taken for that of the positions"),
    ],
)
def test_what_became_of_the_positions_is_said(trained, wanted, grid, done):
    shape = models.ViTConfig(**SMALL | {"depth": 1, "image_size": trained})
    config = models.ModelConfig(shape, classes=5, classifier_bias=False)
    model = models.ReID(config, rngs=nnx.Rngs(0))
    old = np.asarray(model.backbone.pos_embed[...])
    tensors = weights.to_state_dict(model, layout="transreid")
    stride = {"stride": 16} if trained == wanted else {}
    found = weights.from_state_dict(tensors, image_size=wanted, **stride)
    assert (found.config.backbone.grid, found.config.size) == (grid, wanted)
    expected = (
        old if done != "positions of 256x128 resampled" else resample_positions(old, (16, 8), grid)
    )
    np.testing.assert_array_equal(found.backbone.pos_embed[...], expected)
    assert found.config.pipeline.source == (
        "TransReID: datasets/make_dataloader.py, utils/metrics.py; "
        f"image_size ({done}) as told to jaxreid"
    )


def test_a_convolutional_stem_has_one_stride():
    stem = {"patch_embed.conv.0.weight": (64, 3, 7, 7)}
    file = shapes(193, width=384, hidden=1536, patch=(64, 8, 8), **stem)
    found = transreid_shape(file, {})
    assert found == models.ViTConfig(image_size=(384, 128), stem="convolutional")


def test_what_is_written_of_a_jigsaw_network_is_read_by_its_names():
    model = models.ReID(models.ModelConfig(JPM, classes=5, classifier_bias=False), rngs=nnx.Rngs(0))
    tensors = weights.to_state_dict(model, layout="transreid")
    told = {"sie_factor": 3.0, "image_size": JPM.image_size, "stride": JPM.stride}
    found = weights.from_state_dict(tensors, **told)
    assert found.config.backbone == JPM
    again = weights.to_state_dict(found, layout="transreid")
    assert {n: v.tobytes() for n, v in again.items()} == {
        n: v.tobytes() for n, v in tensors.items()
    }


def test_a_block_that_is_missing_is_missed():
    config = models.ModelConfig(JPM, classes=5, classifier_bias=False)
    model = models.ReID(config, rngs=nnx.Rngs(0))
    tensors = weights.to_state_dict(model, layout="transreid")
    # As TransReID's own files have them: the last block and the norm, which no feature passes.
    for name in [name for name in tensors if name.startswith("base.blocks.1.")]:
        tensors[name.replace("blocks.1.", "blocks.11.")] = tensors[name]
    tensors["base.norm.weight"] = tensors["base.norm.bias"] = np.ones(64, np.float32)
    told = {"sie_factor": 3.0, "image_size": JPM.image_size, "stride": JPM.stride}
    with pytest.raises(InputError, match=r"108 missing: base\.blocks\.10\."):
        weights.from_state_dict(tensors, **told)


def test_the_jigsaws_table_is_resampled_under_our_own_names(tmp_path):
    shape = JPMConfig(**SMALL | {"image_size": (64, 48)})
    model = models.create(shape, classes=5, rngs=nnx.Rngs(0))
    weights.save(model, tmp_path / "x.safetensors", layout="jaxreid")
    found = weights.load(tmp_path / "x.safetensors", image_size=(96, 48))
    assert found.config.backbone.grid == (6, 3)
    table = np.asarray(model.backbone.base.pos_embed[...])
    expected = resample_positions(table, (4, 3), (6, 3))
    np.testing.assert_array_equal(found.backbone.base.pos_embed[...], expected)


def test_transreids_small_vit_is_read_as_it_was_built():
    found = transreid_shape(shapes(129, depth=8, hidden=2304, bias=False), {})
    expected = VITS["transreid_vit_small"]
    assert vars(found) | {"image_size": (224, 224)} == vars(expected)
    assert (expected.heads, expected.block.scale) == (8, 768**-0.5)
    # With a jigsaw module in the place of the last block.
    found = transreid_shape(shapes(129, depth=7, hidden=2304, bias=False), {})
    assert (found.heads, found.block.scale) == (8, 768**-0.5)


# Widths and heads of timm's vit_tiny, small, base, large, so400m, huge, giant and gigantic.
@pytest.mark.parametrize(
    ("width", "heads"),
    [(192, 3), (384, 6), (768, 12), (1024, 16), (1152, 16), (1280, 16), (1408, 16), (1664, 16)],
)
def test_heads_are_those_of_published_widths(width, heads):
    assert blocks_of(shapes(257, width=width, depth=1, hidden=4 * width))["heads"] == heads


@pytest.mark.parametrize(
    ("tokens", "choices", "message"),
    [
        (211, {"stride": 16}, r"210 positions .*256x128 at stride 12, not to a stride of 16"),
        (129, {"stride": 12, "image_size": (384, 128)}, r"256x128 at stride 16, not .* of 12"),
        (325, {}, r"256x256 at stride 14 or 224x224 at stride 12: say which by --image-size"),
        (131, {}, r"no published image size and stride: say --image-size and --stride"),
        (131, {"image_size": (100, 50)}, r"no published .* nor to 100x50: say"),
    ],
)
def test_a_position_table_of_something_else_is_refused(tokens, choices, message):
    with pytest.raises(InputError, match=message):
        transreid_shape(shapes(tokens), choices)


def test_what_multiplies_camera_embeddings_must_be_said():
    file = shapes(129, sie_embed=(6, 1, 768))
    with pytest.raises(InputError, match=r"6 camera embeddings.*--sie-factor 3.*31 % off"):
        transreid_shape(file, {})
    found = transreid_shape(file, {"sie_factor": 3.0})
    assert (found.cameras, found.sie_factor) == (6, 3.0)


def test_files_are_recognised_by_their_names():
    plain = ["base.cls_token", "base.pos_embed", "base.patch_embed.proj.weight"]
    assert detect_layout(plain) == "transreid"
    assert detect_layout([*plain, "b1.0.norm1.weight"]) == "transreid"
    assert detect_layout([*plain, "base.patch_embed.conv.0.weight"]) == "transreid-ssl"
    assert detect_layout(["base.conv1.weight"]) == "strong-baseline"


def filled(config):
    """A network whose weights NumPy draws: JAX would compile one program for every shape."""
    model = nnx.eval_shape(lambda: models.ReID(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    nnx.update(model, jax.tree.map(draw, nnx.state(model)))
    return model


@pytest.mark.parametrize(
    ("backbone", "layout", "choices", "message"),
    [
        (JPM, "transreid", {"stride": 16}, r"positions .* stride of 8, not 16"),
        (ICS, "transreid-ssl", {"sie_factor": 3.0}, r"sie_factor belongs to networks with camera"),
    ],
    ids=["jpm", "ics"],
)
def test_a_file_of_ours_keeps_all_of_it(tmp_path, backbone, layout, choices, message):
    config = models.ModelConfig(
        backbone, classes=3, classifier_bias=False, neck_feature="before", mean=(0.5,) * 3
    )
    path = tmp_path / "x.safetensors"
    weights.save(filled(config), path, layout=layout)
    assert weights.load(path).config == config
    assert weights.load(path, sie_factor=3.0).config == config if backbone is JPM else True
    with pytest.raises(InputError, match=message):
        weights.load(path, **choices)


def test_headers_without_the_newer_fields_are_read(tmp_path):
    model = filled(models.ModelConfig(models.ViTConfig(**SMALL), head="none"))
    fields = {"width": 64, "depth": 2, "heads": 1, "patch": 16, "image_size": [48, 32]}
    header = {
        "format": 1,
        "layout": "timm",
        "backbone": {**fields, "mlp_ratio": 4},
        "head": "none",
        "classes": None,
        "dimensions": 128,
        "classifier_bias": True,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "resize": None,
    }
    path = tmp_path / "old.safetensors"
    save_file(weights.to_state_dict(model), path, {"jaxreid": json.dumps(header)})
    assert weights.load(path).config.backbone == model.config.backbone
