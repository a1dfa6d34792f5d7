"""A sweep of attacks: what is written, what is resumed, what is equal to what."""

import dataclasses
import json
import resource

import jax
import jax.numpy as jnp
import numpy as np
import people
import pytest

from jaxreid.cli.running import explained
from jaxreid.data.source import InMemorySplit
from jaxreid.errors import InputError
from jaxreid.evaluation import (
    LoaderSettings,
    RetrievalTest,
    conditions,
    extract,
    open_run,
    provenance_of,
    robustness,
)
from jaxreid.ranking import KReciprocal, evaluate
from jaxreid.records import Condition, Examples, FeatureMap, PerQuery, Result, RunFolder, Score

LOADER = LoaderSettings(people.SIZE, batch_size=4)
PROVENANCE = provenance_of(title="t", command="c", model={}, dataset={}, settings={})
FAST = {"steps": 3}


def run(wanted, *, embed=people.embed, query=None, run=None, **options):
    sweep = {name: options.pop(name) for name in ("examples", "on_result") if name in options}
    options = {"loader": LOADER, **options}
    test = RetrievalTest(embed, query or people.query(), people.gallery(), **options)
    return robustness(test, wanted, run=run, **sweep)


def scores(result):
    return dataclasses.asdict(result)["scores"]


def arrays(folder, result):
    return dataclasses.asdict(PerQuery.load(folder.arrays_of(result.condition)))


def same_arrays(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_clean_is_extraction_and_ranking(tmp_path):
    folder = open_run(tmp_path / "run", PROVENANCE)
    (found,) = run([Condition()], run=folder, rerank=KReciprocal(k1=3, k2=2))
    sets = [
        extract(people.embed, split, size=people.SIZE)
        for split in (people.query(), people.gallery())
    ]
    for protocol in ("market1501", "torchreid"):
        expected = evaluate(*sets, protocol=protocol)
        score = found.scores[protocol]
        assert score.mean_average_precision == pytest.approx(expected.mean_average_precision)
        assert score.rank1 == pytest.approx(expected.rank(1))
        assert score.mean_inverse_negative_penalty == pytest.approx(
            expected.mean_inverse_negative_penalty
        )
        reranked = evaluate(*sets, protocol=protocol, rerank=KReciprocal(k1=3, k2=2))
        assert found.reranked[protocol].mean_average_precision == pytest.approx(
            reranked.mean_average_precision
        )
        precision = arrays(folder, found)[protocol]
        np.testing.assert_allclose(precision, expected.average_precision)
    assert found.attacked == 0
    assert folder.results() == [found]


@pytest.mark.slow
@pytest.mark.optimized
def test_a_budget_of_zero_is_clean_to_the_bit(tmp_path):
    folder = open_run(tmp_path / "run", PROVENANCE)
    wanted = conditions(["noise", "sma", "fna"], [0], **FAST)
    wanted += conditions(["fna"], [0], side="gallery", eight_bit=True, **FAST)
    clean, *others = run(wanted, run=folder)
    assert len(others) == 4
    for result in others:
        assert scores(result) == scores(clean)
        assert same_arrays(arrays(folder, result), arrays(folder, clean))
        assert result.largest_change == 0


def test_attacks_count_and_hurt(tmp_path):
    wanted = conditions(["fna_without_pull", "fna"], [8], steps=4, step_size=3)
    wanted += conditions(["fna"], [8], steps=4, step_size=3, side="gallery")
    clean, alone, query, gallery = run(wanted, examples=0)
    # Of nine queries seven are people, one of them seen once; of fourteen gallery images twelve.
    assert (alone.attacked, alone.unguided) == (7, 1)
    assert (query.attacked, query.unguided) == (7, 0)
    assert (gallery.attacked, gallery.unguided) == (12, 0)
    for result in (alone, query, gallery):
        assert scores(result)["market1501"] != scores(clean)["market1501"]
        assert result.largest_change <= 8 + 1e-4
    precision = clean.scores["market1501"].mean_average_precision
    assert query.scores["market1501"].mean_average_precision < precision - 0.1


def test_a_sweep_goes_on_where_it_was(tmp_path):
    wanted = conditions(["sma", "fna"], [2, 5], seeds=[0, 1], **FAST)
    whole = open_run(tmp_path / "whole", PROVENANCE)
    expected = run(wanted, run=whole)
    seen = []

    def interrupt(result):
        seen.append(result)
        if len(seen) == 3:
            raise KeyboardInterrupt

    folder = open_run(tmp_path / "parts", PROVENANCE)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, run=folder, on_result=interrupt)
    # What is there can be read, and is not done again.
    left = RunFolder.open(tmp_path / "parts").results()
    assert left == seen
    assert [scores(result) for result in left] == [scores(result) for result in expected[:3]]
    rest = []
    found = run(wanted, run=folder, on_result=rest.append)
    assert [r.condition for r in rest] == [r.condition for r in expected[3:]]
    assert [scores(result) for result in found] == [scores(result) for result in expected]
    for one, other in zip(found, expected, strict=True):
        assert same_arrays(arrays(folder, one), arrays(whole, other))
    assert run(wanted, run=folder, on_result=rest.append, embed=None) == found
    assert len(rest) == len(expected) - 3


