"""A model's pipeline is what commands do by default; whoever wants another one is told."""

import dataclasses

import jax
import numpy as np
import pytest
from commands import run
from flax import nnx
from networks import drawn
from PIL import Image
from safetensors.numpy import save_file

from jaxreid import ranking
from jaxreid.cli.model.loading import load_model
from jaxreid.cli.model.pipelines import (
    card_lines,
    only_size,
    override_notes,
    pipeline_card,
    pipeline_line,
    size_notes,
)
from jaxreid.data.decode import decode_batch
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.models import (
    CLIPViTConfig,
    MGNConfig,
    ModelConfig,
    OSNetConfig,
    Pipeline,
    ReID,
    ResNetConfig,
    SwinConfig,
    ViTConfig,
    weights,
)
from jaxreid.records import RunFolder
from jaxreid.types import Embedded

RESNET = ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
SAID = Pipeline(
    filter="opencv-bilinear", distance="cosine", unit_length=True, flip=True, source="a test"
)
TINY = ("--dataset", "synthetic_reid/tiny")
QUICK = ("--attacks", "noise", "--eps", 2, "--seeds", 1, "--batch-size", 16)


def build(**options):
    return drawn(RESNET, **{"head": "none", "pipeline": SAID, **options})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset("synthetic_reid/tiny", data_dir=folder)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, data_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    weights.save(build(), tmp_path / "x.safetensors", training_size=(24, 12))
    return tmp_path


def features(split, model):
    """Of a split, by a network and its mirror image, as SAID has it."""
    source = open_split("synthetic_reid/tiny", split)
    jpegs = [source[i]["image"] for i in range(len(source))]
    names = list(source.file_names)
    images = decode_batch(jpegs, (24, 12), filter="opencv-bilinear", names=names)
    x = images.astype(np.float32) / 255
    run = nnx.jit(lambda model, x: model(x).features)
    found = run(model, x) + run(model, x[:, :, ::-1])
    return Embedded(np.asarray(found), source.identities, source.cameras)


@pytest.mark.slow
def test_evaluate_does_as_the_model_says(capsys, place):
    code, _, err = run(capsys, "evaluate", "x.safetensors", *TINY, *QUICK, "--out", "out")
    assert code == 0, err
    assert "pipeline: 24x12 by OpenCV's bilinear kernel, 16 numbers as pooled" in err
    assert "overrides" not in err
    folder = RunFolder.open(place / "out")
    said = folder.provenance
    kept = {name: said.settings[name] for name in ("size", "flip", "filter")}
    assert kept == {"size": [24, 12], "flip": True, "filter": "opencv-bilinear"}
    assert said.model["pipeline"] == dataclasses.asdict(SAID)
    clean = folder.results()[0]
    assert clean.condition.distance == "cosine"
    model = build()
    query, gallery = (features(part, model) for part in ("query", "gallery"))
    expected = ranking.evaluate(query, gallery, distance="cosine").mean_average_precision
    assert clean.scores["market1501"].mean_average_precision == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_size_that_the_network_does_not_take_is_refused(capsys, place):
    vit = ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 16))
    model = drawn(vit, head="none")
    weights.save(model, place / "vit.safetensors")
    code, _, err = run(capsys, "evaluate", "vit.safetensors", *TINY, *QUICK, "--size", "64x32")
    assert code == 2
    assert err.splitlines() == [
        "jaxreid: --size 64x32: vit takes images of 32x16 only; jaxreid convert --resize 32x16 "
        "makes it one that resizes others inside"
    ]
    # As the message says.
    code, _, err = run(
        capsys, "convert", "vit.safetensors", "inside.safetensors", "--resize", "32x16"
    )
    assert code == 0, err
    config = weights.load(place / "inside.safetensors").config
    assert (only_size(model.config), only_size(config)) == ((32, 16), None)


@pytest.mark.slow
def test_an_override_is_told_and_recorded(capsys, place):
    asked = ("--distance", "euclidean", "--no-flip", "--size", "32x16", "--filter", "bilinear")
    asked = ("--no-unit-length", *asked)
    code, _, err = run(capsys, "evaluate", "x.safetensors", *TINY, *QUICK, *asked, "--out", "out")
    assert code == 0, err
    assert [line for line in err.splitlines() if "overrides" in line] == [
        "note: --size 32x16 overrides the model's 24x12",
        "note: --filter bilinear overrides the model's opencv-bilinear",
        "note: --distance euclidean overrides the model's cosine",
        "note: --no-flip overrides the model's --flip",
        "note: --no-unit-length overrides the model's --unit-length",
    ]
    assert "made unit length" not in err
    folder = RunFolder.open(place / "out")
    assert folder.results()[0].condition.distance == "euclidean"
    # As folders of before had it: the usual kernel is not written.
    assert "filter" not in folder.provenance.settings
    assert folder.provenance.settings["flip"] is False
    assert folder.provenance.settings["unit_length"] is False
    # Two distances share a folder.
    again = (asked[0], *asked[3:], "--distance", "cosine")
    code, _, err = run(capsys, "evaluate", "x.safetensors", *TINY, *QUICK, *again, "--out", "out")
    assert code == 0, err
    assert {one.condition.distance for one in folder.results()} == {"euclidean", "cosine"}


