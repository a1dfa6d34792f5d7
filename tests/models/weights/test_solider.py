"""SOLIDER-REID: against a definition in NumPy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import draw, per_image, window_index
from networks import check_frozen_and_half_precision, drawn, features, images, unmoved_by_logits

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights

WIDTH, CLASSES = 8, 5
UNUSED = ("base.norm0.", "base.norm1.", "base.norm2.", "base.semantic_embed_w.3.")
UNUSED += ("base.semantic_embed_b.3.",)


def norm_shapes(name, channels):
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def linear_shapes(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def state_dict(*, stages=2, controlled=True):
    """A small file with every name of a Swin's, two blocks in each stage."""
    shapes = {"patch_embed.projection.weight": (WIDTH, 3, 4, 4)}
    shapes["patch_embed.projection.bias"] = (WIDTH,)
    shapes |= norm_shapes("patch_embed.norm", WIDTH)
    for stage in range(stages):
        width = WIDTH << stage
        for block in range(2):
            name = f"stages.{stage}.blocks.{block}"
            shapes[f"{name}.attn.w_msa.relative_position_bias_table"] = (169, 2 << stage)
            shapes |= linear_shapes(f"{name}.attn.w_msa.qkv", width, 3 * width)
            shapes |= linear_shapes(f"{name}.attn.w_msa.proj", width, width)
            shapes |= linear_shapes(f"{name}.ffn.layers.0.0", width, 4 * width)
            shapes |= linear_shapes(f"{name}.ffn.layers.1", 4 * width, width)
            shapes |= norm_shapes(f"{name}.norm1", width) | norm_shapes(f"{name}.norm2", width)
        last = stage == stages - 1
        if not last:
            shapes |= norm_shapes(f"stages.{stage}.downsample.norm", 4 * width)
            shapes[f"stages.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
        shapes |= norm_shapes(f"norm{stage}", width)
        # After the last stage it reaches nothing; the published files, of four stages, have it.
        if controlled and not (last and stages < 4):
            for part in "wb":
                outputs = width if last else 2 * width
                shapes |= linear_shapes(f"semantic_embed_{part}.{stage}", 2, outputs)
    size = WIDTH << (stages - 1)
    named = {f"base.{name}": shape for name, shape in shapes.items()}
    named |= norm_shapes("bottleneck", size) | {"classifier.weight": (CLASSES, size)}
    named |= {f"bottleneck.running_{part}": (size,) for part in ("mean", "var")}
    named["bottleneck.num_batches_tracked"] = ()
    tensors = {name: draw(name, shape) for name, shape in named.items()}
    for name in named:
        if name.endswith("relative_position_bias_table"):
            tensors[name.replace("bias_table", "index")] = window_index()
    return tensors


class Definition:
    """The network of a state dict, once more: NumPy, float64, window by window."""

    def __init__(self, file, weight):
        self.tensors = {
            name.removeprefix("base."): value.astype(np.float64) for name, value in file.items()
        }
        self.weight = weight

    def linear(self, x, name):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + 1e-5)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def window(self, x, name, heads, apart):
        """Attention among the 49 tokens of a window, [49,C]; `apart` [49,49] is masked."""
        size = x.shape[-1] // heads
        query, key, value = np.split(self.linear(x, f"{name}.qkv"), 3, -1)
        table = self.tensors[f"{name}.relative_position_bias_table"]
        mixed = []
        for head in range(heads):
            at = slice(size * head, size * (head + 1))
            scores = query[:, at] @ key[:, at].T * size**-0.5 + table[window_index(), head]
            scores = np.exp(np.where(apart, scores - 100, scores))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[:, at])
        return self.linear(np.concatenate(mixed, -1), f"{name}.proj")

    def attention(self, x, name, heads, shift):
        """One image [H,W,C]; which tokens a roll made neighbours is told by where they were."""
        H, W, C = x.shape
        rows, columns = 7 * math.ceil(H / 7), 7 * math.ceil(W / 7)
        padded = np.zeros((rows, columns, C))
        padded[:H, :W] = x
        result = np.zeros_like(padded)
        for top in range(0, rows, 7):
            for left in range(0, columns, 7):
                down, across = np.arange(top, top + 7) + shift, np.arange(left, left + 7) + shift
                # Came round: past the edge, where the roll takes from the other side.
                region = 2 * (down >= rows)[:, None] + (across >= columns)[None]
                at = np.ix_(down % rows, across % columns)
                apart = region.ravel()[:, None] != region.ravel()[None]
                tokens = padded[at].reshape(49, C)
                result[at] = self.window(tokens, name, heads, apart).reshape(7, 7, C)
        return result[:H, :W]

    def block(self, x, name, heads, shift):
        y = self.norm(x, f"{name}.norm1")
        x = x + np.stack([self.attention(one, f"{name}.attn.w_msa", heads, shift) for one in y])
        y = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.ffn.layers.0.0")
        y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
        return x + self.linear(y, f"{name}.ffn.layers.1")

    def merged(self, x, name):
        B, H, W, C = x.shape
        y = np.empty((B, H // 2, W // 2, 4 * C))
        for channel in range(C):
            for down in range(2):
                for across in range(2):
                    place = 4 * channel + 2 * down + across
                    y[..., place] = x[:, down::2, across::2, channel]
        return self.norm(y, f"{name}.norm") @ self.tensors[f"{name}.reduction.weight"].T

    def controlled(self, x, stage):
        mix = np.array([self.weight, 1 - self.weight])
        factor = np.log1p(np.exp(self.linear(mix, f"semantic_embed_w.{stage}")))
        return x * factor + self.linear(mix, f"semantic_embed_b.{stage}")

    def __call__(self, pixels, stages=2):
        x = (pixels - 0.5) / 0.5
        B, H, W, _ = x.shape
        x = x.reshape(B, H // 4, 4, W // 4, 4, 3)
        weight = self.tensors["patch_embed.projection.weight"]
        x = np.einsum("bhiwjc,kcij->bhwk", x, weight) + self.tensors["patch_embed.projection.bias"]
        x = self.norm(x, "patch_embed.norm")
        for stage in range(stages):
            for block in range(2):
                name = f"stages.{stage}.blocks.{block}"
                x = self.block(x, name, 2 << stage, 3 if block else 0)
            if stage < stages - 1:
                x = self.merged(x, f"stages.{stage}.downsample")
                x = x if self.weight is None else self.controlled(x, stage)
        return self.norm(x, f"norm{stages - 1}").mean((1, 2))


@pytest.mark.parametrize("weight", [0.2, None])
def test_the_network_is_its_definition(weight):
    """Maps of 16x10 and 8x5: padded both ways, and one window wide at the end."""
    file = state_dict(controlled=weight is not None)
    model = weights.from_state_dict(file, semantic_weight=weight)
    x = images(2, 64, 40, 3)
    expected = Definition(file, weight)(x.astype(np.float64))
    assert per_image(features(model, x), expected) < 1e-5


def test_what_the_published_networks_have_is_read_off():
    file = state_dict(stages=4)
    config = weights.from_state_dict(file, semantic_weight=0.2).config
    assert config.backbone == models.SwinConfig(
        width=WIDTH, depths=(2, 2, 2, 2), heads=(2, 4, 8, 16), semantic_weight=0.2
    )
    assert (config.head, config.classes, config.neck_feature) == ("classification", 5, "before")
    assert config.mean == config.std == (0.5, 0.5, 0.5)
    assert config.size == (384, 128)
    assert (config.pipeline.unit_length, config.pipeline.distance) == (True, "euclidean")


def test_the_semantic_weight_is_asked_for():
    with pytest.raises(InputError, match=r"--semantic-weight 0.2 .*100 %.*20 %"):
        weights.from_state_dict(state_dict())
    with pytest.raises(InputError, match="no semantic control"):
        weights.from_state_dict(state_dict(controlled=False), semantic_weight=0.2)


def test_another_index_of_positions_is_refused():
    file = state_dict(controlled=False)
    name = "base.stages.1.blocks.0.attn.w_msa.relative_position_index"
    file[name] = file[name].T
    with pytest.raises(InputError, match=rf"{name} has other values"):
        weights.from_state_dict(file)
    del file[name]
    weights.from_state_dict(file)


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        (("base.", ""), "does not begin with 'base.'.*pretrains"),
        (("base.", "backbone."), "does not begin with 'base.'.*pretrains"),
        (("base.stages.", "base.layers."), "by position"),
    ],
)
def test_swin_transformers_that_are_not_solider_reids_are_refused(renamed, message):
    file = {name.replace(*renamed): value for name, value in state_dict().items()}
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(file, semantic_weight=0.2)


@pytest.mark.slow
def test_what_is_loaded_is_written_frozen_and_computed_in_half_precision(tmp_path):
    file = state_dict(stages=4)
    model = weights.from_state_dict(file, semantic_weight=0.2)
    written = weights.to_state_dict(model)
    assert set(file) - set(written) == {name for name in file if name.startswith(UNUSED)}
    for name, value in written.items():
        np.testing.assert_array_equal(value, file[name], err_msg=name)
    weights.save(model, tmp_path / "x.safetensors")
    assert weights.load(tmp_path / "x.safetensors").config == model.config
    small = weights.from_state_dict(state_dict(), semantic_weight=0.2)
    half = weights.from_state_dict(state_dict(), dtype=jnp.bfloat16, semantic_weight=0.2)
    check_frozen_and_half_precision(small, half, images(2, 64, 40, 3))


@pytest.mark.slow
def test_everything_that_computes_the_logits_learns():
    shape = models.SwinConfig(width=8, depths=(2, 2), heads=(1, 2), semantic_weight=0.2)
    model = drawn(shape, classes=3)
    x, labels = images(4, 32, 16, 3), np.array([0, 1, 2, 0])
    assert unmoved_by_logits(model, x, labels) == []


def test_sizes_that_do_not_halve_are_refused():
    shape = models.SwinConfig(width=8, depths=(1, 1), heads=(1, 1))
    model = drawn(shape, head="none")
    with pytest.raises(InputError, match=r"multiples of 8 pixels, got \(36, 64\)"):
        model(jnp.zeros((1, 36, 64, 3)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": (5, 6, 12, 24)}, "5 heads do not divide"),
        ({"heads": (3, 6)}, "heads for each"),
        ({"depths": (2, 2, 1000, 2)}, "at most 256"),
        ({"window": 0}, "integers from 1"),
        ({"window": 65}, "at most 64 x 64"),
        ({"semantic_weight": 1.5}, r"in \[0, 1\]"),
        ({"semantic_weight": float("nan")}, r"in \[0, 1\]"),
    ],
)
def test_bad_shapes_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        models.SwinConfig(**fields)
