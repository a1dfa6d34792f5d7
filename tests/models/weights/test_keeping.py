"""What no network needs comes back as well: counters, buffers, and names of former releases."""

import ml_dtypes
import numpy as np
import pytest
from golden_models import narrow
from networks import drawn
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
COUNTER = "num_batches_tracked"
PIXELS = {
    "pixel_mean": np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1),
    "pixel_std": np.array([58.395, 57.12, 57.375], np.float32).reshape(1, 3, 1, 1),
}


def exact(tensors):
    return {name: (v.dtype, v.shape, v.tobytes()) for name, v in tensors.items()}


def counted(tensors):
    """With another number of training batches for each BatchNorm."""
    names = sorted(name for name in tensors if name.endswith(COUNTER))
    assert names
    return tensors | {name: np.array(12345 + at) for at, name in enumerate(names)}


def state():
    """Of a ResNet with a classifier, by torchvision's names."""
    model = drawn(RESNET, head="linear", classes=5)
    return counted(weights.to_state_dict(model, layout="torchvision"))


def of_2020(tensors):
    """A file of fast-reid v1.0.0 from one of today's, by what its releases changed."""
    old = {
        f"{name.removesuffix('.weight')}.classifier.weight"
        if name.removesuffix(".weight").endswith(("heads", "_head"))
        else name: value
        for name, value in tensors.items()
    }
    assert old.keys() != tensors.keys()
    return counted({**old, **PIXELS})


def test_counters_of_batches_come_back_under_any_names(tmp_path):
    tensors = state()
    save_file(tensors, tmp_path / "x.safetensors")
    for number, layout in enumerate(["safetensors", "torchvision", "adv-reid", "jaxreid"]):
        there, back = tmp_path / f"{number}.safetensors", tmp_path / f"{number}b.safetensors"
        done = weights.convert(tmp_path / "x.safetensors", there, target_layout=layout)
        assert done.ignored == ()
        weights.convert(there, back, target_layout="torchvision")
        assert exact(load_file(back)) == exact(tensors)


def test_counters_are_never_cast(tmp_path):
    half = {name: v.astype(np.float16) for name, v in state().items()}
    half["bn1.num_batches_tracked"] = np.array(np.inf, np.float16)  # 70000 in a file cast whole
    save_file(half, tmp_path / "x.safetensors")
    target = tmp_path / "y.safetensors"
    weights.convert(tmp_path / "x.safetensors", target, target_layout="safetensors")
    assert exact(load_file(target)) == exact(half)
    weights.convert(
        tmp_path / "x.safetensors", target, target_layout="safetensors", dtype="float32"
    )
    assert exact(load_file(target)) == exact(
        {n: v if n.endswith(COUNTER) else v.astype(np.float32) for n, v in half.items()}
    )


def test_counters_that_the_user_leaves_out_begin_at_0(tmp_path):
    save_file(state(), tmp_path / "x.safetensors")
    done = weights.convert(
        tmp_path / "x.safetensors",
        tmp_path / "y.safetensors",
        target_layout="safetensors",
        allow_unused=[f"bn1.{COUNTER}"],
    )
    assert [name for name, _ in done.ignored] == [f"bn1.{COUNTER}"]
    back = load_file(tmp_path / "y.safetensors")
    expected = state() | {f"bn1.{COUNTER}": np.array(0)}
    assert exact(back) == exact(expected)


@pytest.mark.parametrize("name", ["bot_r50", "sbs_r50_ibn", "mgn_r50_ibn"])
def test_a_file_of_fast_reid_v1_keeps_its_names_and_pixels(golden, tmp_path, name):
    old = of_2020(narrow(golden, name))
    save_file(old, tmp_path / "x.safetensors")
    target = tmp_path / "y.safetensors"
    done = weights.convert(
        tmp_path / "x.safetensors", target, target_layout="safetensors", pool="padded"
    )
    assert done.ignored == ()
    back = load_file(target)
    assert exact(back) == exact(old)
    # The header says the pool; the names alone leave it open, as they did.
    assert weights.load(target).config == done.config
    assert done.config.backbone.pool == "padded"
    with pytest.raises(InputError, match="--pool padded for a file from before that day"):
        weights.from_state_dict(back)
    # Once more, from a file of ours.
    weights.convert(target, tmp_path / "z.safetensors", target_layout="safetensors")
    assert exact(load_file(tmp_path / "z.safetensors")) == exact(old)
    assert not weights.inspect(target).problems


