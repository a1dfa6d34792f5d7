"""TransReID and TransReID-SSL: against a definition in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import draw
from networks import check_frozen_and_half_precision, relative

from jaxreid.models import weights
from jaxreid.models.jpm import JPMConfig, jigsaw
from jaxreid.models.weights.layouts import detect_layout

WIDTH, HIDDEN, CAMERAS, CLASSES = 128, 192, 3, 5


def block_shapes(name):
    return {
        f"{name}.norm1.weight": (WIDTH,),
        f"{name}.norm1.bias": (WIDTH,),
        f"{name}.attn.qkv.weight": (3 * WIDTH, WIDTH),
        f"{name}.attn.qkv.bias": (3 * WIDTH,),
        f"{name}.attn.proj.weight": (WIDTH, WIDTH),
        f"{name}.attn.proj.bias": (WIDTH,),
        f"{name}.norm2.weight": (WIDTH,),
        f"{name}.norm2.bias": (WIDTH,),
        f"{name}.mlp.fc1.weight": (HIDDEN, WIDTH),
        f"{name}.mlp.fc1.bias": (HIDDEN,),
        f"{name}.mlp.fc2.weight": (WIDTH, HIDDEN),
        f"{name}.mlp.fc2.bias": (WIDTH,),
    }


def norm_shapes(name, channels, *, batch=True):
    shapes = {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}
    if batch:
        shapes |= {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
        shapes |= {f"{name}.num_batches_tracked": ()}
    return shapes


def state_dict(positions, *, depth=2, cameras=0, jpm=False, stem=0):
    """A small file with every name of the projects' own."""
    shapes = {"base.cls_token": (1, 1, WIDTH), "base.pos_embed": (1, 1 + positions, WIDTH)}
    if cameras:
        shapes["base.sie_embed"] = (cameras, 1, WIDTH)
    if stem:
        for place, inputs, size in ((0, 3, 7), (3, stem, 3), (6, stem, 3)):
            shapes[f"base.patch_embed.conv.{place}.weight"] = (stem, inputs, size, size)
        for place in (1, 4):
            name = f"base.patch_embed.conv.{place}"
            shapes |= norm_shapes(f"{name}.IN", stem // 2, batch=False)
            shapes |= norm_shapes(f"{name}.BN", stem // 2)
        shapes |= norm_shapes("base.patch_embed.conv.7", stem)
    patch = (stem, 8, 8) if stem else (3, 16, 16)
    shapes["base.patch_embed.proj.weight"] = (WIDTH, *patch)
    shapes["base.patch_embed.proj.bias"] = (WIDTH,)
    blocks = [f"base.blocks.{place}" for place in range(depth)]
    branches = ("b1", "b2") if jpm else ()
    for name in [*blocks, *(f"{branch}.0" for branch in branches)]:
        shapes |= block_shapes(name)
    for name in ["base.norm", *(f"{branch}.1" for branch in branches)]:
        shapes |= norm_shapes(name, WIDTH, batch=False)
    shapes |= {"base.fc.weight": (1000, WIDTH), "base.fc.bias": (1000,)}
    for part in ("", *(("_1", "_2", "_3", "_4") if jpm else ())):
        shapes |= norm_shapes(f"bottleneck{part}", WIDTH)
        shapes[f"classifier{part}.weight"] = (CLASSES, WIDTH)
    return {name: draw(name, shape) for name, shape in shapes.items()}


class Definition:
    """The network of a state dict, once more: NumPy, float64, step by step."""

    def __init__(self, file, *, stride=16, factor=0.0):
        self.tensors = {name: value.astype(np.float64) for name, value in file.items()}
        self.stride, self.factor = stride, factor

    def of(self, name):
        return self.tensors.get(f"{name}.weight"), self.tensors.get(f"{name}.bias")

    def linear(self, x, name):
        weight, bias = self.of(name)
        return x @ weight.T + bias

    def norm(self, x, name, axes=(-1,), epsilon=1e-6):
        weight, bias = self.of(name)
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) / np.sqrt(variance + epsilon) * weight + bias

    def batch_norm(self, x, name):
        weight, bias = self.of(name)
        mean, variance = (self.tensors[f"{name}.running_{part}"] for part in ("mean", "var"))
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    def conv(self, x, name, stride, padding):
        weight, bias = self.of(name)
        size = weight.shape[-1]
        x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
        windows = windows[:, ::stride, ::stride]
        return np.einsum("bhwcij,kcij->bhwk", windows, weight) + (0 if bias is None else bias)

    def block(self, x, name):
        heads = WIDTH // 64
        parts = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        query, key, value = np.split(parts, 3, -1)
        mixed = []
        for head in range(heads):
            at = slice(64 * head, 64 * head + 64)
            scores = query[..., at] @ key[..., at].swapaxes(1, 2) / 8
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[..., at])
        x = x + self.linear(np.concatenate(mixed, -1), f"{name}.attn.proj")
        y = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
        return x + self.linear(y, f"{name}.mlp.fc2")

    def patches(self, x):
        name = "base.patch_embed"
        if f"{name}.conv.0.weight" not in self.tensors:
            return self.conv(x, f"{name}.proj", self.stride, 0)
        for place, stride, padding in ((0, 2, 3), (3, 1, 1), (6, 1, 1)):
            x = self.conv(x, f"{name}.conv.{place}", stride, padding)
            norm = f"{name}.conv.{place + 1}"
            if place < 6:
                half = x.shape[-1] // 2
                by_image = self.norm(x[..., :half], f"{norm}.IN", (1, 2), 1e-5)
                x = np.concatenate([by_image, self.batch_norm(x[..., half:], f"{norm}.BN")], -1)
            else:
                x = self.batch_norm(x, norm)
            x = np.maximum(x, 0)
        return self.conv(x, f"{name}.proj", 8, 0)

    def tokens(self, images, cameras):
        x = self.patches((images - 0.5) / 0.5).reshape(len(images), -1, WIDTH)
        token = np.broadcast_to(self.tensors["base.cls_token"], (len(x), 1, WIDTH))
        x = np.concatenate([token, x], 1) + self.tensors["base.pos_embed"]
        return x if cameras is None else x + self.factor * self.tensors["base.sie_embed"][cameras]

    def __call__(self, images, depth, cameras=None):
        x = self.tokens(images, cameras)
        jpm = "b1.0.norm1.weight" in self.tensors
        for place in range(depth - jpm):
            x = self.block(x, f"base.blocks.{place}")
        if not jpm:
            return self.norm(x, "base.norm")[:, 0]
        features = [self.norm(self.block(x, "b1.0"), "b1.1")[:, 0]]
        for part in dealt_out([x[:, place] for place in range(1, x.shape[1])]):
            local = self.block(np.stack([x[:, 0], *part], 1), "b2.0")
            features.append(self.norm(local, "b2.1")[:, 0] / 4)
        return np.concatenate(features, 1)


