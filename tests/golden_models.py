"""Outputs of other projects' own networks, and how far ours are from them.

Also for `benchmarks/golden_models.py`, which makes the table of docs/models.md.

`golden/models/NAME.npz` and `golden/models/keys/NAME.txt` were computed with the projects' code in
float64, for weights by recipe (`draw`). CONTRIBUTING.md says what the arrays are.
"""

import json
import re
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxreid.models import weights

_SMALL = ("pos_embed", "cls_token", "class_embedding", "positional_embedding", "sie_embed")
_SMALL += ("cv_embed", "cls_ctx", "token_prefix", "token_suffix")
_IMAGENET = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}
_FLAT_ATTENTION = ("attnpool.q_proj.weight", "attnpool.k_proj.weight")


def draw(name, shape, seed=2020, norm_gain=1.0):
    """A tensor of a state dict by its name; a buffer of indices must come from elsewhere."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_mean":
        value = rng.normal(0, 0.1, shape)
    elif last == "running_var":
        value = rng.uniform(0.5, 1.5, shape)
    elif last in _SMALL:
        value = rng.normal(0, 0.02, shape)
    elif last in _IMAGENET:
        value = 255 * np.array(_IMAGENET[last]).reshape(shape)
    elif last == "p":
        value = 3 + rng.uniform(0, 0.5, shape)
    elif name.endswith(_FLAT_ATTENTION):
        value = 8 * rng.normal(0, np.sqrt(1 / shape[1]), shape)
    elif len(shape) == 4:
        value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif len(shape) == 2:
        value = rng.normal(0, np.sqrt(1 / shape[1]), shape)
    elif last == "weight":
        value = rng.uniform(0.2, 0.6, shape) * norm_gain
    else:
        value = rng.normal(0, 0.05, shape)
    return value.astype(np.float32)


def window_index(side=7):
    """Swin's relative_position_index: (dy + 6) * 13 + dx + 6, query minus key."""
    rows, columns = np.divmod(np.arange(side * side), side)
    down, across = rows[:, None] - rows, columns[:, None] - columns
    return (down + side - 1) * (2 * side - 1) + across + side - 1


