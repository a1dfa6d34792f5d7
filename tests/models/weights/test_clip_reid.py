"""CLIP-ReID: against a definition in NumPy."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from golden_models import draw, per_image
from networks import check_frozen_and_half_precision, features, images, unmoved_by_logits

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import NO_CAMERA, weights
from jaxreid.models.weights.recognition import resample_positions

WIDTH, OUTPUTS, CAMERAS, CLASSES = 128, 24, 3, 5


def norm_shapes(name, channels, *, batch=True):
    shapes = {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}
    if batch:
        shapes |= {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
        shapes |= {f"{name}.num_batches_tracked": ()}
    return shapes


def linear_shapes(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def around(width, outputs):
    """Names beside the image encoder: necks, classifiers, what only training reads."""
    shapes = {"classifier.weight": (CLASSES, width), "classifier_proj.weight": (CLASSES, outputs)}
    shapes |= {"prompt_learner.cls_ctx": (CLASSES, 4, 8), "text_encoder.ln_final.weight": (8,)}
    return shapes | norm_shapes("bottleneck", width) | norm_shapes("bottleneck_proj", outputs)


def vit_file(positions, *, cameras=0):
    """A small file with every name of a ViT's."""
    shapes = {"cv_embed": (cameras, WIDTH)} if cameras else {}
    shapes |= {"class_embedding": (WIDTH,), "positional_embedding": (1 + positions, WIDTH)}
    shapes |= {"proj": (WIDTH, OUTPUTS), "conv1.weight": (WIDTH, 3, 16, 16)}
    shapes |= norm_shapes("ln_pre", WIDTH, batch=False) | norm_shapes("ln_post", WIDTH, batch=False)
    for place in range(2):
        name = f"transformer.resblocks.{place}"
        shapes[f"{name}.attn.in_proj_weight"] = (3 * WIDTH, WIDTH)
        shapes[f"{name}.attn.in_proj_bias"] = (3 * WIDTH,)
        shapes |= linear_shapes(f"{name}.attn.out_proj", WIDTH, WIDTH)
        shapes |= linear_shapes(f"{name}.mlp.c_fc", WIDTH, 2 * WIDTH)
        shapes |= linear_shapes(f"{name}.mlp.c_proj", 2 * WIDTH, WIDTH)
        for norm in ("ln_1", "ln_2"):
            shapes |= norm_shapes(f"{name}.{norm}", WIDTH, batch=False)
    return drawn(shapes, around(WIDTH, OUTPUTS))


def resnet_file(positions, *, width=8):
    """A small file with every name of a ResNet's: one block per stage, two in the second."""
    half, channels = width // 2, 32 * width
    shapes = {"conv1.weight": (half, 3, 3, 3), "conv2.weight": (half, half, 3, 3)}
    shapes |= {"conv3.weight": (width, half, 3, 3)}
    for place, outputs in enumerate((half, half, width)):
        shapes |= norm_shapes(f"bn{place + 1}", outputs)
    inputs = width
    for stage, blocks in enumerate((1, 2, 1, 1)):
        inner = width << stage
        for place in range(blocks):
            name = f"layer{stage + 1}.{place}"
            shapes |= {
                f"{name}.conv1.weight": (inner, inputs, 1, 1),
                f"{name}.conv2.weight": (inner, inner, 3, 3),
                f"{name}.conv3.weight": (4 * inner, inner, 1, 1),
            }
            for norm, outputs in (("bn1", inner), ("bn2", inner), ("bn3", 4 * inner)):
                shapes |= norm_shapes(f"{name}.{norm}", outputs)
            if place == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                shapes |= norm_shapes(f"{name}.downsample.1", 4 * inner)
            inputs = 4 * inner
    shapes["attnpool.positional_embedding"] = (1 + positions, channels)
    for name in ("q_proj", "k_proj", "v_proj"):
        shapes |= linear_shapes(f"attnpool.{name}", channels, channels)
    shapes |= linear_shapes("attnpool.c_proj", channels, OUTPUTS)
    return drawn(shapes, around(channels, OUTPUTS))


def drawn(encoder, beside):
    named = {n if n == "cv_embed" else f"image_encoder.{n}": s for n, s in encoder.items()}
    return {name: draw(name, shape) for name, shape in (named | beside).items()}


