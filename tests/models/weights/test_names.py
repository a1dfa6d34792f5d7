"""Names that are almost those of a library, values that a run leaves that diverged."""

import numpy as np
import pytest
import weight_recipe
from flax import nnx
from golden_models import GoldenModel
from safetensors.numpy import save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights import names

RESNET = models.ResNetConfig("basic", depths=(1, 1), widths=(4, 8), stem_width=4)
IMAGES = np.random.default_rng(0).uniform(size=(2, 45, 23, 3)).astype(np.float32)


def state():
    return weights.to_state_dict(models.create(RESNET, head="linear", classes=5, rngs=nnx.Rngs(0)))


def prefixed(beginning, tensors=None):
    return {beginning + name: value for name, value in (tensors or state()).items()}


def neck(name, size=8):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": np.full(size, 0.5, np.float32) for part in parts}


def backbone(beginning):
    return prefixed(beginning, {n: v for n, v in state().items() if not n.startswith("fc.")})


def message_of(tensors, **options):
    with pytest.raises(InputError) as said:
        weights.from_state_dict(tensors, **options)
    return str(said.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "beginning",
    [
        *("model.", "net.", "student.", "network.", "module.model.", "model._orig_mod."),
        *("_orig_mod.module.", "lightning.net.backbone_of_mine.", "encoder."),
    ],
)
def test_what_wraps_a_whole_network_is_taken_off(beginning):
    plain = weights.from_state_dict(state())
    model = weights.from_state_dict(prefixed(beginning))
    assert model.config == plain.config
    np.testing.assert_array_equal(model(IMAGES).features, plain(IMAGES).features)


def test_a_wrapped_fast_reid_and_adv_reid_are_recognised():
    for layout, head in (("adv-reid", "classification"), ("adv-reid", "triplet")):
        model = models.create(RESNET, head=head, classes=5, rngs=nnx.Rngs(0))
        tensors = weights.to_state_dict(model, layout=layout)
        assert weights.from_state_dict(prefixed("model.", tensors)).config == model.config
    inside = {
        (f"backbone.module.{n.removeprefix('backbone.')}" if "backbone" in n else n): v
        for n, v in tensors.items()
    }
    assert weights.from_state_dict(inside).config == model.config


def test_layers_beside_a_wrapped_backbone_are_not_lost(kind):
    tensors = {**backbone("model."), **neck("bottleneck"), "classifier.weight": np.ones((5, 8))}
    message = message_of(tensors)
    assert "names begin with 'model.'" in message
    assert "bottleneck.bias" in message
    assert "--allow-unused" not in message
    kind("weights whose backbone is named model.*, with a neck beside it", f"exit 2: {message}")


def test_two_networks_are_refused_until_one_is_named():
    message = message_of({**prefixed("student."), **prefixed("teacher.")})
    assert "2 networks, whose names begin with 'student.', 'teacher.'" in message
    student, other = state(), prefixed("teacher.")
    other["teacher.fc.bias"] = student["fc.bias"] + 1
    named = weights.from_state_dict({**prefixed("student.", student), **other}, network="teacher")
    np.testing.assert_array_equal(named.head.classifier.bias, student["fc.bias"] + 1)
    with pytest.raises(InputError, match=r"no network is named 'x': the names begin with student"):
        weights.from_state_dict(prefixed("student."), network="x")


@pytest.mark.parametrize("beginning", ["", "model.", "module."])
@pytest.mark.parametrize("copy", ["model_ema", "ema", "ema_model.module"])
def test_a_moving_copy_is_left_out_and_can_be_named(tmp_path, beginning, copy):
    averaged = {n: v + 1 if n == "fc.bias" else v for n, v in state().items()}
    both = {**prefixed(beginning), **prefixed(f"{copy}.", averaged)}
    save_file(both, tmp_path / "x.safetensors")
    done = weights.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    first = copy.partition(".")[0]
    reasons = dict(done.ignored)
    assert f"--network {first} takes it" in reasons[f"{first}.fc.bias"]
    np.testing.assert_array_equal(
        weights.load(tmp_path / "y.safetensors").head.classifier.bias, state()["fc.bias"]
    )
    named = weights.load(tmp_path / "x.safetensors", network=first)
    np.testing.assert_array_equal(named.head.classifier.bias, averaged["fc.bias"])


