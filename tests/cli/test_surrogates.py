"""Surrogates and boosts, as they are typed."""

import json

import pytest
from commands import EMBEDDINGS, run, working_folder
from flax import nnx

from jaxreid.cli.model.loading import load_model
from jaxreid.cli.surrogates import _as_the_model_sees
from jaxreid.errors import InputError
from jaxreid.evaluation import LoaderSettings
from jaxreid.models import Pipeline, ResNetConfig, ViTConfig, create, weights
from jaxreid.records import RunFolder

DATA = ("--dataset", "synthetic_reid/tiny")
TINY = (*DATA, "--limit", 6, "--steps", 2)


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, stand_ins=EMBEDDINGS)


@pytest.mark.slow
def test_evaluate_by_a_surrogate(capsys, place):
    words = ("evaluate", "stand_ins:first", *TINY, "--attacks", "noise,nna", "--eps", 8)
    words += ("--seeds", 1, "--boost", "di,mi", "--examples", 0, "--out", "out")
    code, out, err = run(capsys, *words, "--surrogate", "stand_ins:second,stand_ins:third")
    assert code == 0, err
    conditions = [result.condition for result in RunFolder.open(place / "out").results()]
    clean, noise, nna = conditions
    assert (clean.surrogate, noise.surrogate, noise.boost) == ("", "", "")
    assert nna.boost == "mi+di"
    assert [name.rsplit("-", 1)[0] for name in nna.surrogate.split("+")] == ["second", "third"]
    assert f"nna, by mi+di, from {nna.surrogate}" in out.replace("\n", "")
    # The same command has nothing left to do, and another surrogate is another condition.
    code, _, err = run(capsys, *words, "--surrogate", "stand_ins:second,stand_ins:third")
    assert code == 0
    assert "nna" not in err
    code, _, err = run(capsys, *words, "--surrogate", "stand_ins:third")
    assert code == 0, err
    assert len(RunFolder.open(place / "out").results()) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--boost", "mj"), "unknown boost 'mj'"),
        (("--boost", "di,di"), "a boost is named twice"),
        (("--attacks", "worst", "--boost", "di"), "--boost is of single attacks"),
        (("--attacks", "fna,worst", "--boost", "di"), "boost is of single attacks"),
        (("--attacks", "worst", "--surrogate", "x"), "--surrogate is of single attacks"),
        (("--attacks", "fna", "--surrogate", "nowhere.pth"), "nowhere.pth"),
        (("--attacks", "fna", "--surrogate", "stand_ins:first"), "is the model itself"),
        (("--images", "x", "--boost", "di"), "--boost cannot be given with --images"),
    ],
)
def test_what_is_refused(capsys, place, words, message):
    code, _, err = run(capsys, "evaluate", "stand_ins:first", *DATA, *words)
    assert code == 2
    assert message in err
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_a_matrix_of_networks(capsys, place):
    models = [f"stand_ins:{name}" for name in ("first", "second", "third")]
    words = ("transfer", *models, *TINY, "--attack", "nna", "--eps", 8, "--out", "out")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    record = json.loads((place / "out" / "transfer.json").read_text())
    labels = list(record["models"])
    assert list(record["models"].values()) == models
    found = {(c["made_on"], c["ranked_by"]): c["mean_average_precision"] for c in record["cells"]}
    assert set(found) == {(made, by) for made in ("clean", *labels, "all others") for by in labels}
    for label in labels:
        folder = RunFolder.open(place / "out" / label)
        scores = {
            one.condition.surrogate: one.scores["market1501"].mean_average_precision
            for one in folder.results()
            if one.condition.attack == "nna"
        }
        assert found[label, label] == scores[""]
        for other in labels:
            assert other == label or found[other, label] == scores[other]
        # Whoever has the network does most.
        assert found[label, label] <= min(
            found[made, label] for made in ("clean", *labels, "all others")
        )
        assert f" {label} " in out
    assert all(len(line) <= 80 for line in out.splitlines()[:-3])
    for suffix in ("svg", "png"):
        assert (place / "out" / f"transfer.{suffix}").stat().st_size > 1000
    code, again, err = run(capsys, *words, "--json")
    assert code == 0
    assert json.loads(again)["cells"] == record["cells"]
    assert "nna" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stand_ins:first",), "two or more MODELS"),
        (("stand_ins:first", "stand_ins:first"), "each once"),
        (("stand_ins:first", "stand_ins:second", "--attack", "worst"), "several attacks"),
        (("stand_ins:first", "stand_ins:second", "--norm", "l2"), "--norm l2 needs --eps"),
    ],
)
def test_matrices_that_are_none(capsys, place, words, message):
    code, _, err = run(capsys, "transfer", *words, *TINY, "--out", "out")
    assert code == 2
    assert message in err
    assert not (place / "out").exists()


@pytest.mark.slow
def test_a_surrogate_of_other_images_is_told_or_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    shape = ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = create(shape, head="none", pipeline=Pipeline(filter="bicubic"), rngs=nnx.Rngs(0))
    weights.save(model, path, training_size=(64, 32))
    other = load_model(str(path))
    assert [*_as_the_model_sees(other, "x", LoaderSettings((64, 32), filter="bicubic"))] == []
    assert [*_as_the_model_sees(other, "x", LoaderSettings((32, 16)))] == [
        "--surrogate x was made for images of 64x32, and sees the model's, of 32x16",
        "--surrogate x has images resized by PIL's bicubic kernel, and sees the model's, by PIL's "
        "bilinear kernel",
    ]
    vit = ViTConfig(width=64, depth=1, heads=1, patch=8, image_size=(32, 16))
    weights.save(create(vit, head="none", rngs=nnx.Rngs(0)), path)
    other = load_model(str(path))
    assert [*_as_the_model_sees(other, "x", LoaderSettings((32, 16)))] == []
    with pytest.raises(InputError, match=r"takes images of 32x16 only.*--resize 32x16"):
        [*_as_the_model_sees(other, "x", LoaderSettings((64, 32)))]
    exported = load_model(str(path))._replace(size=(32, 16), fixed_size=True)
    assert [*_as_the_model_sees(exported, "x", LoaderSettings((32, 16)))] == []
    with pytest.raises(InputError, match=r"of 32x16 only.*64x32: export it anew, .*--size 64x32"):
        [*_as_the_model_sees(exported, "x", LoaderSettings((64, 32)))]
