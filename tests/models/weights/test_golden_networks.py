"""Whole networks of other projects: features, gradients and files are those of their own code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_models import GoldenModel, feature_errors, gradient_errors, names_of

from jaxreid.models import weights
from jaxreid.models.weights.layouts import detect_layout

# What no feature passes, by the beginnings of networks' names and of tensors'.
WITHOUT_USE = {
    "clipreid_": ("text_encoder.", "prompt_learner."),
    "solider_": (
        *("base.norm0.", "base.norm1.", "base.norm2."),
        *("base.semantic_embed_w.3.", "base.semantic_embed_b.3."),
    ),
    "transreid_": ("base.fc.",),
    "transreid_vit_base_jpm": ("base.blocks.11.", "base.norm."),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", names_of())
def test_features_gradients_and_files_are_those_of_the_projects_own_code(golden, name):
    expected = GoldenModel(golden, name)
    with jax.enable_x64(True):
        model = expected.load(dtype=jnp.float64)
        errors = feature_errors(model, expected, dtype=np.float64)
        errors |= gradient_errors(model, expected, dtype=np.float64)
        file = expected.state_dict()
        got = weights.to_state_dict(model, layout=detect_layout(file))
    # Much of what is expected is stored in float32.
    assert max(errors.values()) < 1e-6, errors
    # In float64 every float32 is what it was, and nothing else is.
    starts = [start for start in WITHOUT_USE if name.startswith(start)]
    unread = tuple(part for start in starts for part in WITHOUT_USE[start])
    assert set(file) - set(got) == {key for key in file if key.startswith(unread)}
    for key, value in got.items():
        np.testing.assert_array_equal(value, file[key], err_msg=key)