def test_an_attention_called_ema_is_no_moving_copy():
    message = message_of({**state(), "ema.conv1x1.weight": np.ones((8, 8), np.float32)})
    assert "1 left over: ema.conv1x1.weight (--allow-unused leaves out)" in message


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ("layer2.0.bn2.IN.weight", "instance normalisation"),
        ("NL_2.0.theta.weight", "non-local blocks"),
        ("pool.p", "generalised-mean pooling"),
        ("layer2.0.se.fc1.weight", "squeeze-and-excitation"),
        ("bnneck.weight", "a normalisation after pooling; torchvision"),
        ("feat.weight", "an embedding after pooling"),
        ("sie_embed", "camera embeddings"),
        ("something.weight", "layers that are not known"),
    ],
)
def test_a_layer_that_changes_the_feature_is_never_suggested_to_be_ignored(extra, what, kind):
    message = message_of({**state(), extra: np.ones(8, np.float32)})
    assert f"1 left over: {extra}" in message
    assert what.partition(";")[0] in message
    assert "without them the feature is another one" in message
    assert "allow" not in message
    kind(f"weights with {what.partition(';')[0]}", f"exit 2: {message}")


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("center_loss.centers", "part of a training loss"),
        (
            "classifier.weight",
            "classifier of the training identities, named as torchreid's: --from torchreid keeps "
            "it, with its size and pipeline",
        ),
        ("queue", "memory of a training"),
        ("n_averaged", "counter of averaged weights"),
    ],
)
def test_what_only_training_reads_is_left_out_with_its_reason(tmp_path, extra, reason):
    save_file({**state(), extra: np.ones(8, np.float32)}, tmp_path / "x.safetensors")
    done = weights.convert(
        tmp_path / "x.safetensors", tmp_path / "y.safetensors", layout="torchvision"
    )
    assert dict(done.ignored) == {extra: reason}


def test_the_embedding_inside_a_classifier_is_no_classifier():
    plain = {n: v for n, v in state().items() if not n.startswith("fc.")}
    block = {"classifier.add_block.0.weight": np.ones((4, 8), np.float32)}
    message = message_of({**prefixed("model.", plain), **block})
    assert "names begin with 'model.', and classifier.add_block.0.weight stand beside" in message
    message = message_of({**plain, **block}, layout="torchvision")
    assert "an embedding after pooling: without them the feature is another one" in message


def test_the_embedding_of_resnet50_fc512_is_not_ignored():
    tensors = {n: v for n, v in state().items() if not n.startswith("fc.")}
    tensors |= {"fc.0.weight": np.ones((4, 8), np.float32), "fc.0.bias": np.ones(4, np.float32)}
    tensors |= {"classifier.weight": np.ones((5, 8), np.float32), "classifier.bias": np.ones(5)}
    message = message_of(tensors)
    assert "fc.0.bias, fc.0.weight (an embedding after pooling" in message
    assert "allow" not in message


def test_a_missing_layer_of_the_backbone_is_not_suggested_to_be_drawn():
    tensors = state()
    del tensors["layer1.0.bn1.weight"]
    message = message_of(tensors)
    assert "1 missing: layer1.0.bn1.weight" in message
    assert "allow" not in message


