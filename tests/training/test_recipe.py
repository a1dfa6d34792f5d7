"""From fields to functions: what each field changes, and what is wrong with some."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
import seeing
import trainings
from flax import nnx
from networks import drawn

from jaxreid.collectives import Collective
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.errors import InputError
from jaxreid.losses import similarity_divergence
from jaxreid.models import (
    ARCHITECTURES,
    CLIPViTConfig,
    ModelConfig,
    Outputs,
    Pipeline,
    ReID,
    SwinConfig,
    embedding,
    weights,
)
from jaxreid.training import (
    BothSides,
    Defense,
    TrainState,
    precision_loss,
    recipe_defense,
    triplet_loss,
)
from jaxreid.training import recipe as recipes
from jaxreid.training.config import EvaluationConfig, TrainConfig
from jaxreid.training.recipe import build
from jaxreid.training.setup import _check_cameras, first_state
from jaxreid.training.validation import Validation


@pytest.fixture
def make(tiny_data):
    def run(say=lambda line: None, **changes):
        fields = {name.replace("__", "."): value for name, value in changes.items()}
        config = trainings.settings({"dataset.data_dir": tiny_data, **fields})
        return build(config, axis_name=None, say=say)

    return run


@pytest.fixture
def goat_options(monkeypatch):
    """Arguments that `goat` is called with."""
    given = {}
    monkeypatch.setattr(recipes, "goat", lambda **options: given.update(options))
    return given


def test_data_and_steps(make):
    recipe = make()
    assert recipe.steps_per_epoch == 10
    assert recipe.cache.shape == (86, 32, 16, 3)
    assert recipe.model.config.classes == 11
    assert not recipe.needs_bank
    people = make(**{k.replace(".", "__"): v for k, v in trainings.TRIPLET.items()})
    assert people.steps_per_epoch == 6  # two people of eleven at a time
    labels = next(people.batches).labels
    assert len(set(labels.tolist())) == 2
    assert people.model.config.feature_size == 16


def test_people_of_two_datasets_are_learned_together(make, tiny_data, market_folder, tmp_path):
    (tmp_path / "both").mkdir()
    (tmp_path / "both/synthetic_reid").symlink_to(tiny_data / "synthetic_reid")
    where = tmp_path / "both"
    prepare_dataset("market1501", manual_dir=market_folder, data_dir=where, subset=True)
    both = make(dataset__data_dir=where, dataset__more="market1501")
    market = open_split("market1501", "train", data_dir=where)
    assert both.model.config.classes == 11 + market.labels.max() + 1
    assert both.cache.shape == (86 + len(market), 32, 16, 3)
    np.testing.assert_array_equal(both.source.labels[86:], 11 + market.labels)
    assert both.steps_per_epoch == (86 + len(market)) // 8
    with pytest.raises(InputError, match="cuhk03_np/detected is not prepared"):
        make(dataset__data_dir=where, dataset__more="market1501, cuhk03_np")
    with pytest.raises(InputError, match=r"dataset\.more must be names with commas between them"):
        make(dataset__more="market1501,")


def test_the_learning_rate_is_a_function_of_updates(make):
    rates = {"schedule__name": "steps", "schedule__boundaries": "(2,4)", "epochs": 5}
    recipe = make(**rates, schedule__warmup_epochs=1.0)
    found = [float(recipe.learning_rate(step)) for step in (0, 5, 10, 19, 20, 40)]
    np.testing.assert_allclose(found, np.array([0, 0.5, 1, 1, 0.1, 0.01]) * 0.003, rtol=1e-5)
    free = make(**rates, goat__enabled=True, goat__replays=4)
    found = [float(free.learning_rate(update)) for update in (79, 80)]
    np.testing.assert_allclose(found, [0.003, 0.0003], rtol=1e-5)


def test_budgets_in_pixels_and_in_normalised_units(make, goat_options):
    make(goat__enabled=True, goat__eps_warmup_epochs=2.0, goat__step_schedule="cosine")
    assert goat_options["step_schedule"] == "cosine"
    assert goat_options["eps"] == pytest.approx(5 / 255)
    assert goat_options["step_size"] == pytest.approx(1 / 255)
    assert [float(goat_options["strength"](step)) for step in (0, 5, 20, 30)] == [0, 0.25, 1, 1]
    recipe = make(goat__enabled=True, goat__eps_unit="normalized")
    std = np.array(recipe.model.config.std)
    np.testing.assert_allclose(goat_options["eps"], 5 / 255 * std)
    np.testing.assert_allclose(goat_options["step_size"], std / 255)
    assert goat_options["strength"] is None


@pytest.mark.slow
def test_a_network_is_told_the_cameras_of_the_data(make, monkeypatch):
    options = {"model__architecture": "seeing", "goat__enabled": True, "goat__push": 1}
    with seeing.registered():
        monkeypatch.setitem(ARCHITECTURES, "seeing", seeing.SeeingConfig(3))
        recipe = make(**options)
        monkeypatch.setitem(ARCHITECTURES, "seeing", seeing.SeeingConfig(2))
        with pytest.raises(InputError, match=r"of 3 cameras, 0 to 2, and.* of 2, 0 to 1: train a"):
            make(**options)
    batch = next(recipe.batches)
    assert set(batch.cameras.tolist()) <= {0, 1, 2}
    state = TrainState.create(recipe.model, recipe.optimizer)
    after, metrics = jax.jit(recipe.step)(state, batch)
    assert np.isfinite(metrics["loss"])
    before, now = (np.asarray(one.params.backbone.table[...]) for one in (state, after))
    seen = np.isin(np.arange(3), batch.cameras)
    np.testing.assert_array_equal((before != now).any(axis=1), seen)
    # So are those on whom it is validated, before anything is trained.
    others = Validation(recipe.source, recipe.source, EvaluationConfig(), (32, 16), 0)
    _check_cameras(recipe.model, others)
    with pytest.raises(InputError, match="the validation has images of 3 cameras"):
        _check_cameras(seeing.network(2), others)


def test_guides_from_the_bank_need_no_pixels(make):
    recipe = make(goat__enabled=True, goat__push=2, goat__guide_bank=True)
    assert recipe.needs_bank
    batch = next(recipe.batches)
    assert batch.push_images.shape[1] == 0
    assert batch.push_indices.shape == (8, 2)
    assert next(make(goat__enabled=True, goat__push=2).batches).push_images.shape[1] == 2
    assert next(make(goat__push=2).batches).push_images.shape[1] == 0


@pytest.mark.slow
def test_a_warm_start_takes_the_backbone_and_a_head_that_fits(make, tmp_path):
    mean = (0.4, 0.5, 0.6)
    for classes in (11, 5):
        model = drawn(trainings.SHAPE, classes=classes, mean=mean)
        weights.save(model, tmp_path / f"{classes}.safetensors")
        notes: list[str] = []
        start = {"model__start_from": tmp_path / f"{classes}.safetensors"}
        started = make(say=notes.append, **start).model
        assert started.config.mean == mean
        np.testing.assert_array_equal(
            started.backbone.conv1.kernel[...], model.backbone.conv1.kernel[...]
        )
        if classes == 11:
            kernel = model.head.classifier.kernel[...]
            np.testing.assert_array_equal(started.head.classifier.kernel[...], kernel)
            assert notes == []
        else:
            assert notes == [
                "note: the head of model.start_from (classification, 5 classes) has another shape "
                "and is left out: classification, 11 classes begins anew"
            ]
    with pytest.raises(InputError, match=r"\(tiny\) than .* \(resnet18\); --.*=tiny takes it$"):
        make(model__start_from=tmp_path / "5.safetensors", model__architecture="resnet18")


def test_a_warm_start_keeps_a_head_whose_classifier_has_no_bias(make, tmp_path):
    config = ModelConfig(trainings.SHAPE, classes=11, classifier_bias=False)
    model = ReID(config, rngs=nnx.Rngs(0))
    model.head.neck.mean[...] = np.arange(model.head.neck.mean.size)
    weights.save(model, tmp_path / "x.safetensors", layout="fast-reid")
    notes: list[str] = []
    head = make(say=notes.append, model__start_from=tmp_path / "x.safetensors").model.head
    assert notes == []
    np.testing.assert_array_equal(head.neck.mean[...], model.head.neck.mean[...])
    kernel = model.head.classifier.kernel[...]
    np.testing.assert_array_equal(head.classifier.kernel[...], kernel)
    assert not np.asarray(head.classifier.bias[...]).any()


def test_a_reduction_is_trained_and_trained_on(make, tmp_path):
    """A 1x1 convolution, BatchNorm and a classifier, as fast-reid's EMBEDDING_DIM makes them."""
    recipe = make(model__head="reduction", model__dimensions=6)
    assert recipe.model.config.feature_size == 6
    state = TrainState.create(recipe.model, recipe.optimizer)
    after, metrics = jax.jit(recipe.step)(state, next(recipe.batches))
    # Classifiers begin near zero, where each of the 11 people is as likely as another.
    np.testing.assert_allclose(metrics["loss"], np.log(11), rtol=0.02)
    before, now = (nnx.to_flat_state(one.params.head) for one in (state, after))
    pairs = zip(before, now, strict=True)
    moved = {path[0] for (path, a), (_, b) in pairs if not np.array_equal(a[...], b[...])}
    assert moved == {"reductions", "necks", "classifiers"}
    weights.save(after.model(), tmp_path / "x.safetensors")
    fields = {"model__head": "reduction", "model__dimensions": 6}
    notes: list[str] = []
    again = make(say=notes.append, model__start_from=tmp_path / "x.safetensors", **fields).model
    assert notes == []
    np.testing.assert_array_equal(
        again.head.reductions[0].kernel[...], after.params.head.reductions[0].kernel[...]
    )


