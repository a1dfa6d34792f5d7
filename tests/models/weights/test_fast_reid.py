"""fast-reid's own state dicts: read and written again."""

import json

import numpy as np
import pytest
from flax import nnx
from golden_models import narrow
from safetensors.numpy import load_file, save_file

from jaxreid import models
from jaxreid.errors import InputError
from jaxreid.models import weights
from jaxreid.models.weights.layouts import detect_layout

NETWORKS = (
    *("bot_r50", "bot_r50_ibn", "bot_r50_embed256", "agw_r50", "sbs_r50", "sbs_r50_ibn"),
    *("mgn_r50_ibn", "v011_bot_r50", "v011_agw_r50", "v011_sbs_r50_ibn"),
)
# What the configurations of the project say: pool, pooling, training size.
EXPECTED = {
    "bot_r50": ("ceil", "average", (256, 128)),
    "bot_r50_ibn": ("ceil", "average", (256, 128)),
    "bot_r50_embed256": ("ceil", "average", (256, 128)),
    "agw_r50": ("ceil", "gem", (256, 128)),
    "sbs_r50": ("ceil", "gem-learnt", (384, 128)),
    "sbs_r50_ibn": ("ceil", "gem-learnt", (384, 128)),
    "mgn_r50_ibn": ("ceil", "gem-learnt", (384, 128)),
    "v011_bot_r50": ("padded", "average", (256, 128)),
    # AGW takes 256x128 and SBS 384x128, under the same names.
    "v011_agw_r50": ("padded", "gem-learnt", None),
    "v011_sbs_r50_ibn": ("padded", "gem-learnt", None),
}


QUICK = ("bot_r50_embed256", "agw_r50", "mgn_r50_ibn", "v011_sbs_r50_ibn")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NETWORKS]
)
def test_files_are_told_apart_and_written_as_they_were(golden, name):
    tensors = narrow(golden, name)
    model = weights.from_state_dict(tensors)
    config = model.config
    assert (config.backbone.pool, config.backbone.pooling, config.training_size) == EXPECTED[name]
    assert (config.head == "reduction") == (name in ("bot_r50_embed256", "mgn_r50_ibn"))
    assert (config.classes, config.classifier_bias) == (5, False)
    assert config.backbone.ibn == ("ibn" in name)
    looks = any(kind in name for kind in ("agw", "sbs"))
    assert getattr(config.backbone, "non_local", ()) == ((0, 2, 3, 0) if looks else ())
    np.testing.assert_allclose(config.mean, models.config.IMAGENET_MEAN, rtol=1e-6)
    assert (config.pipeline.filter, config.pipeline.distance) == ("bicubic", "cosine")
    back = weights.to_state_dict(model, layout=detect_layout(tensors))
    assert {n: (v.dtype, v.tobytes()) for n, v in back.items()} == {
        n: (v.dtype, v.tobytes()) for n, v in tensors.items()
    }


def test_the_zoos_files_stay_what_they_are_through_ours(golden, tmp_path):
    tensors = narrow(golden, "v011_agw_r50")
    save_file(tensors, tmp_path / "zoo.safetensors")
    done = weights.convert(
        tmp_path / "zoo.safetensors", tmp_path / "x.safetensors", target_layout="fast-reid-v0.1"
    )
    assert done.source_layout == done.target_layout == "fast-reid-v0.1"
    back = load_file(tmp_path / "x.safetensors")
    assert {n: v.tobytes() for n, v in back.items()} == {n: v.tobytes() for n, v in tensors.items()}
    # With its header, and without.
    assert weights.load(tmp_path / "x.safetensors").config == done.config
    assert weights.from_state_dict(back).config == done.config
    # By default under names that say nothing of the pool: the header does.
    weights.convert(tmp_path / "zoo.safetensors", tmp_path / "y.safetensors")
    assert weights.load(tmp_path / "y.safetensors").config == done.config


def test_an_mgn_of_the_zoo_is_refused(golden):
    tensors = narrow(golden, "mgn_r50_ibn")
    old = {name.replace("_head.bottleneck.1", "_head.bnneck"): v for name, v in tensors.items()}
    del old["b1_head.bottleneck.0.weight"]
    with pytest.raises(InputError, match=r"older names, which are not read"):
        weights.from_state_dict(old)


def test_one_learnt_power_of_eight_that_is_missing_is_no_choice(golden):
    tensors = narrow(golden, "mgn_r50_ibn")
    del tensors["b1_head.pool_layer.p"]
    with pytest.raises(InputError, match=r"1 missing: b1_head\.pool_layer\.p$"):
        weights.from_state_dict(tensors)


def test_what_the_tensors_leave_open_is_asked_for(golden):
    tensors = narrow(golden, "v011_agw_r50")
    del tensors["heads.pool_layer.p"]
    with pytest.raises(InputError, match=r"missing tensor heads\.pool_layer\.p: .*--pooling gem"):
        weights.from_state_dict(tensors)
    assert weights.from_state_dict(tensors, pooling="gem").config.backbone.pooling == "gem"
    tensors = narrow(golden, "agw_r50")
    under = {n.removeprefix("backbone."): v for n, v in tensors.items() if "heads" not in n}
    with pytest.raises(InputError, match="--pooling gem or --pooling average"):
        weights.from_state_dict(under)
    assert weights.from_state_dict(under, pooling="gem").config.backbone.pooling == "gem"


def test_ibn_of_libraries_whose_plain_networks_differ_is_asked_about(golden):
    plain = {
        n.removeprefix("backbone."): v
        for n, v in narrow(golden, "bot_r50_ibn").items()
        if "heads" not in n
    }
    named = {f"base.{n}": v for n, v in plain.items()}
    with pytest.raises(InputError, match="--stem-relu"):
        weights.from_state_dict(named, layout="strong-baseline")
    model = weights.from_state_dict(named, layout="strong-baseline", stem_relu=True)
    assert (model.config.backbone.ibn, model.config.backbone.stem_relu) == (True, True)
    # Of the authors of IBN: as torchvision's.
    assert weights.from_state_dict(plain).config.backbone.ibn


def test_a_header_of_before_these_fields_is_read(golden, tmp_path):
    config = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = models.create(config, head="none", rngs=nnx.Rngs(0))
    weights.save(model, tmp_path / "x.safetensors")
    from safetensors import safe_open

    with safe_open(tmp_path / "x.safetensors", framework="np") as file:
        header = json.loads(file.metadata()["jaxreid"])
    # Format 1 had no checksum and no kind.
    del header["checksum"]
    header["format"] = 1
    for field in ("kind", "ibn", "non_local", "pooling"):
        del header["backbone"][field]
    tensors = load_file(tmp_path / "x.safetensors")
    save_file(tensors, tmp_path / "old.safetensors", metadata={"jaxreid": json.dumps(header)})
    assert weights.load(tmp_path / "old.safetensors").config == model.config


@pytest.mark.parametrize("name", ["resnet50_ibn", "resnet101_ibn", "resnet50_nl", "mgn_resnet50"])
def test_they_have_names_to_train_by(name):
    assert models.kinds.architecture_name(models.ARCHITECTURES[name]) == name
