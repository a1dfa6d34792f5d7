"""Any PyTorch module inside JAX: its own features and gradients, by either route."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_modules import SIZE, Conv, drawn, made, wrapped

from jaxreid import attacks
from jaxreid.errors import InputError
from jaxreid.evaluation.embeds import as_pytree, carries_arrays, features_of_rows, mirrored
from jaxreid.models import from_torch
from jaxreid.random import example_keys
from jaxreid.sharding import over_rows, replicated, row_mesh

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


class Branching(Conv):
    """Writes into its input, and goes where the data say."""

    def forward(self, x):
        x -= 0.25
        x = self.norm(self.conv(x))
        x[:, :2] *= 2
        return (x * 3 if x.mean() > 0 else torch.tanh(x)).mean((2, 3))


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class StraightThrough(Conv):
    """A derivative of its own, which a translation cannot know."""

    def forward(self, x):
        return super().forward(Rounding.apply(x))


class Blind(Conv):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Overwriting(Conv):
    """Writes over what its own backward pass needs."""

    def forward(self, x):
        x = self.map(x)
        x *= 2
        return x.mean((2, 3))


class Random(Conv):
    def forward(self, x):
        return torch.nn.functional.dropout(super().forward(x), 0.5, training=True)


class Several(Conv):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        return self.form(self.map(x))


class Mixing(Conv):
    """Features that depend on the other images of the batch."""

    def forward(self, x):
        features = super().forward(x)
        return features - features.mean(0)


def by_torch(module, images):
    """Features, and the gradient of the sum of their squares."""
    leaf = torch.from_numpy(images).requires_grad_()
    found = copy.deepcopy(module).eval()(leaf.permute(0, 3, 1, 2).clone())
    (found**2).sum().backward()
    return found.detach().numpy(), leaf.grad.numpy()


def squares(embed):
    return lambda images: jnp.sum(embed(images) ** 2)


@pytest.fixture(scope="module")
def branching():
    module = made(Branching)
    return module, wrapped(module)


def test_features_and_gradients_are_those_of_torch(branching):
    module, embed = branching
    images = drawn(3)
    features, gradient = by_torch(module, images)
    for run in (embed, jax.jit(embed)):
        np.testing.assert_allclose(run(images), features, rtol=1e-5, atol=1e-7)
    for run in (jax.grad(squares(embed)), jax.jit(jax.grad(squares(embed)))):
        np.testing.assert_allclose(run(images), gradient, rtol=1e-5, atol=1e-8)
    assert embed.parity.features < 1e-6
    assert embed.parity.gradients < 1e-6


def test_the_module_stays_as_it_was(branching):
    module = made(Branching)
    module.norm.eval()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    wrapped(module)(drawn(2))
    assert torch.equal(torch.rand(2), expected)  # nobody else's random numbers
    assert module.training
    assert not module.norm.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_images_are_not_written_to(branching):
    _, embed = branching
    images = jnp.asarray(drawn(2))
    before = np.array(images)
    jax.block_until_ready(jax.jit(embed)(images))
    np.testing.assert_array_equal(images, before)


def test_maps_scans_and_devices_give_the_same(branching):
    module, embed = branching
    images = drawn(8)
    features, gradient = by_torch(module, images[:1])
    one = jax.grad(lambda image: squares(embed)(image[None]))
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(images[:1]), gradient, rtol=1e-4, atol=1e-8)
    alone = np.concatenate([embed(image[None]) for image in images])
    np.testing.assert_allclose(alone[:1], features, rtol=1e-5, atol=1e-7)

    def step(_, image):
        return None, embed(image[None])[0]

    np.testing.assert_allclose(jax.lax.scan(step, None, images)[1], alone, rtol=1e-5, atol=1e-7)


def test_rows_over_several_devices():
    """Also as an embedding made of it; equal to one device."""
    module = made(Conv)
    images = drawn(8)
    expected = by_torch(module, images)[0]
    embed = wrapped(module)
    mesh = row_mesh()
    assert mesh.size > 1
    run = over_rows(features_of_rows, mesh)
    found = run(replicated(as_pytree(embed), mesh), images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    both = 0.5 * (expected + by_torch(module, np.ascontiguousarray(images[:, :, ::-1]))[0])
    found = run(replicated(as_pytree(mirrored(embed)), mesh), images)
    np.testing.assert_allclose(found, both, rtol=1e-5, atol=1e-7)


def test_large_batches_in_a_scan_on_all_devices_come_to_an_end():
    """Callbacks whose operands JAX copies by its own threads wait for each other for ever."""
    embed = wrapped(made(Conv), size=(128, 64))
    mesh = row_mesh()
    ascend = jax.grad(lambda x: jnp.sum(embed(x) ** 2))

    def climbed(_, x):
        return jax.lax.scan(lambda x, _: (x + ascend(x), None), x, None, length=5)[0]

    images = np.zeros((32, 128, 64, 3), np.float32)
    found = np.asarray(over_rows(climbed, mesh)(None, images))
    np.testing.assert_array_equal(found, found[:1].repeat(32, 0))
    assert found.any()


def test_an_attack_runs_on_it(branching):
    _, embed = branching
    images = drawn(2)
    keys = example_keys(jax.random.key(0), np.arange(2))
    found = jax.jit(lambda images, keys: attacks.sma(embed, images, keys, eps=5 / 255, steps=3))(
        images, keys
    )
    distance = np.abs(found - images).max()
    assert 0 < distance <= 5 / 255 + 1e-6
    moved = np.linalg.norm(embed(found) - embed(images), axis=1)
    noise = np.linalg.norm(embed(np.clip(images + 2 / 255, 0, 1)) - embed(images), axis=1)
    assert (moved > noise).all()


def test_second_derivatives_are_refused(branching):
    _, embed = branching
    gradient = jax.grad(squares(embed))
    with pytest.raises(InputError, match=r"Branching .* first derivatives only"):
        jax.grad(lambda x: jnp.sum(gradient(x) ** 2))(drawn(1))


def test_rows_that_depend_on_each_other_are_mapped_one_by_one():
    embed = wrapped(made(Mixing))
    images = drawn(4).reshape(2, 2, *SIZE, 3)
    expected = np.stack([embed(pair) for pair in images])
    np.testing.assert_allclose(jax.vmap(embed)(images), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Random, r"forward pass of Random is random.*`randomised` of jaxreid audit.*EOT"),
        (Overwriting, "backward pass of Overwriting failed: RuntimeError: one of the variables"),
        (Blind, "no gradient goes from the features of Blind.*torch.no_grad"),
    ],
)
def test_what_cannot_be_attacked_is_refused(kind, message):
    with pytest.raises(InputError, match=message):
        wrapped(made(kind))


def test_the_pixels_are_those_of_its_pipeline():
    module = made(Conv)
    images = drawn(2)
    embed = wrapped(module, mean=(1, 2, 3), std=(4, 5, 6), scale=255, colours="bgr")
    prepared = ((255 * images[..., ::-1] - [1, 2, 3]) / [4, 5, 6]).astype(np.float32)
    expected = by_torch(module, prepared)[0]
    np.testing.assert_allclose(embed(images), expected, rtol=1e-4, atol=1e-6)
    assert str(embed.inputs) == ("BGR [B,3,H,W], (255 x - (1, 2, 3)) / (4, 5, 6), x in [0, 1]")


def test_channels_may_come_last():
    module = made(Several, lambda x: x.mean((2, 3)))
    last = torch.nn.Module()
    last.forward = lambda x: copy.deepcopy(module).eval()(x.permute(0, 3, 1, 2))
    images = drawn(2)
    found = wrapped(last, channels_first=False)(images)
    np.testing.assert_allclose(found, by_torch(module, images)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda x: (x, x.mean((2, 3))), 1),
        (lambda x: {"map": x, "feature": x.mean((2, 3))}, "feature"),
        (lambda x: x.mean((2, 3), keepdim=True), None),
    ],
)
def test_the_feature_is_chosen(form, output):
    images = drawn(2)
    embed = wrapped(made(Several, form), output=output)
    np.testing.assert_allclose(embed(images), by_torch(made(Conv), images)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("form", "output", "message"),
    [
        (lambda x: (x, x), None, r"tuple of 2 \(a tensor.*choose one by output=0 or 1"),
        (lambda x: {"a": x}, None, "choose one by output='a'"),
        (lambda x: {"feature": x}, "features", "no 'features'.*did you mean 'feature'"),
        (lambda x: (x,), 3, "no 3; it gives a tuple of 1"),
        (lambda x: x, 0, r"no 0; it gives a tensor \[2, 4, 8, 4\]"),
        (lambda x: x, None, r"tensor \[2, 4, 8, 4\] for 2 images.*pool the map"),
        (lambda x: x.mean(), None, r"tensor \[\] for 2 images"),
        (lambda x: x.mean((2, 3)).argmax(1, keepdim=True), None, "gives torch.int64"),
        (lambda x: "no", None, "gives a str"),
        (lambda x: 1 / 0, None, "failed on inputs .2, 3, 16, 8.: ZeroDivisionError"),
        (lambda x: x.mean((2, 3)) / 0, None, "gives NaN or infinity"),
    ],
)
def test_another_output_is_named(form, output, message):
    with pytest.raises(InputError, match=message):
        wrapped(made(Several, form), output=output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (1, 2)}, "mean needs three numbers"),
        ({"std": (1, 0, 1)}, "std needs three numbers.*above 0"),
        ({"scale": 0}, "scale must be above 0"),
        ({"mean": (123, 116, 103)}, r"mean \(123, 116, 103\) is no mean of pixels in \[0, 1\]"),
        ({"colours": "gbr"}, "colours must be one of"),
        ({"route": "jax"}, "route must be one of"),
        ({"images": np.zeros((2, 16, 8, 3), np.uint8)}, "images: expected .*uint8"),
        ({"images": np.full((2, 16, 8, 3), 2.0)}, r"images: expected values in \[0, 1\]"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        wrapped(made(Conv), **options)


def test_what_is_no_module_is_refused():
    with pytest.raises(InputError, match=r"expected a torch.nn.Module, got a function"):
        from_torch(lambda x: x)


def test_the_outcome_is_said(capsys):
    from_torch(made(Conv), size=SIZE, route="callback")
    inputs, parity = capsys.readouterr().out.splitlines()
    assert inputs == "Conv: RGB [B,3,H,W], x, not normalised, x in [0, 1]"
    assert parity.startswith("Conv: by callbacks into PyTorch (asked for); on 2 images of 16x8, ")


@pytest.fixture(scope="module")
def torchax():
    return pytest.importorskip("torchax")


@pytest.mark.usefixtures("torchax")
class TestByTorchax:
    def test_features_and_gradients_are_those_of_torch(self):
        module, images = made(Conv), drawn(4)
        embed = wrapped(module, route="torchax")
        features, gradient = by_torch(module, images)
        np.testing.assert_allclose(jax.jit(embed)(images), features, rtol=1e-5, atol=1e-7)
        found = jax.jit(jax.grad(squares(embed)))(images)
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-8)
        mesh = row_mesh()
        rows = over_rows(features_of_rows, mesh)(replicated(as_pytree(embed), mesh), images)
        np.testing.assert_allclose(rows, features, rtol=1e-5, atol=1e-7)

    def test_the_weights_are_inputs_of_the_program(self):
        embed = wrapped(made(Conv), route="torchax")
        assert {leaf.shape for leaf in jax.tree.leaves(embed)} >= {(4, 3, 3, 3)}
        assert carries_arrays(embed)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [(Branching, "torchax cannot trace it: "), (StraightThrough, "by torchax .* gradients by")],
    )
    def test_what_it_cannot_translate_is_called_back(self, kind, reason):
        module, images = made(kind), drawn(2)
        embed = wrapped(module, route="auto")
        assert embed.parity.route == "callback"
        gradient = jax.grad(squares(embed))(images)
        np.testing.assert_allclose(gradient, by_torch(module, images)[1], rtol=1e-4, atol=1e-7)
        with pytest.raises(InputError, match=f"{kind.__name__} cannot go by torchax: {reason}"):
            wrapped(module, route="torchax")
