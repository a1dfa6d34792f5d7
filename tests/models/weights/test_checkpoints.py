import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from networks import abstract
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights import storage

RESNET = models.ResNetConfig("bottleneck", depths=(1, 2), widths=(4, 8), stem_width=4)
BASIC = models.ResNetConfig("basic", depths=(2, 1), widths=(4, 8), stem_width=4, last_stride=1)
PATCH = models.ResNetConfig(depths=(1,), widths=(4,), expansion=2, stem="patch", stem_width=4)
VIT = models.ViTConfig(width=64, depth=2, heads=1, patch=8, image_size=(32, 16))


def build(backbone=RESNET, head="classification", seed=0, **options):
    # Drawn by NumPy: JAX would compile one program for every shape.
    model = abstract(backbone, head=head, classes=5, **options)
    rng = np.random.default_rng(seed)

    def fill(leaf):
        return np.asarray(rng.uniform(0.5, 1.5, leaf.shape), np.float32)

    nnx.update(model, jax.tree.map(fill, nnx.state(model)))
    return model


def bits(model):
    return {
        path: (value.dtype, value.shape, value.tobytes())
        for path, variable in nnx.to_flat_state(nnx.state(model))
        for value in [np.asarray(variable[...])]
    }


LAYOUTS_OF = {
    "classification": ["adv-reid"],
    "triplet": ["adv-reid"],
    "linear": ["adv-reid", "torchvision", "torchreid"],
    "none": ["adv-reid", "torchvision", "torchreid"],
}


@pytest.mark.parametrize(
    ("backbone", "head", "layout"),
    [(b, h, lay) for b in (RESNET, BASIC, PATCH) for h, ls in LAYOUTS_OF.items() for lay in ls]
    + [(VIT, h, "adv-reid") for h in LAYOUTS_OF]
    + [(VIT, h, "timm") for h in ("linear", "none")],
)
def test_import_undoes_export_bit_by_bit(tmp_path, backbone, head, layout):
    model = build(backbone, head, resize=(32, 16), mean=(0.1, 0.2, 0.3))
    weights.save(model, tmp_path / "x.safetensors", layout=layout)
    back = weights.load(tmp_path / "x.safetensors")
    assert back.config == model.config
    assert bits(back) == bits(model)


def test_an_activation_that_no_tensor_shows_is_kept_or_refused(tmp_path):
    model = build(dataclasses.replace(PATCH, activation="silu"))
    assert weights.default_layout(model.config) == "jaxreid"
    path = tmp_path / "x.safetensors"
    weights.save(model, path)
    weights.convert(path, tmp_path / "y.safetensors")
    for name in ("x", "y"):
        back = weights.load(tmp_path / f"{name}.safetensors")
        assert back.config == model.config
        assert bits(back) == bits(model)
    for layout in ("adv-reid", "strong-baseline", "torchvision"):
        refused = pytest.raises(InputError, match=f"'{layout}' is of networks without activation")
        with refused:
            weights.to_state_dict(model, layout=layout)
        with refused:
            weights.save(model, tmp_path / "z.safetensors", layout=layout)
        with refused:
            weights.convert(path, tmp_path / "z.safetensors", target_layout=layout)
    with pytest.raises(InputError, match=r"z\.pth: .* would lose activation 'silu'"):
        weights.convert(path, tmp_path / "z.pth")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.safetensors", "y.safetensors"]


def test_a_file_without_a_word_for_the_activation_is_of_relu(tmp_path):
    """As all releases read and wrote it."""
    weights.save(build(PATCH), tmp_path / "x.safetensors")
    header = json.loads(storage.read(tmp_path / "x.safetensors").metadata["jaxreid"])
    assert "stem_relu" in header["backbone"]
    assert "activation" not in header["backbone"]
    assert weights.load(tmp_path / "x.safetensors").config.backbone.activation == "relu"


