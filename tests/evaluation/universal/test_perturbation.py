"""Files of perturbations, what they do to images, and their place in a sweep."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest
from safetensors.numpy import save_file

from jaxreid.data.batches import Images
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    Perturbation,
    Recipe,
    RetrievalTest,
    canonical,
    extract,
    learned_conditions,
    load_perturbation,
    open_run,
    provenance_of,
    robustness,
    save_perturbation,
)
from jaxreid.evaluation.universal.perturbation import CHANGE, changed_rows, parameters
from jaxreid.ranking import evaluate
from jaxreid.records import Condition

PROVENANCE = provenance_of(
    title="t", command="c", model={"sha256": "ab"}, dataset={"name": "x"}, settings={"limit": None}
)
EPS = np.float32(10 / 255)


def fixed(seed=0, size=people.SIZE, objective="ap"):
    change = np.random.default_rng(seed).choice([-EPS, EPS], (*size, 3)).astype(np.float32)
    return Perturbation(Recipe(objective), "plain-ab", size, PROVENANCE, {CHANGE: change})


def drawn(seed=0, size=people.SIZE):
    tensors = {name: np.asarray(one) for name, one in parameters(seed).items()}
    return Perturbation(Recipe("generator"), "plain-ab", size, PROVENANCE, tensors)


def pixels(split):
    return Images(split, people.SIZE, "bilinear", None)(np.arange(len(split)))


@pytest.mark.parametrize("perturbation", [fixed(), drawn()], ids=["universal", "generator"])
def test_written_and_read_it_is_the_same(tmp_path, perturbation):
    path = tmp_path / "one.safetensors"
    save_perturbation(perturbation, path)
    found = load_perturbation(path)
    for field in ("recipe", "made_on", "size", "provenance", "attack", "name"):
        assert getattr(found, field) == getattr(perturbation, field)
    for name, tensor in perturbation.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    images = pixels(people.query())
    ours, theirs = (
        changed_rows(one.changing(people.SIZE), images) for one in (perturbation, found)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_names_tell_perturbations_apart():
    others = [
        fixed(seed=1),
        fixed(objective="fna"),
        dataclasses.replace(fixed(), recipe=Recipe(eps=11)),
        drawn(),
    ]
    names = [one.name for one in (fixed(), *others)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("plain-ab-") for name in names)
    assert fixed().name == fixed().name


@pytest.mark.parametrize("perturbation", [fixed(), drawn()], ids=["universal", "generator"])
@pytest.mark.parametrize("size", [people.SIZE, (9, 5)])
def test_the_budget_is_kept_to_the_float(perturbation, size):
    images = np.random.default_rng(0).integers(0, 256, (4, *size, 3)).astype(np.uint8)
    # Pixels that are made within the program are other ones by their last bit.
    clean = images.astype(np.float32) / 255
    found = np.asarray(jax.jit(lambda c, x: c(x))(perturbation.changing(size), clean))
    assert (found >= np.maximum(clean - EPS, 0)).all()
    assert (found <= np.minimum(clean + EPS, 1)).all()
    assert np.abs(found - clean).max() > EPS / 10


def damaged(path, **changes):
    """The file of a perturbation with other fields."""
    save_perturbation(fixed(), path)
    fields = {
        "schema": 1,
        "recipe": dataclasses.asdict(Recipe()),
        "made_on": "plain",
        "size": people.SIZE,
        "provenance": dataclasses.asdict(PROVENANCE),
    }
    tensors = changes.pop("tensors", fixed().tensors)
    save_file(tensors, path, {"jaxreid_perturbation": json.dumps({**fields, **changes})})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema is 2"),
        ({"schema": None}, "schema is None"),
        ({"recipe": {"objective": "map"}}, "recipe.objective is 'map'"),
        ({"recipe": {"eps": -1}}, "eps must be above 0"),
        ({"recipe": {"seeds": 1}}, "recipe.seeds is no field"),
        ({"recipe": {"objective": "generator"}}, "change is no part of it"),
        ({"recipe": {"eps": 5}}, "change reaches 10/255, beyond its eps 5"),
        ({"made_on": 3}, "made_on is 3"),
        ({"size": [16]}, "size is"),
        ({"size": [8, 16]}, r"change must be float32 \[8, 16, 3\]"),
        ({"provenance": {}}, "provenance.title is missing"),
        ({"tensors": {CHANGE: np.full((16, 8, 3), np.nan, np.float32)}}, "holds NaN"),
        ({"tensors": {CHANGE: np.zeros((16, 8, 3))}}, "must be float32"),
        ({"tensors": {"other": np.zeros(3, np.float32)}}, "change is missing"),
    ],
)
def test_damaged_files_are_refused(tmp_path, changes, message):
    path = tmp_path / "one.safetensors"
    damaged(path, **changes)
    with pytest.raises(InputError, match=message) as refused:
        load_perturbation(path)
    assert str(path) in str(refused.value)
    assert "`jaxreid universal` writes" in str(refused.value)


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "one.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_perturbation(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"one\.safetensors"):
        load_perturbation(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(InputError, match="holds no perturbation; expected what `jaxreid universal"):
        load_perturbation(path)
    save_perturbation(fixed(), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"one\.safetensors"):
        load_perturbation(path)
    with pytest.raises(InputError, match=r"written as \.safetensors"):
        save_perturbation(fixed(), tmp_path / "one.npz")


def sweep(wanted, perturbations=None, **options):
    test = RetrievalTest(
        people.embed,
        people.query(),
        people.gallery(),
        loader=options.pop("loader", LoaderSettings(people.SIZE, batch_size=4)),
    )
    return robustness(test, wanted, perturbations=perturbations, **options)


@pytest.mark.parametrize("perturbation", [fixed(), drawn()], ids=["universal", "generator"])
def test_a_sweep_ranks_changed_queries(tmp_path, perturbation):
    wanted = [Condition(), *learned_conditions([perturbation])]
    folder = open_run(tmp_path / "run", PROVENANCE)
    known = {perturbation.name: perturbation}
    clean, found = sweep(wanted, known, run=folder, examples=2)
    assert found.attacked == 7  # all but the distractor and junk
    assert 0 < found.largest_change <= 255 * EPS * (1 + 1e-6)
    assert (found.zero_gradients, found.nonfinite_gradients) == (0, 0)
    split = people.query()
    changed = changed_rows(perturbation.changing(people.SIZE), pixels(split))
    query, gallery = (
        extract(people.embed, one, size=people.SIZE) for one in (split, people.gallery())
    )
    attackable = np.asarray(split.identities) > 0
    features = np.where(attackable[:, None], people.embed(jnp.asarray(changed)), query.features)
    expected = evaluate(query._replace(features=features), gallery).mean_average_precision
    assert found.scores["market1501"].mean_average_precision == pytest.approx(expected, abs=1e-6)
    # What is there is not done again; its folder reads back.
    assert sweep(wanted, known, run=folder) == [clean, found]
    assert folder.results() == [clean, found]
    assert folder.examples_of(found.condition).exists()


def test_devices_sides_and_rounding():
    one = fixed()
    gallery, query = (
        learned_conditions([one], side=side, eight_bit=True)[0] for side in ("gallery", "query")
    )
    loaders = [LoaderSettings(people.SIZE, batch_size=n, devices=jax.devices()[:n]) for n in (1, 4)]
    found = [sweep([gallery, query], {one.name: one}, loader=loader) for loader in loaders]
    for first, other in zip(*found, strict=True):
        assert first.largest_change == other.largest_change == 10
        for protocol, score in first.scores.items():
            precision = other.scores[protocol].mean_average_precision
            assert score.mean_average_precision == pytest.approx(precision, abs=1e-6)
    assert found[0][0].attacked == 12


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l2"}, "norm 'linf', got 'l2'"),
        ({"goal": "impersonate"}, "goal"),
        ({"boost": "mi"}, "boost"),
        ({"eps": -1}, "eps must be from 0 to 255"),
        ({"eps": True}, "eps must be"),
        ({"side": "both"}, "side"),
        ({"eight_bit": 1}, "eight_bit"),
        ({"surrogate": ""}, "surrogate must name the universal"),
        ({"surrogate": None}, "surrogate must name the universal"),
        ({"distance": "manhattan"}, "distance"),
    ],
)
def test_conditions_that_nothing_learned_can_have(fields, message):
    condition = Condition(attack="universal", eps=10.0, surrogate="x")
    with pytest.raises(InputError, match=message):
        canonical(dataclasses.replace(condition, **fields))


def test_canonical_forms_and_perturbations_that_are_missing():
    condition = Condition("universal", 10.0, steps=3, seed=4, restarts=2, surrogate="x")
    canonic = canonical(condition)
    assert canonical(canonic) == canonic == canonical(dataclasses.replace(condition, seed=5))
    assert canonic.key == "universal-linf10-0x0-query-by-query-euclidean-r1-s0-from-x"
    with pytest.raises(InputError, match="no perturbation 'x' is given; expected one of those in"):
        sweep([condition])
    with pytest.raises(InputError, match="no perturbation 'x' is given; expected one of y"):
        sweep([condition], {"y": fixed()})
    other = dataclasses.replace(condition, eps=5.0)
    with pytest.raises(InputError, match="x is a universal of eps 10, and its condition one of"):
        sweep([other], {"x": fixed()})