@pytest.mark.torch
def test_a_pth_of_fast_reid_v1_is_asked_about_again(golden, tmp_path):
    import torch

    old = of_2020(narrow(golden, "bot_r50"))
    torch.save({"model": {n: torch.tensor(v) for n, v in old.items()}}, tmp_path / "x.pth")
    weights.convert(tmp_path / "x.pth", tmp_path / "y.pth", pool="padded")
    written = torch.load(tmp_path / "y.pth", weights_only=True)
    assert exact({n: v.numpy() for n, v in written.items()}) == exact(old)
    with pytest.raises(InputError, match="--pool padded for a file from before that day"):
        weights.convert(tmp_path / "y.pth", tmp_path / "z.safetensors")


def test_todays_names_have_no_pixels_and_it_is_said(golden, tmp_path):
    new = counted(narrow(golden, "bot_r50"))
    save_file(of_2020(new), tmp_path / "x.safetensors")
    target = tmp_path / "y.safetensors"
    done = weights.convert(
        tmp_path / "x.safetensors", target, target_layout="fast-reid", pool="ceil"
    )
    assert {name for name, _ in done.ignored} == set(PIXELS)
    assert exact(load_file(target)) == exact(new)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_the_zoos_pixels_come_back_in_their_type(golden, tmp_path, dtype):
    tensors = {
        name: value if value.dtype.kind == "i" else value.astype(dtype)
        for name, value in counted(narrow(golden, "v011_bot_r50")).items()
    }
    assert set(PIXELS) <= set(tensors)
    save_file(tensors, tmp_path / "x.safetensors")
    target = tmp_path / "y.safetensors"
    for layout in ("safetensors", "fast-reid-v0.1"):
        done = weights.convert(tmp_path / "x.safetensors", target, target_layout=layout)
        assert done.ignored == ()
        assert exact(load_file(target)) == exact(tensors)


@pytest.mark.parametrize("name", ["v011_bot_r50", "bot_r50"])
def test_pixels_that_the_user_says_are_written(golden, tmp_path, name):
    tensors = narrow(golden, name)
    save_file(of_2020(tensors) if name == "bot_r50" else tensors, tmp_path / "x.safetensors")
    target = tmp_path / "y.safetensors"
    weights.convert(
        tmp_path / "x.safetensors",
        target,
        target_layout="safetensors",
        mean=(0.2, 0.4, 0.6),
        pool="padded",
    )
    back = load_file(target)
    np.testing.assert_allclose(back["pixel_mean"].ravel(), [51, 102, 153], rtol=1e-6)
    np.testing.assert_array_equal(back["pixel_std"], PIXELS["pixel_std"])


@pytest.mark.parametrize(("name", "powers"), [("sbs_r50_ibn", 1), ("mgn_r50_ibn", 8)])
def test_a_new_head_leaves_the_learnt_powers_of_the_pooling(golden, tmp_path, name, powers):
    tensors = narrow(golden, name)
    learnt = {n: np.full(v.shape, 3.25, np.float32) for n, v in tensors.items() if n[-2:] == ".p"}
    assert len(learnt) == powers
    save_file({**tensors, **learnt}, tmp_path / "x.safetensors")
    target, head = tmp_path / "y.safetensors", ["head"]
    done = weights.convert(
        tmp_path / "x.safetensors",
        target,
        classes=7,
        allow_missing=head,
        allow_unused=head,
        target_layout="safetensors",
    )
    back = load_file(target)
    assert {n: v.item() for n, v in back.items() if n[-2:] == ".p"} == dict.fromkeys(learnt, 3.25)
    assert not {name for name, _ in done.ignored} & set(learnt)
    assert done.config.classes == 7
    # A power that a file lacks is no part of a head, either.
    lost = {n: v for n, v in tensors.items() if n != min(learnt)}
    with pytest.raises(InputError, match=rf"1 missing: {min(learnt)}$"):
        weights.from_state_dict(
            lost, pooling="gem-learnt", allow_missing=head, allow_unused=head, classes=7
        )