def test_the_same_network_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        weights.save(build(), tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_odd_bits_survive(tmp_path):
    model = build()
    kernel = model.head.classifier.kernel
    odd = np.full(kernel.shape, np.finfo(np.float32).max)
    odd.ravel()[:2] = [-0.0, np.float32(1e-45)]
    kernel[...] = odd
    weights.save(model, tmp_path / "x.safetensors")
    assert bits(weights.load(tmp_path / "x.safetensors")) == bits(model)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_types_are_kept(tmp_path, dtype):
    state = weights.to_state_dict(build())
    narrow = {n: v.astype(dtype) if v.dtype == np.float32 else v for n, v in state.items()}
    storage.write(tmp_path / "x.safetensors", narrow, {})
    weights.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    back = load_file(tmp_path / "y.safetensors")
    assert {n: (v.dtype, v.tobytes()) for n, v in back.items()} == {
        n: (v.dtype, v.tobytes()) for n, v in narrow.items()
    }
    model = weights.load(tmp_path / "y.safetensors")
    assert {value[0] for value in bits(model).values()} == {np.dtype(dtype)}


def test_float64_is_kept_in_files_and_never_cut_in_silence(tmp_path):
    state = weights.to_state_dict(build())
    wide = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in state.items()}
    storage.write(tmp_path / "x.safetensors", wide, {})
    weights.convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert load_file(tmp_path / "y.safetensors")["fc.weight"].dtype == np.float64
    with pytest.raises(InputError, match="float64: convert with --dtype float32"):
        weights.load(tmp_path / "y.safetensors")
    weights.convert(tmp_path / "x.safetensors", tmp_path / "z.safetensors", dtype="float32")
    assert bits(weights.load(tmp_path / "z.safetensors")) == bits(build())


def test_shapes_are_read_off_the_tensors():
    for backbone in (RESNET, PATCH):
        for head in ("classification", "triplet", "linear", "none"):
            model = build(backbone, head)
            assert weights.from_state_dict(weights.to_state_dict(model)).config == model.config
    square = models.ViTConfig(width=128, depth=1, heads=2, patch=8, image_size=(16, 16))
    model = build(square, "linear")
    assert weights.from_state_dict(weights.to_state_dict(model)).config == model.config


def state(**changes):
    tensors = weights.to_state_dict(build())
    for name, value in changes.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return tensors


FLOATS = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc.bias": None}, "1 missing: fc.bias"),
        ({"extra.weight": FLOATS}, "1 left over: extra.weight"),
        ({"backbone.bn1.weight": FLOATS}, r"bn1.weight has shape \(3,\), expected \(4,\)"),
        (
            {"backbone.layer2.1.conv2.weight": None, "backbone.fc.running_mean": None},
            "2 missing: backbone.fc.running_mean, backbone.layer2.1.conv2.weight",
        ),
        ({"backbone.bn1.bias": np.zeros(4, np.int64)}, "bn1.bias is int64, expected floating"),
        ({"backbone.conv1.num_batches_tracked": np.zeros((), np.int64)}, "left over"),
        (
            {"backbone.conv1.weight": np.zeros((4, 1, 7, 7), np.float32)},
            r"expected 3 input channels \(RGB\), got 1",
        ),
        ({"backbone.conv1.weight": np.zeros((4, 3, 5, 5), np.float32)}, "7x7 or 4x4"),
        ({"backbone.conv1.weight": None}, "missing tensor conv1.weight"),
        (
            {"backbone.layer1.0.conv2.weight": np.zeros((4, 2, 3, 3), np.float32)},
            r"layer1.0.conv2.weight has shape \(4, 2, 3, 3\), expected \(4, 4, 3, 3\)",
        ),
    ],
)
def test_every_tensor_is_used_exactly_once(changes, message):
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(state(**changes))


def test_long_lists_are_cut():
    more = {f"extra.{i}": FLOATS for i in range(20)}
    with pytest.raises(InputError, match=r"20 left over: .* and 12 more"):
        weights.from_state_dict(state(**more))


def test_a_backbone_gets_a_new_head_only_if_told(tmp_path):
    trained = build(head="linear")
    options = {"head": "classification", "classes": 9}
    tensors = weights.to_state_dict(trained)
    with pytest.raises(InputError, match="no head 'classification'"):
        weights.from_state_dict(tensors, **options)
    tensors = weights.to_state_dict(trained, layout="adv-reid")
    with pytest.raises(InputError, match=r"missing: backbone\.fc\.bias"):
        weights.from_state_dict(tensors, **options)
    fresh = {**options, "allow_missing": ["head"], "allow_unused": ["head"]}
    with pytest.raises(InputError, match="need rngs"):
        weights.from_state_dict(tensors, **fresh)
    model = weights.from_state_dict(tensors, **fresh, rngs=nnx.Rngs(1))
    again = weights.from_state_dict(tensors, **fresh, rngs=nnx.Rngs(1))
    assert bits(model) == bits(again)
    assert model.config.classes == 9
    backbone = {p: b for p, b in bits(trained).items() if p[0] == "backbone"}
    assert backbone == {p: b for p, b in bits(model).items() if p[0] == "backbone"}


