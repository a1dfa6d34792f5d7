"""The shapes of a network are found once for a load, and are those that it is created with."""

import pytest
from flax import nnx
from networks import drawn

from jaxreid import models
from jaxreid.models import weights
from jaxreid.models.weights import transfer

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
VIT = models.ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 16))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [RESNET, VIT])
def test_shapes_are_those_of_a_new_network(shape):
    model = models.create(shape, classes=5, rngs=nnx.Rngs(0))
    expected = {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(model))}
    assert transfer.shapes_in(model.config) == expected


def test_a_load_traces_its_network_once(monkeypatch):
    tensors = weights.to_state_dict(drawn(RESNET, head="linear", classes=5))
    traced = []

    def counted(*args, **options):
        traced.append(args)
        return models.ReID(*args, **options)

    monkeypatch.setattr(transfer, "ReID", counted)
    transfer._abstract.cache_clear()
    first, second = (weights.from_state_dict(tensors) for _ in range(2))
    assert len(traced) == 1
    # And nothing is shared but the shape.
    first.head.classifier.bias[...] += 1
    assert (second.head.classifier.bias[...] == tensors["fc.bias"]).all()
