"""What a PyTorch module may do in its forward pass, what is refused, and what is warned of."""

import random
import re
import sys
import threading

import jax
import numpy as np
import pytest
from torch_modules import SIZE, Conv, drawn, made, wrapped

from jaxreid.errors import InputError

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]
torch = pytest.importorskip("torch")


class Changed(Conv):
    """Its features, changed by a function of them."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.own = torch.Generator()

    def forward(self, x):
        return self.change(self, super().forward(x))


class Seeded(Conv):
    def forward(self, x):
        torch.manual_seed(5)
        return super().forward(x + 1e-5 * torch.randn_like(x[0].contiguous()))


class OfTheBatch(Conv):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(4, track_running_stats=False)


class Rounding(Conv):
    def forward(self, x):
        return super().forward((8 * x).round() / 8)


def by_torch(module, images):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize(
    ("change", "source"),
    [
        (lambda _, f: f + 0.0 * torch.randn_like(f), "PyTorch"),
        (lambda _, f: f + 1e-7 * torch.randn_like(f), "PyTorch"),
        (lambda _, f: f * 2 if torch.rand(()) < 1e-6 else f, "PyTorch"),
        (lambda _, f: f * 2 if np.random.random() < 1e-6 else f, "NumPy"),  # noqa: NPY002
        (lambda _, f: f * 2 if random.random() < 1e-6 else f, "Python's random"),
        (lambda m, f: f + 1e-7 * torch.randn(f.shape, generator=m.own), "a torch.Generator"),
    ],
)
@pytest.mark.parametrize("route", ["callback", "auto"])
def test_numbers_drawn_almost_without_effect_are_refused(change, source, route):
    message = rf"Changed draws random numbers \({source}\): 4 passes .*EOT"
    with pytest.raises(InputError, match=message):
        wrapped(made(Changed, change), route=route)


def test_dropout_that_does_nothing_draws_nothing():
    def change(_, features):
        return torch.nn.functional.dropout(features, 0.0, training=True)

    wrapped(made(Changed, change))


def test_the_users_own_sequences_go_on():
    def change(_, features):
        return features * (1 + torch.rand(()) + np.random.random() + random.random())  # noqa: NPY002

    module = made(Changed, change)

    def three(draw=lambda: None):
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        draw()
        return float(torch.rand(())), np.random.random(), random.random()  # noqa: NPY002

    def refused():
        with pytest.raises(InputError, match="Changed is random"):
            wrapped(module)

    assert three(refused) == three()


def test_a_pass_that_ends_the_process_is_refused():
    message = r"Changed failed on inputs \[2, 3, 16, 8\]: SystemExit: 3"
    with pytest.raises(InputError, match=message):
        wrapped(made(Changed, lambda *_: sys.exit(3)))


def _frozen(module):
    return torch.jit.freeze(torch.jit.script(module.eval()))


def _traced(module):
    return torch.jit.trace(module.eval(), torch.zeros(2, 3, *SIZE))


@pytest.mark.parametrize("scripted", [torch.jit.script, _traced, _frozen])
@pytest.mark.parametrize("inside", [False, True])
def test_torchscript_is_called_back(scripted, inside):
    images = drawn(2)
    module = made(Conv)
    expected = by_torch(module, images)
    module = scripted(module.train())
    mode = getattr(module, "training", None)  # a frozen one has none
    needed = [parameter.requires_grad for parameter in module.parameters()]
    embed = wrapped(torch.nn.Sequential(module) if inside else module, route="auto")
    np.testing.assert_allclose(jax.jit(embed)(images), expected, rtol=1e-5, atol=1e-7)
    assert embed.parity.route == "callback"
    assert getattr(module, "training", None) == mode
    assert [parameter.requires_grad for parameter in module.parameters()] == needed


def test_the_name_of_a_scripted_module_is_that_of_its_class(capsys):
    wrapped(torch.jit.script(made(Conv)), report=print)
    assert all(line.startswith("Conv: ") for line in capsys.readouterr().out.splitlines())


def test_features_that_depend_on_batch_mates_are_warned_of(capsys):
    """The number is that of PyTorch: each image alone against the batch."""
    images = drawn(3)
    module = made(OfTheBatch)
    together = by_torch(module, images)
    alone = np.concatenate([by_torch(module, image[None]) for image in images])
    expected = np.max(np.abs(alone - together).max(1) / np.abs(together).max(1))
    assert expected > 0.01
    embed = wrapped(module, images=images, report=print)
    assert embed.parity.batch_mates == pytest.approx(expected, rel=1e-3)
    *_, warning = capsys.readouterr().out.splitlines()
    assert warning.startswith("OfTheBatch: warning: features depend on the other images of a batch")
    assert f"by up to {expected:.2g} of its largest" in warning
    np.testing.assert_allclose(
        jax.vmap(lambda x: embed(x[None])[0])(images), alone, rtol=1e-4, atol=1e-6
    )


def test_a_first_image_that_others_depend_on_is_seen():
    """The first one's own feature is the same alone."""

    def change(_, features):
        return torch.cat([features[:1], features[1:] + features[:1]])

    assert wrapped(made(Changed, change)).parity.batch_mates > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_rounding_is_no_batch_mate(dtype, capsys):
    embed = wrapped(made(Conv).to(getattr(torch, dtype)), report=print, images=drawn(4))
    assert embed.parity.batch_mates == 0
    assert "warning" not in capsys.readouterr().out


def test_a_gradient_of_zero_is_warned_of(capsys):
    embed = wrapped(made(Rounding), report=print)
    gradient = jax.grad(lambda x: (embed(x) ** 2).sum())(drawn(2))
    assert not np.any(gradient)
    assert embed.parity.without_gradient == 2
    *_, warning = capsys.readouterr().out.splitlines()
    assert warning.startswith("Rounding: warning: of 2 images of 16x8, 2 have a gradient of zero")


@pytest.fixture(scope="module")
def environment():
    return pytest.importorskip("torchax").default_env()


class TestByTorchax:
    def test_numbers_drawn_from_a_seed_are_called_back(self, environment):
        """A pass that seeds itself is a function, and torchax would draw other numbers."""
        images, key = drawn(2), environment.prng_key
        module = made(Seeded)
        embed = wrapped(module, route="auto")
        assert embed.parity.route == "callback"
        assert embed.parity.reason.startswith("it draws random numbers")
        np.testing.assert_allclose(embed(images), by_torch(module, images), rtol=1e-6, atol=1e-8)
        assert environment.prng_key is key
        assert wrapped(made(Conv), route="auto").parity.route == "torchax"

    def test_a_thread_of_its_own_keeps_no_tracer(self, environment):
        embed = wrapped(made(Conv), route="torchax")
        found = []

        def run():
            jax.jit(lambda x: embed(2 * x))(drawn(1))
            found.append(jax.random.key_data(environment.prng_key))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert len(found) == 1
        assert not isinstance(found[0], jax.core.Tracer)

    @pytest.mark.usefixtures("environment")
    def test_what_was_compiled_is_taken_as_it_was(self, capsys):
        module, images = made(Conv), drawn(2)
        compiled = torch.compile(module, backend="eager")
        embed = wrapped(compiled, route="auto", report=print)
        np.testing.assert_allclose(embed(images), by_torch(module, images), rtol=1e-5, atol=1e-7)
        assert re.match("Conv: ", capsys.readouterr().out)