def test_patterns_allow_exceptions():
    tensors = state(**{"extra.weight": FLOATS, "fc.bias": None})
    model = weights.from_state_dict(
        tensors, allow_unused=["extra.*"], allow_missing=["fc.b*"], rngs=nnx.Rngs(0)
    )
    assert model.head.classifier.bias.shape == (5,)


def fast_reid_state():
    model = build(head="classification")
    tensors = weights.to_state_dict(model)
    renamed = {}
    for name, value in tensors.items():
        if name == "fc.weight":
            renamed["heads.weight"] = value
        elif name != "fc.bias":
            renamed[name.replace("backbone.fc.", "heads.bottleneck.0.")] = value
    return renamed


@pytest.mark.parametrize(
    ("classifier", "said"), [("heads.weight", {}), ("heads.classifier.weight", {"pool": "ceil"})]
)
def test_fast_reid_has_its_own_pool_stride_and_pixels(classifier, said):
    tensors = fast_reid_state()
    tensors[classifier] = tensors.pop("heads.weight")
    tensors["pixel_mean"] = np.array([10.0, 20, 30]).reshape(1, 3, 1, 1)
    tensors["pixel_std"] = np.array([51.0, 102, 153]).reshape(1, 3, 1, 1)
    config = weights.from_state_dict(tensors, **said).config
    assert (config.backbone.pool, config.backbone.last_stride) == ("ceil", 1)
    assert (config.head, config.classes, config.classifier_bias) == ("classification", 5, False)
    np.testing.assert_allclose(config.mean, np.array([10, 20, 30]) / 255)
    np.testing.assert_allclose(config.std, [0.2, 0.4, 0.6])
    # What the user says wins.
    told = weights.from_state_dict(tensors, last_stride=2, mean=(0.5, 0.5, 0.5), **said).config
    assert (told.backbone.last_stride, told.mean) == (2, (0.5, 0.5, 0.5))


def test_fast_reid_weights_go_back(tmp_path):
    tensors = fast_reid_state()
    model = weights.from_state_dict(tensors)
    weights.save(model, tmp_path / "x.safetensors", layout="fast-reid")
    assert bits(weights.load(tmp_path / "x.safetensors")) == bits(model)
    back = load_file(tmp_path / "x.safetensors")
    assert {n: v.tobytes() for n, v in back.items()} == {n: v.tobytes() for n, v in tensors.items()}


def test_fast_reid_has_no_classifier_bias():
    with pytest.raises(InputError, match="no bias"):
        weights.to_state_dict(build(), layout="fast-reid")


def test_a_bias_that_fast_reid_has_not_is_left_out_and_told(tmp_path):
    model = build(dataclasses.replace(RESNET, last_stride=1, pool="ceil"))
    weights.save(model, tmp_path / "trained.safetensors")
    done = weights.convert(
        tmp_path / "trained.safetensors", tmp_path / "x.safetensors", target_layout="fast-reid"
    )
    assert [name for name, _ in done.ignored if not name.endswith("tracked")] == ["fc.bias"]
    assert "no feature passes it" in dict(done.ignored)["fc.bias"]
    assert done.unlike == ()
    back = weights.load(tmp_path / "x.safetensors")
    assert back.config == done.config
    assert not back.config.classifier_bias
    assert bits(back) == {
        path: value for path, value in bits(model).items() if path != ("head", "classifier", "bias")
    }


def test_what_a_library_has_otherwise_under_its_names_is_told(tmp_path):
    weights.save(build(), tmp_path / "trained.safetensors")
    for layout, expected in {
        "fast-reid": (("last_stride", 2, 1), ("pool", "padded", "ceil")),
        "adv-reid": (),
    }.items():
        target = tmp_path / f"{layout}.safetensors"
        done = weights.convert(tmp_path / "trained.safetensors", target, target_layout=layout)
        assert done.unlike == expected