@pytest.mark.torch
@pytest.mark.parametrize("stem_relu", [True, False])
def test_reid_strong_baseline_has_the_features_of_its_network(stem_relu, kind):
    import torch
    import torch_networks

    body = torch_networks.ResNet(torch_networks.small(last_stride=1, stem_relu=stem_relu))
    theirs = torch.nn.Module()
    theirs.base, theirs.bottleneck = body, torch.nn.BatchNorm1d(64)
    theirs.classifier = torch.nn.Linear(64, 5, bias=False)
    weight_recipe.redraw(theirs)
    tensors = theirs.state_dict()
    message = message_of(tensors)
    assert "'base.'" in message
    assert "--from strong-baseline" in message
    kind("weights of reid-strong-baseline (base.*)", f"exit 2: {message}")
    told = {"layout": "strong-baseline"}
    if stem_relu:
        told["stem_relu"] = True
    model = weights.from_state_dict(tensors, **told)
    with torch.no_grad():
        expected = theirs.bottleneck(body(torch_networks.pixels(IMAGES))).numpy()
    np.testing.assert_allclose(model(IMAGES).features, expected, atol=1e-5 * np.abs(expected).max())
    assert (model.config.classes, model.config.classifier_bias) == (5, False)
    frozen = models.embedding(model).frozen()(IMAGES)
    np.testing.assert_allclose(frozen, expected, atol=1e-5 * np.abs(expected).max())


def test_a_transformer_named_base_is_not_taken_for_a_resnet():
    tensors = {
        "base.pos_embed": np.zeros((1, 129, 64)),
        "base.patch_embed.proj.weight": np.zeros((64, 3, 16, 16)),
        "classifier.weight": np.zeros((5, 64)),
    }
    assert "'base.'" in message_of(tensors)