@pytest.mark.slow
def test_a_transformer_takes_the_size_of_the_images(make, tmp_path):
    assert make(model__architecture="tiny_vit").model.config.backbone.image_size == (32, 16)
    # A file of other images, with overlapping patches and camera embeddings.
    shape = dataclasses.replace(
        ARCHITECTURES["tiny_vit"], image_size=(48, 24), stride=4, cameras=3, sie_factor=2.0
    )
    model = drawn(shape, classes=11)
    weights.save(model, tmp_path / "x.safetensors")
    started = make(model__architecture="tiny_vit", model__start_from=tmp_path / "x.safetensors")
    backbone = started.model.backbone
    assert backbone.config == dataclasses.replace(shape, image_size=(32, 16))
    assert backbone.pos_embed.shape == (1, 1 + 7 * 3, 32)
    np.testing.assert_array_equal(backbone.sie_embed[...], model.backbone.sie_embed[...])


def test_cameras_of_several_views_stay_so_and_another_backbone_is_named(make, tmp_path):
    trainings.register()
    own = ARCHITECTURES["tiny_vit"]
    shape = dataclasses.replace(own, image_size=(32, 16), cameras=6, sie_factor=2.0)
    model = drawn(shape, classes=11, pipeline=Pipeline(views=2))
    weights.save(model, tmp_path / "x.safetensors")
    start = {"model__start_from": tmp_path / "x.safetensors"}
    started = make(model__architecture="tiny_vit", **start)
    assert (started.model.config.pipeline.views, started.model.cameras) == (2, 3)
    with pytest.raises(InputError, match=r"\(tiny_vit\) than .* \(tiny\); --.*=tiny_vit takes it$"):
        make(**start)