def dealt_out(patches):
    """A rotated pack of cards, cut in the middle, riffled, and dealt to four in a row."""
    pack = patches[4:] + patches[:4]
    if len(pack) % 2:
        pack.append(pack[-2])
    half = len(pack) // 2
    riffled = [card for pair in zip(pack[:half], pack[half:], strict=True) for card in pair]
    length = len(patches) // 4
    return [riffled[part * length : (part + 1) * length] for part in range(4)]


@pytest.mark.parametrize("count", [9, 10, 15, 16, 128, 210])
def test_jigsaw_deals_patches_out(count):
    tokens = np.arange(2 * count * 3).reshape(2, count, 3)
    expected = dealt_out([tokens[:, place] for place in range(count)])
    for got, part in zip(jigsaw(jnp.asarray(tokens)), expected, strict=True):
        np.testing.assert_array_equal(got, np.stack(part, 1))


# What stands in the file, and what must be said of it.
SMALL = {
    # 5 x 3 patches, an odd number, of 64x40 pixels: the last four of both directions are not read.
    "jpm": (
        {"positions": 15, "cameras": CAMERAS, "jpm": True},
        {"image_size": (64, 40), "stride": 12, "sie_factor": 3.0}
        # Of 8 or 12 blocks it is known that b1 and b2 replace the last one; two compile quickly.
        | {"allow_unused": ["base.blocks.1.*"]},
    ),
    "sie": (
        {"positions": 8, "cameras": CAMERAS},
        {"image_size": (64, 32), "stride": 16, "sie_factor": 0.5},
    ),
    "ics": ({"positions": 8, "stem": 16}, {"image_size": (64, 32)}),
}


def made(kind):
    file, told = SMALL[kind]
    return state_dict(**file), told


def images_of(told):
    return np.random.default_rng(5).uniform(size=(2, *told["image_size"], 3))


@pytest.mark.parametrize("kind", SMALL)
def test_features_are_those_of_the_definition(kind):
    file, told = made(kind)
    cameras = np.array([2, 0], np.int32) if "sie_factor" in told else None
    definition = Definition(file, stride=told.get("stride"), factor=told.get("sie_factor"))
    expected = definition(images_of(told), 2, cameras)
    with jax.enable_x64(True):
        wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in file.items()}
        model = weights.from_state_dict(wide, dtype=jnp.float64, **told)
        got = jax.jit(lambda x: model(x, cameras=cameras).features)(images_of(told))
    assert relative(got, expected) < 1e-12


@pytest.mark.parametrize(("kind", "depth"), [("jpm", 8), ("sie", 2), ("ics", 2)])
def test_every_tensor_comes_back_but_those_without_use(kind, depth):
    shape, told = SMALL[kind]
    file = state_dict(**shape, depth=depth)
    told = {name: value for name, value in told.items() if name != "allow_unused"}
    model = weights.from_state_dict(file, **told)
    got = weights.to_state_dict(model, layout=detect_layout(file))
    left = set(file) - set(got)
    replaced = (f"base.blocks.{depth - 1}.", "base.norm.")
    unused = ("base.fc.", *(replaced if isinstance(model.config.backbone, JPMConfig) else ()))
    assert left == {name for name in file if name.startswith(unused)}
    for name, value in got.items():
        np.testing.assert_array_equal(value, file[name], err_msg=name)


# The jigsaw network has all that "sie" has.
@pytest.mark.parametrize("kind", ["jpm", pytest.param("sie", marks=pytest.mark.slow), "ics"])
def test_what_is_frozen_is_the_same_and_half_precision_near(kind):
    file, told = made(kind)
    model, half = (
        weights.from_state_dict(file, dtype=dtype, **told) for dtype in (jnp.float32, jnp.bfloat16)
    )
    x = images_of(told).astype(np.float32)
    check_frozen_and_half_precision(model, half, x, cameras=[-1, 0])
