"""The network in what a training saved is found, told, and can be chosen."""

import numpy as np
import pytest

from jaxreid.errors import InputError
from jaxreid.models.weights.files.nesting import state_dict_of
from jaxreid.models.weights.storage import from_memory

ONE, OTHER = {"a.weight": np.ones(2)}, {"a.weight": np.zeros(2)}
ADAM = {"state": {0: {"step": np.ones(1), "exp_avg": np.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def found(content, **options):
    return state_dict_of(content, "x.pth", lambda v: isinstance(v, np.ndarray), **options)


@pytest.mark.parametrize(
    ("content", "peeled", "ignored"),
    [
        (ONE, (), []),
        ({"state_dict": ONE, "epoch": 3, "rank1": np.ones(())}, ("state_dict",), []),
        ({"model": ONE, "optimizer": ADAM, "scheduler": {"last": 1}}, ("model",), ["optimizer"]),
        ({"state_dict": ONE, "pytorch-lightning_version": "2.1"}, ("state_dict",), []),
        ({"model": {"state_dict": ONE}}, ("model", "state_dict"), []),
        ({"teacher": ONE, "student": OTHER, "optimizer": ADAM}, ("teacher",), ["student"]),
        ({"model": ONE, "model_ema": OTHER}, ("model",), ["model_ema"]),
        ({"state_dict_ema": OTHER, "state_dict": ONE}, ("state_dict",), ["state_dict_ema"]),
        ({"weights_of_mine": ONE, "dino_loss": {"center": np.ones(1)}}, ("weights_of_mine",), []),
    ],
)
def test_the_network_that_is_tested_is_taken(content, peeled, ignored):
    nested = found(content)
    assert nested.tensors is not content
    np.testing.assert_array_equal(nested.tensors["a.weight"], ONE["a.weight"])
    assert nested.peeled == peeled
    assert set(ignored) <= {name for name, _ in nested.ignored}
    kept = from_memory(content)
    np.testing.assert_array_equal(kept.tensors["a.weight"], ONE["a.weight"])
    assert kept.peeled == peeled


def test_another_network_can_be_named():
    content = {"teacher": ONE, "student": {"module.a.weight": OTHER["a.weight"]}, "model": ONE}
    nested = found(content, network="student")
    assert list(nested.tensors) == ["module.a.weight"]
    assert nested.peeled == ("student",)
    assert dict(nested.ignored)["teacher"] == "another network (--network teacher takes it instead)"


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ({"prototypes": np.ones((5, 2))}, {"prototypes": "beside the network's state dict"}),
        ({"banks": [1, np.ones(3)]}, {"banks": "beside the network's state dict"}),
        ({"banks": ({"a": [np.ones(3)]},)}, {"banks": "beside the network's state dict"}),
        ({"optimizer_states": [ADAM]}, {"optimizer_states": "state of a training"}),
        ({"criterion": np.ones(3)}, {"criterion": "state of a training"}),
        # None of these holds a number of a network.
        ({"epoch": 3, "name": "osnet", "cmc": [0.5, 0.6], "lr_schedulers": []}, {}),
        ({7: np.ones(3)}, {"7": "beside the network's state dict"}),
        ({8: {"x": np.ones(3)}}, {"8": "state of a training"}),
    ],
)
def test_tensors_beside_a_network_are_told(content, reasons):
    nested = found({"state_dict": ONE, **content})
    assert list(nested.tensors) == ["a.weight"]
    assert dict(nested.ignored) == reasons


def test_lists_that_a_file_repeats_without_end_are_looked_at_once():
    wide: list[object] = [0]
    for _ in range(40):
        wide = [wide] * 40
    wide[-1] = wide
    assert found({"state_dict": ONE, "wide": wide}).ignored == ()


def test_of_two_known_keys_none_is_taken_until_the_user_says_which():
    content = {"epoch": 3, "net": ONE, "model": OTHER}
    with pytest.raises(InputError, match=r"there are 2 networks, net, model: .*--network net\)"):
        found(content)
    for name, expected in (("net", ONE), ("model", OTHER)):
        nested = found(content, network=name)
        np.testing.assert_array_equal(nested.tensors["a.weight"], expected["a.weight"])
        assert nested.peeled == (name,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "expected a state dict, found list"),
        ({"a": ONE, "b": OTHER}, r"there are 2 networks, a, b: name one of them \(--network a\)"),
        (ADAM, "the state of an optimiser and no weights"),
        ({"optimizer": ADAM, "epoch": 3}, r"the state of an optimiser \(key 'optimizer'\)"),
        ({0: ONE}, "found no state dict.*the file has 0"),
        ({"epoch": 3}, "found no state dict.*the file has epoch"),
        ({"net": {"epoch": 3}}, "the file has epoch"),
        ({**ONE, "lr": 0.1}, r"other things than tensors: \['lr'\]"),
    ],
)
def test_what_holds_no_network_is_said(content, message):
    with pytest.raises(InputError, match=f"^x.pth: .*{message}"):
        found(content)
