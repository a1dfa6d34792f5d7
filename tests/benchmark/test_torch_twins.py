"""PyTorch's networks that ours are timed beside compute the same features and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import images

from jaxreid.models import OSNetConfig, ResNetConfig, create, embedding
from jaxreid.models.clip_resnet import CLIPResNetConfig
from jaxreid.models.clip_vit import CLIPViTConfig
from jaxreid.models.jpm import JPMConfig
from jaxreid.models.kinds import KINDS, kind_of
from jaxreid.models.mgn import MGNConfig
from jaxreid.models.swin import SwinConfig
from jaxreid.models.vit import ViTConfig

pytestmark = pytest.mark.torch

_SMALL = {"depths": (2, 2), "widths": (4, 8), "stem_width": 8}
_SIZE = {"image_size": (48, 32)}
_VIT = {"width": 16, "depth": 2, "heads": 2, **_SIZE}
_OSNET = (8, 64, 64, 128)
_BATCH = ("batch",)
CONFIGS = {
    "bottlenecks": ResNetConfig(**_SMALL),
    "basic blocks": ResNetConfig(block="basic", **_SMALL, last_stride=1, pool="ceil"),
    "patches": ResNetConfig(**_SMALL, stem="patch", stem_relu=False),
    "ibn, non-local, gem": ResNetConfig(
        **_SMALL, ibn=True, non_local=(1, 2), pooling="gem-learnt", last_stride=1
    ),
    "gem": ResNetConfig(**_SMALL, pooling="gem"),
    "silu": ResNetConfig(**_SMALL, activation="silu"),
    "silu, basic blocks": ResNetConfig(block="basic", **_SMALL, stem="patch", activation="silu"),
    "mgn": MGNConfig(depths=(1, 2, 2, 1), widths=(4, 4, 8, 8), stem_width=8, ibn=True),
    "mgn, padded": MGNConfig((1, 1, 3, 2), (4, 4, 8, 8), 4, 8, "padded", pooling="average"),
    "vit": ViTConfig(**_VIT),
    "vit, overlapping": ViTConfig(**_VIT, stride=12, cameras=3, sie_factor=3.0),
    "vit, transreid": ViTConfig(**_VIT, mlp_ratio=3, qkv_bias=False, scale=16**-0.5),
    "vit, convolutional": ViTConfig(**_VIT, stem="convolutional", stem_width=8),
    "jpm": JPMConfig(**_VIT | {"image_size": (64, 48)}, stride=11),
    "jpm, odd": JPMConfig(**_VIT | {"image_size": (48, 48)}, cameras=2, sie_factor=3.0),
    "clip_vit": CLIPViTConfig(**_VIT, outputs=12, cameras=3),
    "clip_vit, overlapping": CLIPViTConfig(**_VIT, stride=12),
    "clip_resnet": CLIPResNetConfig(4, (1, 2, 1, 2), 4, 24, (48, 32)),
    "osnet": OSNetConfig(_OSNET, blocks=(_BATCH * 2, _BATCH, _BATCH)),
    "osnet_ibn": OSNetConfig(_OSNET, "instance", (("after", "batch"), _BATCH, _BATCH)),
    "osnet_ain": OSNetConfig(_OSNET, "instance", (("inside",), ("batch", "inside"), _BATCH)),
    "swin": SwinConfig(8, (2, 2), (2, 4), window=3),
    "swin, solider": SwinConfig(8, (2, 1, 2), (2, 4, 4), 4, semantic_weight=0.2),
}


def network_of(config, head):
    """A network whose parameters and statistics are not those of a fresh one."""
    model = create(config, head=head, dimensions=6, dtype=jnp.float64, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    state = nnx.state(model)
    for path, variable in nnx.to_flat_state(state):
        last, shape = path[-1], variable.shape
        if last == "p":
            value = rng.uniform(2.5, 3.5, shape)
        elif last in ("var", "scale"):
            value = rng.uniform(0.5, 1.5, shape)
        elif last == "kernel":
            value = rng.normal(0, np.sqrt(1 / np.prod(shape[:-1])), shape)
        else:
            value = rng.normal(0, 0.3, shape)
        variable[...] = jnp.asarray(value, jnp.float32)
    nnx.update(model, state)
    return model


# The others have little that these have not.
FAST = {"ibn, non-local, gem", "silu", "vit, overlapping", "vit, convolutional", "jpm, odd"}
FAST |= {"clip_vit", "clip_resnet", "swin, solider"}
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]


@pytest.mark.parametrize("name", NAMES)
def test_features_and_gradients_are_ours(name):
    with jax.enable_x64(True):
        compare(CONFIGS[name])


def test_the_layer_behind_pooling_is_ours():
    """As resnet50_fc512 has it."""
    with jax.enable_x64(True):
        compare(CONFIGS["bottlenecks"], head="embedding")


def test_cameras_took_the_images_in_turn():
    import torch

    from jaxreid.benchmark.torch_twins.layers import rows_in_turn

    table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rows = rows_in_turn(table, torch.zeros(5, 7))
    assert rows.tolist() == [[1, 2], [3, 4], [5, 6], [1, 2], [3, 4]]


def compare(config, head="none"):
    import torch
    from torch.fx.experimental.optimization import fuse

    from jaxreid.benchmark.torch_twins.conversion import as_torch
    from jaxreid.benchmark.torch_twins.layers import IBN

    model = network_of(config, head)
    x = images(2, *(config.image_size or (48, 32)), 3).astype(np.float64)
    embed = embedding(model).seen_by(np.arange(2) % (config.cameras or 1))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (2, model.config.feature_size))

    @jax.jit
    def run(embed, x):
        features, back = jax.vjp(embed, x)
        return features, back(jnp.asarray(signs))[0]

    expected, slope = run(embed, jnp.asarray(x))
    twin = as_torch(model).double()
    inputs = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    folded = fuse(twin)
    # Of what IBN does to a half of the channels of a convolution torch.fx knows nothing.
    unfolded = [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(unfolded) == sum(isinstance(module, IBN) for module in twin.modules())
    with torch.no_grad():
        assert np.allclose(folded(inputs), twin(inputs), rtol=1e-9, atol=1e-9)
    got = twin(inputs)
    (got * torch.from_numpy(signs)).sum().backward()
    assert np.abs(expected).max() > 1e-2
    for ours, theirs in (
        (expected, got.detach().numpy()),
        (slope, inputs.grad.numpy().transpose(0, 2, 3, 1)),
    ):
        assert ours.shape == theirs.shape
        assert np.abs(theirs - ours).max() < 1e-6 * np.abs(ours).max()


def test_every_kind_has_its_twin():
    from jaxreid.benchmark.torch_twins.conversion import TWINS

    assert set(TWINS) == set(KINDS) == {kind_of(config) for config in CONFIGS.values()}


def test_no_tensor_is_forgotten(monkeypatch):
    from jaxreid.benchmark.torch_twins import conversion

    model = create(CONFIGS["vit"], head="none", rngs=nnx.Rngs(0))
    lost = conversion.weights.to_state_dict(model, layout="jaxreid")
    del lost["backbone.norm.bias"]
    monkeypatch.setattr(conversion.weights, "to_state_dict", lambda *_, **__: lost)
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        conversion.as_torch(model)


def test_a_kind_without_a_twin_is_left_out(monkeypatch):
    from jaxreid.benchmark import rivals
    from jaxreid.benchmark.torch_twins import conversion

    model = create(CONFIGS["vit"], head="none", rngs=nnx.Rngs(0))
    x = images(1, 48, 32, 3)
    problem = rivals.Problem(model, x, None, 0.1, 0.1, 1, "float32")
    found, missing = rivals.installed_rivals(problem, torch_compile=False)
    assert "PyTorch, at its best" in found
    assert "PyTorch" not in missing
    monkeypatch.delitem(conversion.TWINS, "vit")
    found, missing = rivals.installed_rivals(problem, torch_compile=False)
    assert missing["PyTorch"] == "nobody wrote a vision transformer in it here"
    assert not any("PyTorch" in name for name in found)
