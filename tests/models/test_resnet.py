import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import features, images, relative

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("size", [(33, 17), (1, 1)])
def test_sizes_that_the_strides_do_not_divide_run(block, size):
    config = models.ResNetConfig(block, depths=(1, 1), widths=(4, 4), stem_width=4)
    model = models.create(config, head="none", rngs=nnx.Rngs(0))
    assert np.isfinite(features(model, images(1, *size, 3))).all()


def test_last_stride_keeps_the_resolution_of_the_stage_before():
    config = models.ResNetConfig("basic", depths=(1, 1, 1), widths=(4, 4, 4), stem_width=4)
    x = jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32)

    def feature_maps(last_stride):
        def run(x):
            backbone = models.create(
                config, head="none", last_stride=last_stride, rngs=nnx.Rngs(0)
            ).backbone
            x = backbone.layer1[0](backbone.conv1(x)[:, ::2, ::2], "running")
            return backbone.layer3[0](backbone.layer2[0](x, "running"), "running")

        return jax.eval_shape(run, x).shape

    assert feature_maps(2) == (1, 4, 2, 4)
    assert feature_maps(1) == (1, 8, 4, 4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("block", "wide", "block: expected one of"),
        ("depths", (), "stages"),
        ("widths", (64,), "widths: expected one of"),
        ("depths", (1, 1, 1, 0), "integers from 1"),
        ("depths", (1, 1, 1, 999), "at most 256 blocks"),
        ("expansion", 1 << 20, "integers from 1"),
        ("pool", "none", "pool"),
        ("stem", "deep", "stem"),
        ("activation", "gelu", r"activation: expected one of \('relu', 'silu'\), got 'gelu'"),
    ],
)
def test_bad_shapes_are_named(field, value, message):
    with pytest.raises(InputError, match=message):
        models.ResNetConfig(**{field: value})


@pytest.mark.torch
@pytest.mark.parametrize(("name", "size"), [("resnet18", (64, 32)), ("resnet101", (61, 35))])
def test_features_are_pytorchs(name, size):
    import torch
    import torch_networks
    import weight_recipe

    theirs = weight_recipe.redraw(torch_networks.ResNet(models.ARCHITECTURES[name], classes=10))
    x = images(2, *size, 3)
    with torch.no_grad():
        expected = theirs(torch_networks.pixels(x))
    model = weights.from_state_dict(theirs.state_dict())
    assert relative(features(model, x), expected) < 1e-5


@pytest.mark.torch
def test_gradients_of_the_image_are_pytorchs():
    import torch_networks
    import weight_recipe

    config = torch_networks.small(last_stride=1, pool="ceil")
    theirs = weight_recipe.redraw(torch_networks.ResNet(config))
    x = images(2, 40, 24, 3)
    inputs = torch_networks.pixels(x).requires_grad_()
    ((theirs(inputs) - 1) ** 2).sum().backward()
    expected = torch_networks.gradient_of_pixels(inputs)
    graph = nnx.graphdef(models.create(config, head="none", rngs=nnx.Rngs(0)))
    embed = models.embedding(graph, nnx.state(weights.from_state_dict(theirs.state_dict())))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum((embed(x) - 1) ** 2)))(jnp.asarray(x))
    assert relative(gradient, expected) < 1e-4


@pytest.mark.torch
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_ibn_non_local_blocks_and_gem_are_pytorchs(block):
    import torch_networks
    import weight_recipe

    config = models.ResNetConfig(
        block=block,
        depths=(2, 3, 1),
        widths=(8, 8, 16),
        stem_width=8,
        last_stride=1,
        ibn=True,
        non_local=(0, 2, 1),
        pooling="gem-learnt",
    )
    theirs = weight_recipe.redraw(torch_networks.ResNet(config))
    theirs.pool_layer.p.data += 3.2
    model = weights.from_state_dict(theirs.state_dict(), last_stride=1)
    assert model.config.backbone == dataclasses.replace(config, expansion=4)
    x = images(2, 48, 24, 3)
    inputs = torch_networks.pixels(x).requires_grad_()
    expected = theirs(inputs)
    ((expected - 1) ** 2).sum().backward()
    for embed in (models.embedding(model), models.embedding(model).frozen("cpu")):
        run = jax.jit(jax.value_and_grad(lambda x: jnp.sum((embed(x) - 1) ** 2)))  # noqa: B023
        loss, gradient = run(jnp.asarray(x))
        np.testing.assert_allclose(loss, float(((expected - 1) ** 2).sum().detach()), rtol=1e-5)
        assert relative(gradient, torch_networks.gradient_of_pixels(inputs)) < 1e-4
    assert relative(features(model, x), expected.detach()) < 1e-5


@pytest.mark.torch
@pytest.mark.parametrize("ibn", [False, True])
def test_one_training_step_is_pytorchs(ibn):
    import torch
    import torch_networks
    import weight_recipe

    shape = torch_networks.small(block="basic", ibn=ibn)
    theirs = weight_recipe.redraw(torch_networks.ResNet(shape))
    x = images(4, 32, 16, 3)
    model = weights.from_state_dict(theirs.state_dict())
    theirs.train()
    loss = (theirs(torch_networks.pixels(x)) ** 2).sum()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01)
    loss.backward()
    optimizer.step()
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)

    @jax.jit
    def step(params, stats):
        def loss(params):
            net = nnx.merge(graph, params, stats, copy=True)
            features = net(jnp.asarray(x), batch_norm="batch").features
            return jnp.sum(features**2), nnx.state(net, nnx.BatchStat)

        gradient, after = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), after

    params, stats = step(params, stats)
    ours = weights.to_state_dict(nnx.merge(graph, params, stats))
    for name, value in theirs.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(ours[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    ("depth", "ibn", "looks"),
    [(depth, ibn, looks) for depth, looks in ((50, 3), (101, 9)) for ibn in (False, True)],
)
def test_agw_and_sbs_have_a_name_to_train_by(depth, ibn, looks):
    """fast-reid's `nl_layers_per_stage`: '50x': [0, 2, 3, 0], '101x': [0, 2, 9, 0]."""
    name = f"resnet{depth}" + "_ibn" * ibn + "_nl"
    depths = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    of_fast_reid = models.ResNetConfig(
        depths=depths,
        ibn=ibn,
        non_local=(0, 2, looks, 0),
        last_stride=1,
        pool="ceil",
        pooling="gem",
    )
    assert models.kinds.architecture_names(of_fast_reid) == [name]