def test_a_disk_that_is_full_loses_nothing_that_is_listed(tmp_path, kind):
    folder = open_run(tmp_path / "run", PROVENANCE)
    wanted = conditions(["noise"], [2, 5], **FAST)
    expected = run(wanted)
    run(wanted[:1], run=folder, examples=0)
    # Room for the arrays, and for a part of the line.
    size = (folder.path / "results.jsonl").stat().st_size
    room = max(size + 40, max(p.stat().st_size for p in folder.path.rglob("*.npz")) + 200)
    padding = room - size - 40
    with (folder.path / "results.jsonl").open("ab") as file:
        file.write(b" " * padding + b"\n")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room + 20, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write to .*; what it lists is complete") as full:
            run(wanted, run=folder, examples=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said, code = explained(full.value)
    assert said == full.value.strerror
    kind("evaluate, a full disk", f"exit {code}: {said}".replace(str(tmp_path), "..."))
    assert [one.condition for one in folder.results()] == wanted[:1]
    found = run(wanted, run=folder, examples=0)
    assert [scores(one) for one in found] == [scores(one) for one in expected]
    assert len(RunFolder.open(folder.path).results()) == 3


@pytest.mark.slow
def test_neither_batch_size_nor_devices_matter():
    wanted = conditions(["sma", "fna"], [5], **FAST)
    first, *others = (
        [scores(result) for result in run(wanted, loader=loader)]
        for loader in (
            LoaderSettings(people.SIZE, batch_size=64),
            LoaderSettings(people.SIZE, batch_size=3, devices=jax.local_devices()[:1]),
            LoaderSettings(people.SIZE, batch_size=5),
        )
    )
    for other in others:
        assert other == first


def test_a_limit_takes_part_of_the_queries_and_changes_none(tmp_path):
    wanted = conditions(["fna", "sma"], [5], **FAST)
    whole, part = (open_run(tmp_path / name, PROVENANCE) for name in ("whole", "part"))
    every = run(wanted, run=whole)
    some = run(wanted, run=part, limit=4)
    rows = np.array([0, 2, 4, 6])
    assert some[1].attacked == 4
    for one, other in zip(some, every, strict=True):
        few, all_ = arrays(part, one), arrays(whole, other)
        np.testing.assert_array_equal(few["identities"], all_["identities"][rows])
        np.testing.assert_allclose(few["market1501"], all_["market1501"][rows])


def test_progress_runs_over_the_whole_sweep():
    seen = []
    wanted = conditions(["noise", "sma"], [0, 5], restarts=2, **FAST)
    run(wanted, progress=lambda *step: seen.append(step), examples=0)
    attacks = [step[1:] for step in seen if step[0] == "attacks"]
    # From the beginning: what compiles is seen to be at work.
    assert (attacks[0], attacks[-1]) == ((0, 21), (21, 21))
    assert attacks == sorted(attacks)
    assert [step for step in seen if step[0] == "clean features"][-1][1:] == (23, 23)


def test_examples_and_map_of_the_strongest(tmp_path):
    folder = open_run(tmp_path / "run", PROVENANCE)
    wanted = conditions(["sma"], [2, 5], seeds=[0, 1], **FAST)
    run(wanted, run=folder, examples=3)
    (path,) = (tmp_path / "run" / "examples").iterdir()
    (chosen,) = (c for c in wanted if folder.examples_of(c) == path)
    assert (chosen.eps, chosen.seed) == (5, 0)
    shown = Examples.load(path)
    assert shown.clean.shape == (3, *people.SIZE, 3)
    change = 255 * np.abs(shown.adversarial - shown.clean / np.float32(255))
    assert 4.9 < change.max() < 5.01
    assert shown.after_images.shape == (3, 10, *people.SIZE, 3)
    gallery = people.gallery()
    identities = dict(zip(gallery.file_names, gallery.identities, strict=True))
    for names, distances, correct in (
        (shown.before_names, shown.before_distances, shown.before_correct),
        (shown.after_names, shown.after_distances, shown.after_correct),
    ):
        listed = np.vectorize(identities.get)(names)
        assert (listed != -1).all()
        np.testing.assert_array_equal(correct, listed == shown.identities[:, None])
        assert (np.diff(distances, axis=1) >= 0).all()
    # The first item of the list is a match just where the ranking says so.
    ranks = arrays(folder, run([wanted[0]], run=folder)[0])["first_match_rank"]
    names = people.query().file_names
    for row, name in enumerate(shown.names):
        assert shown.before_correct[row, 0] == (ranks[names.index(name)] == 1)
    (path,) = (tmp_path / "run" / "map").iterdir()
    moved = FeatureMap.load(path)
    assert set(moved.identities) <= set(shown.identities)
    assert set(moved.other_identities) <= set(shown.identities)
    assert np.abs(moved.clean - moved.adversarial).max() > 1e-3


@pytest.mark.parametrize("kept", ["arrays_of", "examples_of", "map_of"])
def test_what_is_damaged_is_done_anew_and_nothing_else(tmp_path, kept, kind):
    folder = open_run(tmp_path / "run", PROVENANCE)
    wanted = conditions(["noise", "sma"], [5], **FAST)
    results = run(wanted, run=folder, examples=2)
    file = getattr(folder, kept)(wanted[-1])
    before = file.read_bytes()
    file.write_bytes(before[: len(before) // 2])
    done = []
    again = run(wanted, run=folder, examples=2, on_result=done.append)
    assert [one.condition for one in done] == [wanted[-1]]
    assert [scores(one) for one in again] == [scores(one) for one in results]
    assert folder.damaged() == []
    file.write_bytes(b"")
    run(wanted, run=folder, examples=0)
    assert folder.damaged() == []
    kind("evaluate in a folder with a damaged .npz", "its condition is evaluated anew")


def test_examples_of_an_attacked_gallery(tmp_path):
    folder = open_run(tmp_path / "run", PROVENANCE)
    (_, condition) = conditions(["fna"], [5], side="gallery", **FAST)
    run([condition], run=folder, examples=2)
    shown = Examples.load(folder.examples_of(condition))
    np.testing.assert_array_equal(shown.adversarial, shown.clean / np.float32(255))
    gallery = people.gallery()
    clean = dict(zip(gallery.file_names, range(len(gallery)), strict=True))
    from jaxreid.data.loader import decode_all

    pixels = decode_all(gallery, size=people.SIZE, filter="bilinear")
    for row in range(2):
        for name, image in zip(shown.after_names[row], shown.after_images[row], strict=True):
            change = np.abs(image.astype(int) - pixels[clean[name]]).max()
            assert (change > 0) == (gallery.identities[clean[name]] > 0)
            assert change <= 5
    moved = FeatureMap.load(folder.map_of(condition))
    assert len(moved.identities) > len(moved.other_identities)


def test_no_examples(tmp_path):
    folder = open_run(tmp_path / "run", PROVENANCE)
    run(conditions(["noise"], [5]), run=folder, examples=0)
    assert not (tmp_path / "run" / "examples").exists()
    with pytest.raises(InputError, match="examples"):
        run([Condition()], examples=-1)


def test_a_model_that_gives_nan_is_named():
    with pytest.raises(InputError, match=r"NaN or infinity for 9 of 9 images.*1_00\.jpg"):
        run([Condition()], embed=lambda images: people.embed(images) * jnp.nan)


def test_a_model_that_gives_nan_under_attack_is_named():
    def fragile(images):
        # Clean images have 8 bits; what lies between two levels breaks this one.
        levels = 255 * images
        return people.embed(images) / (jnp.abs(levels - jnp.round(levels)).max() < 1e-3)

    with pytest.raises(InputError, match=r"under noise, eps 5: .*NaN or infinity"):
        run(conditions(["noise"], [5]), embed=fragile)


@pytest.mark.slow
def test_images_without_a_gradient_are_counted_and_named(kind):
    def divided_by_length(images):
        features = images.reshape(len(images), -1) @ people.WEIGHTS
        return features / (jnp.linalg.norm(features, axis=1, keepdims=True) + 1e-12)

    query = people.query()
    black = people.png(np.zeros((*people.SIZE, 3)))
    # Five of the people's seven images; the padding of the last batch of four is not counted.
    pixels = [black if row == 2 else query[row]["image"] for row in range(5)]
    names = [f"{row}.jpg" for row in range(5)]
    source = InMemorySplit(pixels, query.identities[:5], query.cameras[:5], file_names=names)
    wanted = conditions(["fna", "ifgsm", "noise"], [0, 5], **FAST)
    found = run(wanted, embed=divided_by_length, query=source)
    counted = {
        (r.condition.attack, r.condition.eps): (r.nonfinite_gradients, r.first_without_gradient)
        for r in found
    }
    assert counted.pop(("fna", 5.0)) == (1, "2.jpg")
    assert counted.pop(("ifgsm", 5.0)) == (1, "2.jpg")
    assert set(counted.values()) == {(0, "")}
    assert all(r.zero_gradients == 0 for r in found)
    kind("a network with a NaN gradient at one image", "evaluate: warning: 1 of 5 images ...")


def test_a_network_that_collapsed_is_refused(kind):
    def same(images):
        return jnp.ones((len(images), 3))

    with pytest.raises(InputError, match="the same feature") as told:
        run(conditions(["noise"], [5]), embed=same)
    kind("a network whose features are all equal", f"exit 2: {told.value}")


def test_results_of_before_the_counts_still_open():
    result = Result(Condition(), {"market1501": Score(0.5, 0.5, 0.5, 0.5, 0.5)})
    line = result.to_json()
    fields = json.loads(line)
    for name in ("nonfinite_gradients", "zero_gradients", "first_without_gradient"):
        del fields[name]
    assert Result.from_json(json.dumps(fields)) == result