def test_written_images_bring_what_they_were_made_with(capsys, place):
    made = ("--attack", "noise", "--eps", 2, "--distance", "euclidean", "--batch-size", 16)
    code, _, err = run(capsys, "attack", "x.safetensors", *TINY, *made, "--out", "images")
    assert code == 0, err
    assert "note: --distance euclidean overrides the model's cosine" in err
    words = ("evaluate", "x.safetensors", "--images", "images", "--out", "out")
    code, _, err = run(capsys, *words)
    assert code == 0, err
    assert "note: the images' distance euclidean overrides the model's cosine" in err
    assert RunFolder.open(place / "out").provenance.settings["filter"] == "opencv-bilinear"
    assert {r.condition.distance for r in RunFolder.open(place / "out").results()} == {"euclidean"}
    code, _, err = run(capsys, *words, "--filter", "bilinear")
    assert code == 2
    assert "--filter cannot be given with --images" in err


def test_the_embedding_has_unit_length_and_the_mirror_image(place):
    x = jax.random.uniform(jax.random.key(0), (3, 24, 12, 3))
    run = nnx.jit(lambda model, x: model(x).features)
    both = run(build(), jax.numpy.concatenate([x, x[:, :, ::-1]]))
    one_way, mirrored = np.split(np.asarray(both), 2)

    def unit(features):
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def check(loaded, expected):
        np.testing.assert_allclose(jax.jit(loaded.embed)(x), expected, atol=1e-5)

    check(load_model("x.safetensors"), unit(one_way + mirrored))
    check(load_model("x.safetensors", flip=False), unit(one_way))
    check(load_model("x.safetensors", flip=False, unit_length=False), one_way)
    # A network of which nothing says more is as it always was.
    weights.save(build(pipeline=None), place / "y.safetensors")
    plain = load_model("y.safetensors")
    assert plain.pipeline is None
    assert "pipeline" not in plain.facts
    check(plain, one_way)
    check(load_model("y.safetensors", unit_length=True), unit(one_way))


def test_a_card_has_8_lines_of_80_columns():
    options = {"colours": "BGR", "resize": (32, 16), "crop": (24, 12), "classes": 751}
    said = dataclasses.replace(SAID, source="a library: data/transforms.py, engine/engine.py")
    lines = list(
        card_lines(pipeline_card(build(head="classification", pipeline=said, **options).config))
    )
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("BGR", "32x16", "24x12", "OpenCV's bilinear", "cosine", "mirror", "unit length"):
        assert word in text
    unknown = "\n".join(card_lines(pipeline_card(build(pipeline=None).config)))
    assert "nothing says" in unknown


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        (
            ResNetConfig(last_stride=1, pool="ceil", pooling="gem"),
            "last stride 1, pool ceil, pooling gem",
        ),
        (ResNetConfig(stem_relu=False), "last stride 2, pool padded, pooling average, no ReLU"),
        (ResNetConfig(stem="patch"), "last stride 2, pooling average"),
        (MGNConfig(), "pool ceil, pooling gem-learnt"),
        (ViTConfig(), "stride 16"),
        (ViTConfig(stride=12, cameras=6, sie_factor=3.0), "stride 12, sie factor 3"),
        (CLIPViTConfig(), "stride 16"),
        (CLIPViTConfig(cameras=6, sie_factor=1.0), "stride 16, sie factor 1"),
        (SwinConfig(semantic_weight=0.2), "semantic weight 0.2"),
        (SwinConfig(), None),
        (OSNetConfig(), None),
    ],
)
@pytest.mark.parametrize("pipeline", [None, SAID])
def test_a_card_has_what_no_tensor_shows(shape, settings, pipeline):
    card = pipeline_card(ModelConfig(shape, head="none", pipeline=pipeline))
    assert card.get("settings", "").removesuffix(" after the stem") == (settings or "")