def test_positions_are_resampled_only_if_asked():
    square = models.ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 32))
    tensors = weights.to_state_dict(build(square, "none"))
    ramp = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 4, 64)).reshape(1, 16, 64)
    tensors["pos_embed"] = np.concatenate([np.full((1, 1, 64), 7), ramp], 1).astype(np.float32)
    assert weights.from_state_dict(tensors).backbone.pos_embed.shape == (1, 17, 64)
    model = weights.from_state_dict(tensors, image_size=(64, 16))
    positions = np.asarray(model.backbone.pos_embed[...])
    assert positions.shape == (1, 1 + 8 * 2, 64)
    assert (positions[0, 0] == 7).all()
    rows = positions[0, 1:, 0].reshape(8, 2)
    np.testing.assert_allclose(rows[:, 0], rows[:, 1], atol=1e-6)
    # A ramp stays one, at half the slope; cubic interpolation bends it towards its ends only.
    np.testing.assert_allclose(rows[4, 0] - rows[3, 0], 0.5, atol=1e-5)
    assert (np.diff(rows[:, 0]) > 0).all()
    odd = dict(tensors, pos_embed=np.zeros((1, 1 + 8, 64), np.float32))
    with pytest.raises(InputError, match=r"8 positions .* no square of patches: say --image-size"):
        weights.from_state_dict(odd)
    assert weights.from_state_dict(odd, image_size=(32, 16)).config.backbone.grid == (4, 2)


@pytest.mark.parametrize(
    ("more", "tokens", "message"),
    [
        (("dist_token",), 18, "dist_token: a distilled DeiT's, which is not known here; expected"),
        (("reg_token",), 17, "reg_token: a ViT's with registers, which is not known here"),
        ((), 16, "missing tensor cls_token: a ViT that pools its patches is not known here"),
        # Damage, not another kind: the positions are there.
        ((), 17, "1 missing: cls_token"),
    ],
)
def test_transformers_with_other_tokens_are_named(more, tokens, message):
    square = models.ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 32))
    tensors = weights.to_state_dict(build(square, "none"))
    token = tensors["cls_token"]
    if not more:
        del tensors["cls_token"]
    tensors |= dict.fromkeys(more, token)
    tensors["pos_embed"] = np.zeros((1, tokens, 64), np.float32)
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(tensors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "resnet18"}, "expected the tensors of resnet18, the file holds custom"),
        ({"architecture": "vgg"}, "unknown architecture 'vgg'"),
        ({"layout": "keras"}, "unknown layout 'keras'"),
        ({"image_size": (32, 16)}, "image_size belongs to ViTs"),
        ({"depth": 50}, r"unknown options \['depth'\]"),
        ({"layout": "fast-reid"}, "left over"),
        ({"layout": "torchvision"}, "not those of torchvision; the file has the names of adv-reid"),
    ],
)
def test_choices_that_contradict_the_file_are_named(options, message):
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(state(), **options)


def test_a_file_of_64_bits_is_named(tmp_path):
    wide = {
        name: value.astype(np.float64) for name, value in weights.to_state_dict(build()).items()
    }
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match=r"wide\.safetensors: .* is float64: convert with --dtype"):
        weights.load(tmp_path / "wide.safetensors")


def test_a_size_that_a_transformer_does_not_take_is_named():
    tensors = weights.to_state_dict(build(VIT, "none"))
    message = r"\(--size\) 64x32: this network takes images of 32x16 only; --image-size 64x32"
    with pytest.raises(InputError, match=message):
        weights.from_state_dict(tensors, image_size=(32, 16), training_size=(64, 32))


def test_vits_have_no_last_stride():
    with pytest.raises(InputError, match="last_stride belongs to ResNets"):
        weights.from_state_dict(
            weights.to_state_dict(build(VIT, "none")), image_size=(32, 16), last_stride=1
        )


def test_unknown_names_are_named():
    with pytest.raises(InputError, match=r"none of the known libraries.*'stem.weight'"):
        weights.from_state_dict({"stem.weight": FLOATS})
    with pytest.raises(InputError, match="no tensors"):
        weights.from_state_dict({})


def test_two_names_of_one_tensor_are_an_error():
    tensors = fast_reid_state()
    tensors["heads.classifier.weight"] = tensors["heads.weight"]
    with pytest.raises(InputError, match=r"classifier\.weight and heads\.weight are two names"):
        weights.from_state_dict(tensors)


def test_state_dicts_in_memory_lose_their_parallel_prefix():
    wrapped = {f"module.{name}": value for name, value in state().items()}
    assert bits(weights.from_state_dict(wrapped)) == bits(build())


@pytest.mark.parametrize("value", [None, "weights", [[1.0], [1.0, 2.0]]])
def test_what_is_no_array_is_named(value):
    with pytest.raises(InputError, match=r"state dict: fc\.bias is no array"):
        weights.from_state_dict({**state(), "fc.bias": value})