@pytest.mark.slow
def test_a_network_of_silu_is_attacked_and_learns(make, tmp_path, monkeypatch):
    smooth = dataclasses.replace(trainings.SHAPE, activation="silu")
    monkeypatch.setitem(ARCHITECTURES, "smooth", smooth)
    recipe = make(model__architecture="smooth", goat__enabled=True)
    state = TrainState.create(recipe.model, recipe.optimizer)
    after, metrics = jax.jit(recipe.step)(state, next(recipe.batches))
    assert float(metrics["objective_end"]) > float(metrics["objective_start"])
    kernels = (one.params.backbone.conv1.kernel[...] for one in (state, after))
    assert not np.array_equal(*kernels)
    # Weights of the one activation are not those of the other, though their shapes are the same.
    weights.save(after.model(), tmp_path / "x.safetensors")
    started = make(model__architecture="smooth", model__start_from=tmp_path / "x.safetensors")
    assert started.model.config.backbone == smooth
    with pytest.raises(InputError, match=r"\(smooth\) than model\.architecture names \(tiny\);"):
        make(model__start_from=tmp_path / "x.safetensors")


OPEN = {
    "pool, relu, stride": (
        dataclasses.replace(trainings.SHAPE, stem="imagenet"),
        {"pool": "ceil", "stem_relu": False, "last_stride": 1},
    ),
    "semantic control": (
        SwinConfig(width=8, depths=(1, 1), heads=(2, 2), window=2),
        {"semantic_weight": 0.2},
    ),
    "cameras": (
        CLIPViTConfig(width=64, depth=1, heads=1, patch=8, stride=8, image_size=(32, 16)),
        {"cameras": 3, "sie_factor": 2.5},
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        *("pool, relu, stride", "cameras"),
        pytest.param("semantic control", marks=pytest.mark.slow),
    ],
)
def test_what_no_shape_of_a_tensor_shows_is_that_of_the_file(make, tmp_path, monkeypatch, case):
    known, fields = OPEN[case]
    monkeypatch.setitem(ARCHITECTURES, "known", known)
    shape = dataclasses.replace(known, **fields)
    model = drawn(shape, classes=5, neck_feature="before")
    weights.save(model, tmp_path / "x.safetensors")
    start = {"model__architecture": "known", "model__start_from": tmp_path / "x.safetensors"}
    started = make(**start).model
    assert started.config.backbone == shape
    images = np.random.default_rng(0).random((2, 32, 16, 3), np.float32)
    told = np.array([2, 0], np.int32) if started.cameras else None
    run = jax.jit(lambda embed, x: embed(x))
    found, expected = (embedding(one).seen_by(told) for one in (started, model))
    np.testing.assert_array_equal(run(found, images), run(expected, images))
    if "last_stride" in fields:
        notes: list[str] = []
        other = make(say=notes.append, model__last_stride=2, **start).model.config.backbone
        assert other == dataclasses.replace(shape, last_stride=2)
        assert notes[1:] == ["note: model.last_stride 2 overrides 1 of model.start_from"]