class GoldenModel:
    """The numbers of one network: `meta`, its state dict, images, expected outputs."""

    def __init__(self, golden: Path, name: str) -> None:
        self.name = name
        with np.load(golden / "models" / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file}
        self.meta = json.loads(str(self.arrays["meta"]))
        text = (golden / "models" / "keys" / f"{name}.txt").read_text()
        self.shapes = {
            match[1]: tuple(int(side) for side in re.findall(r"\d+", match[2]))
            for match in re.finditer(r"^(\S+) \(([\d,]*)\)", text, re.MULTILINE)
        }

    def state_dict(self, seed=2020):
        gain = self.meta["norm_gain"]
        return {
            name: window_index()
            if name.endswith("relative_position_index")
            else draw(name, shape, seed, gain)
            for name, shape in self.shapes.items()
        }

    @property
    def cameras(self):
        return self.arrays.get("cameras")

    @property
    def choices(self):
        """What no tensor says and the project's configuration does."""
        named = {"sie_coe": "sie_factor", "semantic_weight": "semantic_weight"}
        given = {ours: self.meta.get(theirs) for theirs, ours in named.items()}
        return {name: value for name, value in given.items() if value is not None}

    def images(self, kind):
        """Noise or block images, float64 [2,H,W,3] in [0, 1]."""
        height, width = self.meta["input"]
        if kind == "noise":
            rng = np.random.default_rng(2020)
            pixels = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        else:
            rng = np.random.default_rng(2021)
            pixels = rng.integers(0, 256, (2, 16, 8, 3), dtype=np.uint8)
            pixels = pixels.repeat(height // 16, 1).repeat(width // 8, 2)
        return pixels / 255

    def load(self, *, dtype=jnp.float32, **options):
        """The network that its state dict gives; float64 under jax_enable_x64."""
        wide = dtype == jnp.float64
        tensors = {
            name: value.astype(np.float64) if wide and value.dtype == np.float32 else value
            for name, value in self.state_dict().items()
        }
        return weights.from_state_dict(tensors, dtype=dtype, **self.choices | options)


def names_of(golden=Path(__file__).parent / "golden"):
    """Names of all networks that there are."""
    return sorted(path.stem for path in (golden / "models").glob("*.npz"))


def per_image(got, expected):
    """max|got - expected| / max|expected| of each row, the larger."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return float((np.abs(got - expected).max(1) / np.abs(expected).max(1)).max())


def sides(model, x, cameras):
    """The feature of images [B,H,W,3], and what is on the other side of the neck."""
    head, seen = model.head, []

    def watched(pooled, statistics):
        seen.append(pooled)
        return head(pooled, statistics)

    model.head = watched
    feature = model(x, cameras=cameras).features
    if not getattr(head, "before", False):
        return feature, seen[0]
    head.before = False
    return feature, head(seen[0], "running").features


def feature_errors(model, expected: GoldenModel, *, kinds=("noise", "blocks"), dtype=np.float32):
    """Largest relative errors of features, and on the other side of the neck, by kind of image."""
    cameras = None if expected.cameras is None else jnp.asarray(expected.cameras)
    # As an argument: weights that are constants are copied into the program.
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, x: sides(nnx.merge(graph, state), x, cameras))
    other = "pooled" if "pooled" in expected.arrays else "feature_after_bn"
    errors = {}
    for kind in kinds:
        ending = {"noise": "", "blocks": "_blocks"}[kind]
        found = run(state, expected.images(kind).astype(dtype))
        for label, name, got in zip(("", "neck, "), ("feature", other), found, strict=True):
            # Of MGN, what is pooled is too large for blocks as well.
            if name + ending in expected.arrays:
                errors[label + kind] = per_image(got, expected.arrays[name + ending])
    return errors


def gradient_errors(model, expected: GoldenModel, *, dtype=np.float32):
    """Relative errors of the gradient of sum (feature - 1)^2 to the first noise image's pixels."""
    arrays = expected.arrays
    cameras = None if expected.cameras is None else jnp.asarray(expected.cameras[:1])

    graph, state = nnx.split(model)

    @jax.jit
    @jax.value_and_grad
    def loss_of(x, state):
        return jnp.sum((nnx.merge(graph, state)(x, cameras=cameras).features - 1) ** 2)

    loss, gradient = loss_of(jnp.asarray(expected.images("noise")[:1].astype(dtype)), state)
    gradient = np.asarray(gradient[0], np.float64)
    height, width, _ = gradient.shape
    cells = gradient.reshape(16, height // 16, 8, width // 8, 3).mean((1, 3))
    places = tuple(arrays["gradient_pixels"].T)
    signs = [np.random.default_rng([12, i]).choice([-1.0, 1.0], gradient.shape) for i in range(4)]
    dots = np.array([np.sum(gradient * sign) for sign in signs])
    norm, largest, _ = arrays["gradient_norms"]
    return {
        "loss": abs(float(loss) - float(arrays["loss"])) / abs(float(arrays["loss"])),
        "cells": np.abs(cells - arrays["gradient_blocks"]).max()
        / np.abs(arrays["gradient_blocks"]).max(),
        "pixels": np.abs(gradient[places] - arrays["gradient_values"]).max() / largest,
        "norm": abs(np.linalg.norm(gradient) - norm) / norm,
        # A sum of signs grows as the norm does.
        "dots": np.abs(dots - arrays["gradient_dots"]).max() / norm,
    }


def narrow(golden, name, seed=7):
    """The names of a network of fast-reid, with a sixteenth of its channels and 5 classes."""
    sides = {751: 5, **{2**power: max(1, 2**power // 16) for power in range(5, 12)}}
    shapes = GoldenModel(golden, f"fastreid_{name}").shapes
    return {
        tensor: draw(tensor, tuple(sides.get(side, side) for side in shape), seed)
        for tensor, shape in shapes.items()
    }