@pytest.mark.torch
def test_tensors_of_pytorch_are_taken_as_they_are():
    import torch

    tensors = {name: torch.from_numpy(value.copy()) for name, value in state().items()}
    tensors["fc.weight"].requires_grad_()
    assert bits(weights.from_state_dict(tensors)) == bits(build())
    narrow = {n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors.items()}
    leaves = bits(weights.from_state_dict(narrow))
    assert {value[0] for value in leaves.values()} == {np.dtype(ml_dtypes.bfloat16)}
    tensors["fc.bias"] = torch.zeros(5, device="meta")
    with pytest.raises(InputError, match=r"fc\.bias is no array"):
        weights.from_state_dict(tensors)


@pytest.mark.parametrize(
    "header",
    [
        "not json",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "layout": "timm", "backbone": {"depths": [1e9]}}',
        '{"format": 1, "layout": "timm", "backbone": {"depths": [1], "widths": [4], "x": 1}}',
        '{"format": 1, "layout": "timm", "backbone": {"patch": "16"}, "head": "none"}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": ["none"]}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": "none", "mean": ["a", "b", "c"]}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": "none", "resize": ["a", "b"]}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": "none", "resize": 5}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": "none", "resize": [1.5, 2.5]}',
        '{"format": 1, "layout": "timm", "backbone": {}, "head": "none", "resize": [16, 99999999]}',
    ],
)
def test_forged_headers_are_refused(tmp_path, header):
    path = tmp_path / "x.safetensors"
    storage.write(path, state(), {"jaxreid": header})
    with pytest.raises(InputError, match=r"x\.safetensors"):
        weights.load(path)


def test_forged_layouts_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    storage.write(path, state(), {"jaxreid": '{"format": 1, "layout": "../etc"}'})
    with pytest.raises(InputError, match="unknown layout"):
        weights.load(path)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["fast-reid", "torchreid"])
def test_features_of_other_libraries_are_kept(tmp_path, kind):
    import torch
    import torch_networks
    import weight_recipe

    if kind == "fast-reid":
        backbone = torch_networks.ResNet(torch_networks.small(pool="ceil", last_stride=1))
        theirs = torch_networks.FastReid(backbone, 64, 5)
    else:
        theirs = torch_networks.Torchreid(torch_networks.small(), identities=5, features=64)
    weight_recipe.redraw(theirs)
    names = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    key = {"fast-reid": "model", "torchreid": "state_dict"}[kind]
    torch.save({key: names, "epoch": 3, "rank1": np.float64(0.9)}, tmp_path / "x.pth")
    x = np.random.default_rng(0).uniform(size=(2, 45, 23, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch_networks.pixels(x)).numpy()
    got = weights.load(tmp_path / "x.pth")(x).features
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.torch
def test_a_file_for_pytorch_has_the_names_and_bits_of_the_project(tmp_path):
    import torch

    config = models.ModelConfig(RESNET, classes=5, classifier_bias=False)
    state = weights.to_state_dict(models.ReID(config, rngs=nnx.Rngs(0)), layout="fast-reid")
    torch.save({"model": {n: torch.tensor(v) for n, v in state.items()}}, tmp_path / "x.pth")
    # Straight from the project's file, and by way of one of ours.
    done = weights.convert(tmp_path / "x.pth", tmp_path / "y.pth")
    assert (done.source_layout, done.target_layout) == ("fast-reid", "fast-reid")
    weights.convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    weights.convert(tmp_path / "x.safetensors", tmp_path / "z.pt", target_layout="fast-reid")
    weights.convert(tmp_path / "x.pth", tmp_path / "w.pth", target_layout="torch")
    weights.convert(tmp_path / "x.pth", tmp_path / "x2.safetensors", target_layout="safetensors")
    again = load_file(tmp_path / "x2.safetensors")
    assert {n: v.tobytes() for n, v in again.items()} == {n: v.tobytes() for n, v in state.items()}
    for name in ("y.pth", "z.pt", "w.pth"):
        written = torch.load(tmp_path / name, weights_only=True)
        assert {type(value) for value in written.values()} == {torch.Tensor}
        found = {name: value.numpy() for name, value in written.items()}
        assert {n: (v.dtype, v.shape, v.tobytes()) for n, v in found.items()} == {
            n: (v.dtype, v.shape, v.tobytes()) for n, v in state.items()
        }