def test_a_pipeline_goes_with_a_warm_start(make, tmp_path):
    fresh = make().model.config
    assert fresh.pipeline == Pipeline(source="jaxreid train")
    assert (fresh.colours, fresh.crop, fresh.neck_feature) == ("RGB", None, "after")
    said = Pipeline(filter="bicubic", distance="cosine", unit_length=True, source="a library")
    inside = {"colours": "BGR", "crop": (24, 12), "neck_feature": "before"}
    model = drawn(trainings.SHAPE, classes=5, pipeline=said, **inside)
    weights.save(model, tmp_path / "x.safetensors")
    notes = []
    started = make(say=notes.append, model__start_from=tmp_path / "x.safetensors").model
    assert {name: getattr(started.config, name) for name in inside} == inside
    assert started.head.before
    # The distance by which the run chooses its weights is that of its configuration.
    assert notes[1:] == ["note: evaluation.distance euclidean overrides cosine of model.start_from"]
    expected = dataclasses.replace(
        said, distance="euclidean", source="jaxreid train, from a library"
    )
    assert started.config.pipeline == expected
    # Again from what came out: the line of ancestors does not grow.
    weights.save(started, tmp_path / "y.safetensors")
    again = make(model__start_from=tmp_path / "y.safetensors").model.config.pipeline
    assert again == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch__size": 87}, "batch_size must be 1 to 86"),
        ({"model__dtype": "float64"}, "needs the environment variable JAX_ENABLE_X64=1"),
        ({"dataset__data_dir": "/nowhere"}, "jaxreid data prepare"),
    ],
)
def test_what_does_not_fit_is_named(make, changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


@pytest.mark.slow
def test_the_fields_of_a_defense_are_the_parts_of_one(make, monkeypatch):
    given = {}
    monkeypatch.setattr(recipes, "train_step", lambda state, batch, key, **rest: given.update(rest))

    def parts(**changes):
        recipe = make(goat__enabled=True, **changes)
        state = TrainState.create(recipe.model, recipe.optimizer)
        recipe.step(state, next(recipe.batches))
        return given["defense"], given["loss_fn"]

    plain, loss_fn = parts()
    assert plain == Defense()
    full, both = parts(
        loss__triplet_weight=0.5,
        loss__precision_weight=0.25,
        defense__attacked_weight=0.0,
        defense__clean_weight=1.0,
        defense__consistency="similarities",
        defense__consistency_weight=4.0,
        defense__temperature=0.5,
        defense__batch_norm="apart",
        defense__weight_perturbation=0.01,
        defense__discriminator_weight=0.3,
        defense__meta_step=0.02,
    )
    assert (full.attacked_weight, full.clean_weight, full.together) == (0, 1, False)
    assert (full.discriminator_weight, full.meta_step) == (0.3, 0.02)
    rng = np.random.default_rng(0)
    clean, attacked = (rng.normal(size=(8, 4)).astype(np.float32) for _ in range(2))
    value, _ = full.consistency(BothSides(clean, attacked), Collective())
    expected = 4 * similarity_divergence(clean, attacked, temperature=0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    eye = np.eye(2, dtype=np.float32)
    moved = full.perturbation({"w": eye}, {"w": np.diag([3.0, 4.0]).astype(np.float32)})
    np.testing.assert_allclose(moved["w"] - eye, 0.01 * 2**0.5 * np.diag([0.6, 0.8]), 1e-5)
    # The losses by their weights.
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    outputs = Outputs(clean, attacked)
    one, two, three = (
        loss(outputs, labels, Collective())[0]
        for loss in (loss_fn, triplet_loss(), precision_loss())
    )
    np.testing.assert_allclose(
        both(outputs, labels, Collective())[0], one + 0.5 * two + 0.25 * three, rtol=1e-5
    )


def test_the_fields_of_mixup_reach_what_mixes(make, monkeypatch):
    given = {}

    def note(adversary, classes, **numbers):
        given.update(classes=classes, **numbers)
        return adversary

    monkeypatch.setattr(recipes, "mixed_with_vertex", note)
    make(goat__enabled=True, goat__pull=1)
    assert not given
    numbers = {"low": 0.1, "high": 0.8, "clean_label": 0.9, "vertex_label": 0.3}
    numbers |= {"stretch": 1.5, "guide_label": 0.2}
    make(
        goat__enabled=True,
        goat__pull=1,
        **{f"mixup__{name}": value for name, value in numbers.items()},
    )
    assert given == {"classes": 11, **numbers}


def test_the_penalty_is_of_the_budget_of_the_attack(make, monkeypatch):
    given = []
    monkeypatch.setattr(recipe_defense, "bisector_penalty", lambda *numbers: given.append(numbers))
    fields = {"batch__sampler": "identities", "defense__lipschitz_weight": 0.25}
    recipe = make(goat__eps=4.0, goat__eps_unit="normalized", **fields)
    ((weight, eps),) = given
    assert weight == 0.25
    np.testing.assert_allclose(eps, 4 / 255 * np.array(recipe.model.config.std), rtol=1e-12)


TRIPLETS = {
    "batch.sampler": "identities",
    "goat.enabled": True,
    "goat.objective": "hardness",
    "defense.consistency": "triplets",
}


def test_the_fields_of_triplets_reach_adversary_and_term(make, monkeypatch):
    given = {}
    for module, name in (
        (recipes, "triplet_adversary"),
        (recipe_defense, "triplet_term"),
        (recipes, "train_step"),
    ):
        note = partial(lambda name, *names, **rest: given.update({name: (names, rest)}), name)
        monkeypatch.setattr(module, name, note)
    fields = {
        **TRIPLETS,
        "goat.mining": "semihard",
        "goat.destination": "softhard",
        "goat.sharpness": 3.0,
        "defense.consistency": "candidates",
        "defense.consistency_weight": 2.0,
        "defense.margin": 0.4,
        "defense.structure_weight": 0.5,
    }
    recipe = make(**{name.replace(".", "__"): value for name, value in fields.items()})
    assert not recipe.needs_bank
    (objective,), options = given["triplet_adversary"]
    assert objective == "hardness"
    expected = {"mining": "semihard", "destination": "softhard", "margin": 0.4, "sharpness": 3.0}
    assert expected.items() <= options.items()
    assert options["eps"] == pytest.approx(5 / 255)
    assert given["triplet_term"] == (("candidates", 2.0), {"margin": 0.4, "structure": 0.5})


def test_a_gradual_destination_begins_with_the_easiest_triplets(make, tiny_data):
    fields = {name.replace(".", "__"): value for name, value in TRIPLETS.items()}
    for destination, expected in (("gradual", 0.3), ("softhard", None)):
        changes = {**TRIPLETS, "goat.destination": destination, "defense.margin": 0.3}
        config = trainings.settings({"dataset.data_dir": tiny_data, **changes})
        recipe = make(**fields, goat__destination=destination)
        found = first_state(config, recipe).triplet_loss
        assert found == (None if expected is None else pytest.approx(expected))


def test_an_adversary_on_the_ranking_keeps_a_bank(make, goat_options):
    recipe = make(goat__enabled=True, goat__objective="soft_margin")
    assert recipe.needs_bank
    assert not goat_options
    assert next(recipe.batches).push_indices.shape == (8, 0)
    assert make(goat__enabled=True).needs_bank is False
    assert goat_options


def test_a_universal_perturbation_starts_from_its_fields(make, monkeypatch, tiny_data):
    given = {}
    monkeypatch.setattr(recipes, "universal_adversary", lambda **options: given.update(options))
    changes = {
        "goat.enabled": True,
        "goat.objective": "universal",
        "goat.steps": 1,
        "goat.restart_every": 7,
        "goat.clean_fraction": 0.25,
    }
    recipe = make(**{name.replace(".", "__"): value for name, value in changes.items()})
    assert (given["restart_every"], given["clean_fraction"], given["strength"]) == (7, 0.25, None)
    assert given["eps"] == pytest.approx(5 / 255)
    assert not recipe.needs_bank
    config = trainings.settings({"dataset.data_dir": tiny_data, **changes})
    np.testing.assert_array_equal(first_state(config, recipe).universal, np.zeros((32, 16, 3)))
    plain = trainings.settings({"dataset.data_dir": tiny_data})
    assert first_state(plain, recipe).universal is None


def test_several_objectives_are_several_adversaries(make, monkeypatch):
    given = []
    monkeypatch.setattr(recipes, "one_of", lambda adversaries: given.extend(adversaries))
    for name in ("goat", "ranking_adversary"):
        note = partial(lambda name, *names, **rest: (name, names[:1], rest), name)
        monkeypatch.setattr(recipes, name, note)
    recipe = make(goat__enabled=True, goat__push=2, goat__objective="guides+margin")
    assert recipe.needs_bank
    # Pushing guides are images all the same, unless they are to come from the bank.
    assert next(recipe.batches).push_images.shape[1] == 2
    kinds = [(name, names) for name, names, _ in given]
    assert kinds == [("goat", ()), ("ranking_adversary", ("margin",))]
    assert {rest["eps"] for _, _, rest in given} == {5 / 255}
    assert given[0][2]["push"] == 2
    banked = make(
        goat__enabled=True, goat__push=2, goat__guide_bank=True, goat__objective="margin+guides"
    )
    assert next(banked.batches).push_images.shape[1] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goat.objective": "universal"}, "goat.steps must be 1; got 7"),
        ({"goat.blur": 1.0}, "goat.blur is of goat.objective universal; got guides"),
        ({"goat.restart_every": 5}, "goat.restart_every is of goat.objective universal"),
        (
            {"goat.objective": "universal", "goat.steps": 1, "goat.pull": 1},
            "must be 0; got 0 and 1",
        ),
        ({"goat.objective": "guides+hardness"}, "or several of the first 6 with \\+ between them"),
        ({"goat.objective": "margin+margin"}, "got 'margin\\+margin'"),
        ({"goat.objective": "margin+"}, "goat.objective must be one of guides, margin"),
        ({"goat.objective": "margin+smooth_ap", "goat.pull": 1}, "must be 0; got 0 and 1"),
        ({"defense.lipschitz_weight": 1.0}, "identities and goat.eps above 0; got shuffled and 5"),
        ({**TRIPLETS, "defense.lipschitz_weight": 1.0, "goat.eps": 0.0}, "got identities and 0"),
        ({**TRIPLETS, "goat.step_schedule": "adaptive"}, "it must be constant or cosine"),
        ({"goat.objective": "margin", "goat.push": 1}, "goat.push and goat.pull must be 0; got 1"),
        ({"goat.enabled": False, "defense.clean_weight": 1.0}, "they need goat.enabled = true"),
        ({"goat.enabled": False, "defense.consistency": "features"}, "they need goat.enabled"),
        ({"goat.enabled": False, "defense.discriminator_weight": 1.0}, "they need goat.enabled"),
        ({"defense.attacked_weight": 0.0}, "nothing would be learned"),
        (
            {"loss.name": "triplet", "loss.triplet_weight": 1.0},
            "loss.triplet_weight is beside cross_entropy",
        ),
        ({"evaluation.attack": "worst-2"}, "worst-quick"),
        ({**TRIPLETS, "batch.sampler": "shuffled"}, "batch.sampler = identities; got shuffled"),
        ({**TRIPLETS, "goat.objective": "guides"}, "is of attacked triplets: .*; got guides"),
        ({**TRIPLETS, "goat.enabled": False}, "they need goat.enabled = true"),
        ({**TRIPLETS, "defense.consistency": "decoupled"}, "must be decoupled; got hardness"),
        ({**TRIPLETS, "defense.consistency": "none"}, "must be triplets or candidates; got none"),
        ({**TRIPLETS, "goat.push": 1}, "goat.push and goat.pull must be 0; got 1"),
        ({**TRIPLETS, "defense.meta_step": 0.1}, "defense.meta_step halves the batch"),
        ({"defense.structure_weight": 1.0}, "is part of a defense.consistency of triplets"),
        (
            {"goat.objective": "universal", "goat.steps": 1, "mixup.stretch": 2.0},
            "goat.objective must not be universal",
        ),
        ({"mixup.stretch": 0.5}, "mixup.stretch must be a number, 0, or 1 or more; got 0.5"),
        ({"mixup.low": 0.6, "mixup.high": 0.5}, "at most mixup.high; got 0.6 and 0.5"),
        ({"mixup.guide_label": 0.2}, "must be at most that; got 0.2 and 0.1"),
        ({"goat.enabled": False, "mixup.stretch": 2.0}, "goat.enabled must be true"),
        (
            {"model.head": "triplet", "loss.name": "triplet", "mixup.stretch": 2.0},
            "loss.name must be cross_entropy; got triplet",
        ),
        ({"mixup.stretch": 2.0, "mixup.guide_label": 0.1}, "1 or more; got guides and 0"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        TrainConfig().replace({"goat.enabled": True, **changes})
