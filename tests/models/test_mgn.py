import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import drawn, features, images

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models.mgn import PARTS
from jaxreid.models.weights import LAYOUTS
from jaxreid.models.weights.layouts import default_layout

SMALL = models.MGNConfig(depths=(1, 1, 2, 1), widths=(4, 4, 4, 8), stem_width=4, expansion=2)
SIZE = 16


def test_stripes_are_rows_of_their_branch():
    model = drawn(SMALL, head="none")
    x = jnp.asarray(images(1, 96, 32, 3))
    graph, state = nnx.split(model.backbone)

    @jax.jit
    def all_parts(state, x):
        backbone = nnx.merge(graph, state)
        maps = []

        class Keeping(nnx.Module):
            def __call__(self, y):
                maps.append(y)
                return y.mean((1, 2))

        # What each pool is given, in the order of the parts.
        backbone.pools = nnx.List([Keeping() for _ in PARTS])
        backbone(x, "running")
        return maps

    maps = dict(zip(PARTS, all_parts(state, x), strict=True))
    rows = {part: value.shape[1] for part, value in maps.items()}
    assert rows == {"b1": 6, "b2": 6, "b3": 6, "b21": 3, "b22": 3, "b31": 2, "b32": 2, "b33": 2}
    for branch in ("b2", "b3"):
        stripes = [value for part, value in maps.items() if part[:2] == branch and len(part) == 3]
        np.testing.assert_array_equal(jnp.concatenate(stripes, axis=1), maps[branch])
    assert not np.allclose(maps["b2"], maps["b3"])


def test_a_map_without_rows_for_three_stripes_is_refused():
    model = drawn(SMALL, head="none")
    with pytest.raises(InputError, match="4 rows, which do not make 3 stripes"):
        jax.eval_shape(model, jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32))
    # As torch.chunk(16 rows, 3): 6, 6 and 4.
    assert jax.eval_shape(model, jax.ShapeDtypeStruct((1, 256, 32, 3), jnp.float32)).features


def test_its_parts_are_eight_equal_vectors_and_have_names_of_their_own():
    assert [part.size for part in SMALL.parts] == [SIZE] * 8
    assert SMALL.feature_size == 8 * SIZE
    bare = models.ModelConfig(SMALL, head="none")
    assert default_layout(bare) == "fast-reid-mgn"
    trained = models.ModelConfig(SMALL, classes=5)
    # fast-reid's classifiers have no bias.
    assert default_layout(trained) == "jaxreid"
    assert LAYOUTS["jaxreid"].kinds


@pytest.mark.slow
def test_a_new_one_is_written_and_read(tmp_path):
    model = drawn(SMALL, head="reduction", dimensions=3, classes=5)
    path = tmp_path / "x.safetensors"
    models.weights.save(model, path)
    back = models.weights.load(path)
    assert back.config == model.config
    x = images(2, 96, 32, 3)
    got = features(back, x)
    assert got.shape == (2, 24)
    np.testing.assert_array_equal(got, features(model, x))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("depths", (1, 1, 2), "four stages"),
        ("depths", (1, 1, 1, 1), "two blocks at least"),
        ("pooling", "max", "pooling"),
        ("pool", "none", "pool"),
    ],
)
def test_bad_shapes_are_named(field, value, message):
    with pytest.raises(InputError, match=message):
        models.MGNConfig(**{field: value})