class Definition:
    """The networks of a state dict, once more: NumPy, float64, step by step."""

    def __init__(self, file):
        self.tensors = {
            name.removeprefix("image_encoder."): value.astype(np.float64)
            for name, value in file.items()
        }

    def linear(self, x, name):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + 1e-5)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def batch_norm(self, x, name):
        mean, variance = (self.tensors[f"{name}.running_{part}"] for part in ("mean", "var"))
        scaled = (x - mean) / np.sqrt(variance + 1e-5)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def conv(self, x, name, stride=1):
        weight = self.tensors[f"{name}.weight"]
        size = weight.shape[-1]
        padding = 1 if size == 3 else 0
        x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
        return np.einsum("bhwcij,kcij->bhwk", windows[:, ::stride, ::stride], weight)

    def attention(self, query, key, value):
        """By heads of 64 channels."""
        mixed = []
        for first in range(0, query.shape[-1], 64):
            at = slice(first, first + 64)
            scores = query[..., at] @ key[..., at].swapaxes(1, 2) / 8
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[..., at])
        return np.concatenate(mixed, -1)

    def vit(self, pixels, *, stride, factor, cameras):
        x = self.conv((pixels - 0.5) / 0.5, "conv1", stride)
        x = x.reshape(len(x), -1, WIDTH)
        token = np.tile(self.tensors["class_embedding"], (len(x), 1))
        for place, camera in enumerate(cameras):
            token[place] += factor * self.tensors["cv_embed"][camera]
        x = np.concatenate([token[:, None], x], 1) + self.tensors["positional_embedding"]
        x = self.norm(x, "ln_pre")
        for place in range(2):
            name = f"transformer.resblocks.{place}"
            y = self.norm(x, f"{name}.ln_1") @ self.tensors[f"{name}.attn.in_proj_weight"].T
            parts = np.split(y + self.tensors[f"{name}.attn.in_proj_bias"], 3, -1)
            x = x + self.linear(self.attention(*parts), f"{name}.attn.out_proj")
            y = self.linear(self.norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")
            x = x + self.linear(y / (1 + np.exp(-1.702 * y)), f"{name}.mlp.c_proj")
        token = self.norm(x[:, 0], "ln_post")
        return np.concatenate([token, token @ self.tensors["proj"]], 1)

    def resnet(self, pixels):
        x = (pixels - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        for place in (1, 2, 3):
            x = self.conv(x, f"conv{place}", 2 if place == 1 else 1)
            x = np.maximum(self.batch_norm(x, f"bn{place}"), 0)
        x = halved(x)
        for stage, blocks in enumerate((1, 2, 1, 1)):
            for place in range(blocks):
                name, halve = f"layer{stage + 1}.{place}", stage in (1, 2) and place == 0
                x = self.bottleneck(x, name, halved if halve else lambda y: y)
        flat = x.reshape(len(x), -1, x.shape[-1])
        tokens = np.concatenate([flat.mean(1, keepdims=True), flat], 1)
        tokens = tokens + self.tensors["attnpool.positional_embedding"]
        parts = (self.linear(tokens, f"attnpool.{part}_proj") for part in "qkv")
        pooled = self.linear(self.attention(*parts), "attnpool.c_proj")[:, 0]
        return np.concatenate([flat.mean(1), pooled], 1)

    def bottleneck(self, x, name, pool):
        y = np.maximum(self.batch_norm(self.conv(x, f"{name}.conv1"), f"{name}.bn1"), 0)
        y = np.maximum(self.batch_norm(self.conv(y, f"{name}.conv2"), f"{name}.bn2"), 0)
        y = self.batch_norm(self.conv(pool(y), f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.tensors:
            x = self.conv(pool(x), f"{name}.downsample.0")
            x = self.batch_norm(x, f"{name}.downsample.1")
        return np.maximum(x + y, 0)


def halved(x):
    """Means over 2x2 pixels."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def test_the_vit_is_its_definition():
    file = vit_file(10, cameras=CAMERAS)
    x = images(3, 64, 32, 3).astype(np.float64)
    model = weights.from_state_dict(file, image_size=(64, 32), sie_factor=3.0)
    assert model.config.backbone.stride == 12
    got = jax.jit(lambda x, cameras: model(x, cameras=cameras).features)
    cameras = jnp.array([2, 0, NO_CAMERA])
    expected = Definition(file).vit(x, stride=12, factor=3.0, cameras=[2, 0])
    assert per_image(got(x.astype(np.float32), cameras), expected) < 1e-5
    # The cameras of the others are no matter of the third.
    alone = jax.jit(lambda x: model(x).features)(x[2:].astype(np.float32))
    assert per_image(alone, expected[2:]) < 1e-5


def test_the_resnet_is_its_definition():
    file = resnet_file(4)
    x = images(2, 64, 16, 3)
    model = weights.from_state_dict(file, image_size=(64, 16))
    assert model.config.backbone.grid == (4, 1)
    assert per_image(features(model, x), Definition(file).resnet(x.astype(np.float64))) < 1e-5


def test_the_pipeline_is_the_projects():
    for file, size, mean in (
        (vit_file(128), (256, 128), (0.5, 0.5, 0.5)),
        (resnet_file(192), (384, 128), (0.485, 0.456, 0.406)),
    ):
        config = weights.from_state_dict(file).config
        assert config.size == size
        assert config.mean == mean
        assert config.neck_feature == "before"
        assert (config.pipeline.unit_length, config.pipeline.distance) == (True, "euclidean")
        assert (config.pipeline.filter, config.pipeline.first_camera) == ("bilinear", 0)
        assert config.feature_size == config.backbone.parts[0].size + OUTPUTS


@pytest.mark.parametrize(
    ("positions", "size", "stride"),
    [
        (210, (256, 128), 12),
        (192, (384, 128), 16),
        (310, (384, 128), 12),
        (256, (256, 256), 16),
        (196, (224, 224), 16),
    ],
)
def test_size_and_stride_are_read_off_the_positions(positions, size, stride):
    shape = weights.from_state_dict(vit_file(positions)).config.backbone
    assert (shape.image_size, shape.stride) == (size, stride)


@pytest.mark.parametrize(
    ("positions", "choices", "message"),
    [
        (128, {"stride": 12}, r"128 positions .*256x128 at stride 16, not to a stride of 12"),
        (131, {}, r"131 positions .* say --image-size"),
        (
            6,
            {"image_size": (48, 32)},
            r"48x32 at stride 16 or .* 12: say which .* --stride",
        ),
        (128, {"sie_factor": 1.0}, "no camera embeddings"),
    ],
)
def test_contradictions_are_refused(positions, choices, message):
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(vit_file(positions), **choices)


RESIZED = {
    # kind -> (file, its (rows, columns), --image-size, its (rows, columns), the table)
    "vit, stride 16": (lambda: vit_file(128), (16, 8), (96, 48), (6, 3), "positional_embedding"),
    "vit, stride 12": (lambda: vit_file(210), (21, 10), (64, 40), (5, 3), "positional_embedding"),
    # At stride 16, 336x160 has as many positions as the file: 21 x 10.
    "vit, as many": (lambda: vit_file(210), (21, 10), (336, 160), (27, 13), "positional_embedding"),
    "resnet": (
        lambda: resnet_file(128),
        *((16, 8), (96, 48), (6, 3)),
        "attnpool.positional_embedding",
    ),
}


@pytest.mark.torch
@pytest.mark.parametrize("kind", RESIZED)
def test_positions_are_resampled_for_other_images_by_torchs_bicubic_kernel(kind):
    import torch

    make, old, size, new, name = RESIZED[kind]
    file = make()
    table = torch.from_numpy(file[f"image_encoder.{name}"])
    grid = table[1:].T.reshape(1, -1, *old)
    grid = torch.nn.functional.interpolate(
        grid, size=new, mode="bicubic", antialias=True, align_corners=False
    )
    model = weights.from_state_dict(file, image_size=size)
    assert (model.config.backbone.image_size, model.config.size) == (size, size)
    got = weights.to_state_dict(model, layout="clip-reid")[f"image_encoder.{name}"]
    # The class token's, or the mean's, has its bits.
    np.testing.assert_array_equal(got[0], table[0])
    np.testing.assert_allclose(got[1:], grid[0].flatten(1).T, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESIZED)
def test_positions_are_resampled_as_a_vits_are(kind, tmp_path):
    make, old, size, new, name = RESIZED[kind]
    file = make()
    table = file[f"image_encoder.{name}"]
    # From the file, and from what jaxreid wrote of it.
    weights.save(weights.from_state_dict(file), tmp_path / "x.safetensors")
    for model in (
        weights.from_state_dict(file, image_size=size),
        weights.load(tmp_path / "x.safetensors", image_size=size),
    ):
        got = weights.to_state_dict(model, layout="clip-reid")[f"image_encoder.{name}"]
        np.testing.assert_array_equal(got, resample_positions(table[None], old, new)[0])
    assert np.isfinite(features(model, images(1, *size, 3))).all()


@pytest.mark.parametrize("stride", [16, 12])
def test_a_stride_decides_between_two(stride):
    model = weights.from_state_dict(vit_file(6), image_size=(48, 32), stride=stride)
    shape = model.config.backbone
    assert (shape.stride, shape.grid) == (stride, (3, 2))


def test_the_resnet_has_one_stride():
    with pytest.raises(InputError, match="stride: it belongs to ViTs"):
        weights.from_state_dict(resnet_file(128), stride=12)


def test_the_factor_of_the_cameras_is_asked_for():
    with pytest.raises(InputError, match=r"--sie-factor 1 .* 3 .*32 to 37 %"):
        weights.from_state_dict(vit_file(128, cameras=CAMERAS))


def test_embeddings_of_cameras_that_a_resnet_does_not_read_are_left_out():
    plain = resnet_file(8)
    file = {**plain, "cv_embed": np.ones((CAMERAS, 256), np.float32)}
    model = weights.from_state_dict(file, image_size=(64, 32))
    assert model.config == weights.from_state_dict(plain, image_size=(64, 32)).config
    assert not model.cameras
    assert "cv_embed" not in weights.to_state_dict(model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_what_is_loaded_is_written_frozen_and_computed_in_half_precision(kind, tmp_path):
    if kind == "vit":
        file, options = vit_file(8, cameras=CAMERAS), {"image_size": (64, 32), "sie_factor": 3.0}
    else:
        file, options = resnet_file(8), {"image_size": (64, 32)}
    model = weights.from_state_dict(file, **options)
    written = weights.to_state_dict(model)
    assert set(file) - set(written) == {"prompt_learner.cls_ctx", "text_encoder.ln_final.weight"}
    assert set(written) <= set(file)
    for name, value in written.items():
        np.testing.assert_array_equal(value, file[name], err_msg=name)
    weights.save(model, tmp_path / "x.safetensors")
    assert weights.load(tmp_path / "x.safetensors").config == model.config
    half = weights.from_state_dict(file, dtype=jnp.bfloat16, **options)
    cameras = [1, 0] if kind == "vit" else None
    check_frozen_and_half_precision(model, half, images(2, 64, 32, 3), cameras=cameras)


@pytest.mark.parametrize(
    "shape",
    [
        models.CLIPViTConfig(width=64, depth=1, heads=1, image_size=(32, 16), outputs=8),
        pytest.param(
            models.CLIPResNetConfig(
                width=4, depths=(1, 1, 1, 1), heads=2, outputs=8, image_size=(32, 16)
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["vit", "resnet"],
)
def test_everything_that_computes_the_logits_learns(shape):
    model = networks.drawn(shape, classes=3)
    x, labels = images(4, 32, 16, 3), np.array([0, 1, 2, 0])
    assert unmoved_by_logits(model, x, labels) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "5 heads do not divide"),
        ({"image_size": (8, 8)}, "smaller than a 16 patch"),
        ({"sie_factor": float("nan")}, "sie_factor must be a finite"),
        ({"cameras": -1}, "cameras must be"),
        ({"depth": 1000}, "at most 256"),
        ({"stride": 0}, "integers from 1"),
    ],
)
def test_bad_shapes_of_vits_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        models.CLIPViTConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "heads divide 32 times"),
        ({"width": 7}, "must be even"),
        ({"image_size": (8, 8)}, "smaller than 16 pixels"),
        ({"depths": (1, 1)}, "four stages"),
        ({"outputs": 0}, "integers from 1"),
    ],
)
def test_bad_shapes_of_resnets_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        models.CLIPResNetConfig(**fields)


def test_a_resnet_without_one_of_its_stages_is_named():
    file = {name: value for name, value in resnet_file(128).items() if ".layer3." not in name}
    with pytest.raises(
        InputError, match=r"missing tensor layer3\.0\.conv1\.weight: CLIP's ResNets"
    ):
        weights.from_state_dict(file)
