"""Parameters of 16 bits are numbers like others: what is computed with them is not of 16 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import drawn, features_and_slope, images, relative

from jaxreid import models
from jaxreid.models.clip_resnet import CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.jpm import JPMConfig
from jaxreid.models.mgn import MGNConfig
from jaxreid.models.normalization import BatchNorm
from jaxreid.models.osnet import OSNetConfig
from jaxreid.models.swin import SwinConfig

SMALL = {"width": 64, "heads": 1, "image_size": (64, 32)}
CAMERAS = {"cameras": 3, "sie_factor": 1.7}
STAGES = {"depths": (1, 1, 1, 1), "widths": (8, 8, 8, 8), "stem_width": 8, "expansion": 2}
FAMILIES = {
    "residual": models.ResNetConfig(
        **STAGES, ibn=True, non_local=(0, 1, 0, 0), pooling="gem-learnt"
    ),
    "strips": MGNConfig(**STAGES | {"depths": (1, 1, 2, 1)}),
    "osnet": OSNetConfig(widths=(8, 64, 64, 128)),
    "vit": models.ViTConfig(**SMALL, **CAMERAS, depth=2),
    "stem": models.ViTConfig(**SMALL, depth=1, stem="convolutional", stem_width=8),
    "jigsaw": JPMConfig(**SMALL, **CAMERAS, depth=2),
    "clip": CLIPViTConfig(width=64, heads=1, depth=1, outputs=8, image_size=(64, 32), **CAMERAS),
    "clip resnet": CLIPResNetConfig(
        width=8, depths=(1, 1, 1, 1), heads=4, outputs=16, image_size=(64, 32)
    ),
    "swin": SwinConfig(width=8, depths=(2, 2), heads=(1, 2), semantic_weight=0.2),
}


def with_types(model, *, stored):
    """A copy whose numbers are those of float16, kept in a type."""

    def cast(value):
        return jnp.asarray(np.asarray(value).astype(np.float16).astype(stored))

    return nnx.merge(nnx.graphdef(model), jax.tree.map(cast, nnx.state(model)))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_type_in_which_numbers_are_kept_changes_nothing(family, frozen):
    model = drawn(FAMILIES[family], head="none")
    x = images(2, 96 if family == "strips" else 64, 32, 3)
    found = []
    for stored in (np.float16, np.float32):
        embed = models.embedding(with_types(model, stored=stored))
        embed = embed.frozen() if frozen else embed
        embed = embed.seen_by(np.array([0, 2])) if embed.wanted_cameras else embed
        found.append(features_and_slope(embed, x))
    for half, single in zip(*found, strict=True):
        assert half.dtype == np.float32
        assert relative(half, single) < 1e-5


def test_running_statistics_of_16_bits_move_as_their_numbers_do():
    norm = BatchNorm(1)
    half = 0.2998046875  # a number of float16
    norm.mean[...] = jnp.full(1, half, jnp.float16)
    norm(jnp.array([[1.0], [2.0]]), "batch")
    expected = 0.9 * half + 0.1 * 1.5
    np.testing.assert_allclose(norm.mean[...], [expected], rtol=1e-7)
