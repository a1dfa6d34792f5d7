import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import drawn, features, images, relative

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights

TINY = models.ViTConfig(width=64, depth=2, heads=2, patch=8, image_size=(32, 16))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classification", "triplet", "none"])
def test_heads_and_gradients(head):
    model = drawn(TINY, head=head, classes=5)
    embed = models.embedding(model, batch_norm="batch")
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(embed(x) ** 3)))(images(3, 32, 16, 3))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_position_matters():
    model = drawn(TINY, head="none")
    x = images(1, 32, 16, 3)
    swapped = np.concatenate([x[:, 8:16], x[:, :8], x[:, 16:]], axis=1)
    assert not np.allclose(features(model, x), features(model, swapped), atol=1e-3)


def test_other_sizes_are_an_error_that_says_what_to_do():
    model = drawn(TINY, head="none")
    with pytest.raises(InputError, match=r"\(32, 16\).*\(64, 32\); set resize"):
        model(jnp.zeros((1, 64, 32, 3)))


def test_resize_feeds_any_size():
    model = drawn(TINY, head="none", resize=(32, 16))
    assert features(model, images(1, 64, 32, 3)).shape == (1, 64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "5 heads do not divide"),
        ({"depth": 1000}, "at most 256"),
        ({"patch": 0}, "integers from 1"),
        ({"image_size": (8, 8)}, "smaller than a 16 patch"),
    ],
)
def test_bad_shapes_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        models.ViTConfig(**fields)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("width", "depth", "heads", "options"),
    [(384, 12, 6, {}), (128, 2, 2, {"patch": 8, "image_size": (37, 21)})],
    ids=["deit_small", "odd sizes"],
)
def test_features_and_gradients_are_pytorchs(width, depth, heads, options):
    import torch_networks
    import weight_recipe

    from jaxreid.benchmark.torch_twins.vit import ViT

    config = models.ViTConfig(width=width, depth=depth, heads=heads, **options)
    theirs = weight_recipe.redraw(ViT(config, classes=1000))
    size = options.get("image_size", (224, 224))
    x = images(1, *size, 3)
    inputs = torch_networks.pixels(x).requires_grad_()
    expected = theirs(inputs)
    ((expected - 1) ** 2).sum().backward()
    # The number of patches of the odd size is no square, so that it must be told.
    told = {"image_size": size} if options else {"architecture": "deit_small"}
    model = weights.from_state_dict(
        {name: value.numpy() for name, value in theirs.state_dict().items()}, **told
    )
    graph, state = nnx.split(model)

    @jax.jit
    def run(state, x):
        embed = models.embedding(graph, state)
        return embed(x), jax.grad(lambda x: jnp.sum((embed(x) - 1) ** 2))(x)

    got, gradient = run(state, jnp.asarray(x))
    assert relative(got, expected.detach()) < 1e-5
    wanted = torch_networks.gradient_of_pixels(inputs)
    assert relative(gradient, wanted) < 1e-4