PIXELS = {
    "pixel_mean": np.array([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1),
    "pixel_std": np.array([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1),
}


def fast_reid(neck_name, classifier):
    return {**backbone("backbone."), **neck(neck_name), classifier: np.ones((5, 8), np.float32)}


@pytest.mark.slow
def test_fast_reids_old_names_are_todays_and_its_old_pool_is_asked_for(kind):
    old, new = (
        fast_reid("heads.bnneck", "heads.classifier.weight"),
        fast_reid("heads.bottleneck.0", "heads.weight"),
    )
    message = message_of(old)
    assert "heads.bnneck, which fast-reid called heads.bottleneck.0" in message
    assert "--pool padded" in message
    assert "changes the feature by 3 to 7 %" in message
    kind("weights with fast-reid's old neck (heads.bnneck), no pixel_mean", f"exit 2: {message}")
    for pool in ("ceil", "padded"):
        one, other = (weights.from_state_dict(tensors, pool=pool) for tensors in (old, new))
        assert one.config.backbone == other.config.backbone
        assert one.config.backbone.pool == pool
        np.testing.assert_array_equal(one(IMAGES).features, other(IMAGES).features)
    # Whoever names the library of today is asked as well.
    assert "--from fast-reid-v0.1" in message_of(old, layout="fast-reid")


@pytest.mark.parametrize(
    ("neck_name", "classifier", "pixels", "pool"),
    [
        # v0.1.1, July 2020: the model zoo.
        ("heads.bnneck", "heads.classifier.weight", True, "padded"),
        # From 2021-03-23 on.
        ("heads.bottleneck.0", "heads.weight", False, "ceil"),
        ("heads.bottleneck.0", "heads.weight", True, "ceil"),
        ("heads.bottleneck.0", "heads.classifier.weight", False, "ceil"),
    ],
)
def test_the_names_of_a_fast_reid_file_tell_its_pool(neck_name, classifier, pixels, pool):
    tensors = {**fast_reid(neck_name, classifier), **(PIXELS if pixels else {})}
    assert weights.from_state_dict(tensors).config.backbone.pool == pool


def test_a_fast_reid_file_of_the_months_between_has_its_pool_asked_for(kind):
    tensors = {**fast_reid("heads.bottleneck.0", "heads.classifier.weight"), **PIXELS}
    message = message_of(tensors)
    assert "before 2021-03-23" in message
    assert "--pool padded" in message
    assert "--pool ceil" in message
    kind("weights of fast-reid from between two of its pools", f"exit 2: {message}")
    assert weights.from_state_dict(tensors, pool="ceil").config.backbone.pool == "ceil"


def test_missing_names_show_how_the_files_own_begin():
    message = message_of({"conv1.conv.weight": np.ones(3), "classifier.weight": np.ones(3)})
    assert "the names begin with classifier, conv1" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_values_that_are_not_finite_are_refused_by_name_and_count(tmp_path, value, dtype, kind):
    import ml_dtypes

    tensors = state()
    broken = tensors["layer2.0.conv1.weight"].astype(getattr(ml_dtypes, dtype, dtype))
    broken[0, 0] = value
    tensors["layer2.0.conv1.weight"] = broken
    message = message_of(tensors)
    assert "layer2.0.conv1.weight: 9 of 288 values are NaN or infinite" in message
    save_file(tensors, tmp_path / "x.safetensors")
    for use in (
        lambda: weights.load(tmp_path / "x.safetensors"),
        lambda: weights.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors"),
    ):
        with pytest.raises(InputError, match=r"x\.safetensors: layer2\.0\.conv1\.weight: 9 of 288"):
            use()
    assert not (tmp_path / "y.safetensors").exists()
    kind("NaN or infinite weights in convert, load, evaluate", f"exit 2: {message}")


def test_a_negative_variance_is_refused_and_one_of_zero_is_not():
    tensors = state()
    tensors["bn1.running_var"] = np.array([1, -1e-3, 1, -2], np.float32)
    assert "bn1.running_var: 2 of 4 variances are negative" in message_of(tensors)
    tensors["bn1.running_var"] = np.array([1, 0, 1, 0], np.float32)
    assert np.isfinite(weights.from_state_dict(tensors)(IMAGES).features).all()


@pytest.mark.parametrize(
    ("value", "dtype", "largest"),
    [(1e300, "float32", "1e+300"), (1e300, "bfloat16", "1e+300"), (7e4, "float16", "70000")],
)
def test_a_cast_that_overflows_is_refused(tmp_path, value, dtype, largest, kind):
    tensors = state() | {"fc.bias": np.full(5, value)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InputError) as said:
        weights.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors", dtype=dtype)
    assert f"fc.bias does not fit {dtype}: it has values of {largest}" in str(said.value)
    kind("convert --dtype that overflows", str(said.value).replace(f"{tmp_path}/", "exit 2: "))


def test_ignored_layers_are_listed(tmp_path):
    save_file(state() | {"gem.p": np.ones(1, np.float32)}, tmp_path / "x.safetensors")
    done = weights.convert(
        tmp_path / "x.safetensors", tmp_path / "y.safetensors", allow_unused=["gem.*"]
    )
    assert ("gem.p", "left out by --allow-unused") in done.ignored


def test_big_endian_arrays_are_read():
    swapped = {n: v.astype(v.dtype.newbyteorder(">")) for n, v in state().items()}
    plain = weights.from_state_dict(state())(IMAGES).features
    np.testing.assert_array_equal(weights.from_state_dict(swapped)(IMAGES).features, plain)


LAYOUT_OF = {
    "fastreid_mgn": "fast-reid-mgn",
    "fastreid_v011": "fast-reid-v0.1",
    "fastreid": "fast-reid",
    "clipreid": "clip-reid",
    "solider": "solider",
    "transreid_ssl": "transreid-ssl",
    "transreid": "transreid",
    "torchreid": "torchreid",
}


@pytest.mark.parametrize("wrapper", ["module.", "model.", "module.model.", "lightning.net.module."])
def test_wrappers_come_off_the_networks_of_every_library(golden, wrapper):
    for path in sorted((golden / "models").glob("*.npz")):
        shapes = GoldenModel(golden, path.stem).shapes
        tensors = {name: np.broadcast_to(np.float32(0), side) for name, side in shapes.items()}
        found = names.peel(prefixed(wrapper, tensors), None)
        assert set(found.tensors) == set(tensors), path.stem
        assert sorted("".join(found.peeled).split(".")) == sorted(wrapper.split(".")), path.stem
        family = next(start for start in LAYOUT_OF if path.stem.startswith(start))
        assert names.find_layout(found.tensors) == LAYOUT_OF[family], path.stem