def test_a_line_says_what_is_done_whoever_says_it():
    config = build(head="classification", classes=5, colours="BGR", crop=(8, 8)).config
    line = " ".join(
        pipeline_line(config, size=(16, 8), filter="bicubic", distance="euclidean", flip=False)
    )
    expected = ("16x8 by PIL's bicubic kernel", "centre of 8x8", "BGR", "euclidean distance")
    assert all(word in line for word in expected)
    assert "flip" not in line
    line = " ".join(
        pipeline_line(
            dataclasses.replace(config, pipeline=SAID),
            size=(16, 8),
            filter="bicubic",
            distance="cosine",
            flip=True,
            unit_length=False,
        )
    )
    assert "unit length" not in line
    names = ("size", "filter", "distance", "flip", "unit_length")
    nobody = dict.fromkeys(names)
    assert not list(override_notes(config, (16, 8), nobody))
    kept = ((16, 8), "opencv-bilinear", "cosine", True, True)
    same = dict(zip(names, kept, strict=True))
    assert not list(override_notes(config, (16, 8), same))
    notes = list(override_notes(build(pipeline=None).config, None, {**same, "flip": False}))
    assert [*override_notes(config, (16, 8), {**nobody, "unit_length": False})] == [
        "--no-unit-length overrides the model's --unit-length"
    ]
    assert not notes


@pytest.fixture
def vehicles(tmp_path):
    """Names as VeRi-776 has them, two identities in each part, seen by two cameras."""
    rng = np.random.default_rng(0)
    for part, identities in (("train", (1, 2)), ("query", (3, 4)), ("test", (3, 4))):
        (tmp_path / f"VeRi/image_{part}").mkdir(parents=True)
        for identity in identities:
            for camera in (1, 2):
                name = f"VeRi/image_{part}/{identity:04}_c00{camera}_0000003{identity}_0.jpg"
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / name)
    prepare_dataset("veri776", manual_dir=tmp_path / "VeRi", data_dir=tmp_path, subset=True)
    return tmp_path


# fast-reid's BoT of people is trained on 256x128, its configs/VeRi on 256x256: the same tensors.
def test_vehicles_at_the_size_of_people_are_told(capsys, vehicles, monkeypatch):
    monkeypatch.chdir(vehicles)
    monkeypatch.setenv("TFDS_DATA_DIR", str(vehicles))
    small = dataclasses.replace(RESNET, last_stride=1, pool="ceil")
    config = ModelConfig(small, classes=5, classifier_bias=False)
    model = ReID(config, rngs=nnx.Rngs(0))
    save_file(weights.to_state_dict(model, layout="fast-reid"), "bot.safetensors")
    words = ("evaluate", "bot.safetensors", "--dataset", "veri776", "--attacks", "clean")
    words += ("--examples", 0)
    code, _, err = run(capsys, *words, "--out", "one")
    assert code == 0, err
    said = " ".join(err.split())
    assert "note: images of 256x128 are those of fast-reid for people, and no tensor" in said
    assert "give --size 256x256, or say it once by jaxreid convert --size 256x256" in said
    assert max(map(len, err.splitlines())) <= 80
    # Whoever says a size, be it this one, is not asked again.
    for asked in ("256x256", "256x128"):
        code, _, err = run(capsys, *words, "--size", asked, "--out", asked)
        assert (code, "for people" in err) == (0, False), err
        code, out, _ = run(capsys, "convert", words[1], f"{asked}.safetensors", "--size", asked)
        assert (code, "usual images" in out) == (0, False)
        assert "training_size as told to jaxreid" in out
    code, out, _ = run(capsys, "convert", words[1], "unsaid.safetensors")
    assert "note: 256x128 is the size of its library's usual images" in out


@pytest.mark.parametrize(
    ("shape", "size", "source", "people", "vehicles"),
    [
        (OSNetConfig(), (256, 128), "torchreid: data/transforms.py", False, True),
        (ResNetConfig(), (384, 128), "fast-reid", False, True),
        (SwinConfig(semantic_weight=0.2), (384, 128), "SOLIDER: x", False, True),
        (ResNetConfig(), (256, 256), "fast-reid; training_size as told to jaxreid", False, False),
        (ResNetConfig(), (256, 128), "jaxreid train, from fast-reid", False, False),
        # The rows of its positions say it.
        (ViTConfig(image_size=(256, 128)), (256, 128), "TransReID: x", False, False),
    ],
)
def test_a_size_is_in_question_where_no_tensor_shows_it(shape, size, source, people, vehicles):
    said = Pipeline(source=source)
    config = ModelConfig(shape, head="none", training_size=size, pipeline=said)
    for dataset, asked in (("market1501", people), ("veri776", vehicles)):
        assert bool(list(size_notes(config, dataset))) is asked
