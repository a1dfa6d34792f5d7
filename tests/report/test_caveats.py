"""Caveats name what does not compare, and what looks like a weak or a broken attack."""

import dataclasses

from run_folders import attacked_run as run_of
from run_folders import result, scores

from jaxreid.records import RunFolder, WrongCamera
from jaxreid.report.caveats import find_caveats
from jaxreid.report.runs import Run
from jaxreid.report.summary import summarize


def caveats(*runs: Run) -> str:
    return "\n".join(find_caveats(summarize(runs))).replace("\u00a0", " ")


def test_a_run_that_ignored_cameras_is_named():
    blind = run_of("blind", fna=0.1)
    blind.folder.provenance.settings["cameras"] = "ignore"
    text = caveats(run_of("usual", fna=0.1), blind)
    assert "blind: ranked without camera labels" in text
    assert "without camera labels" not in caveats(run_of("usual", fna=0.1))


def test_what_hangs_on_cameras_is_said():
    told = run_of("told", fna=0.1)
    told.folder.provenance.settings["camera"] = "true"
    wrong = WrongCamera(cameras=6, change=0.571, mean_average_precision=0.25, rank1=0.5)
    clean = dataclasses.replace(told.results[0], scores=scores(0.75), wrong_camera=wrong)
    text = caveats(dataclasses.replace(told, results=(clean, *told.results[1:])))
    assert (
        "told is told the camera of each image: with every query's wrong by one, features" in text
    )
    assert "change by 57.1 % and clean mAP is 25.0 % instead of 75.0 %." in text
    mean, third = run_of("A", fna=0.1), run_of("B", fna=0.1)
    mean.folder.provenance.settings["camera"] = "mean"
    third.folder.provenance.settings["camera"] = 2
    text = caveats(mean, third)
    assert "A: in place of its own camera every image was given the mean of all cameras" in text
    assert "B: in place of its own camera every image was given camera 2" in text
    assert "camera" not in caveats(run_of("usual", fna=0.1))


def test_a_run_on_corrupted_images_is_named():
    foggy = run_of("foggy", fna=0.1)
    foggy.folder.provenance.settings.update(corruption="fog:3", corrupted="both")
    text = caveats(run_of("usual", fna=0.1), foggy)
    assert "foggy: the query and gallery images were corrupted (fog:3)" in text
    assert "corrupted" not in caveats(run_of("usual", fna=0.1))


def test_a_defense_is_named_and_that_nobody_climbed_through_it():
    run = run_of("A", noise=0.5, fna=0.1)
    assert "through" not in caveats(run)
    run.folder.provenance.settings["through"] = "jpeg:75"
    assert "A: all images were ranked through jpeg:75." in caveats(run)
    assert "no attack climbed through" not in caveats(run)
    results = tuple(
        dataclasses.replace(
            one,
            condition=dataclasses.replace(
                one.condition,
                surrogate="undefended" if one.condition.attack == "fna" else "",
            ),
        )
        for one in run.results
    )
    run = dataclasses.replace(run, results=results)
    assert "A: no attack climbed through jpeg:75" in caveats(run)


def test_what_overrides_a_models_pipeline_is_named():
    run = run_of("A", fna=0.1)
    said = run.folder.provenance
    said.model["pipeline"] = {"filter": "bicubic", "distance": "euclidean", "flip": False}
    said.model["pipeline"]["unit_length"] = True
    said.settings["filter"] = "bicubic"
    assert "pipeline" not in caveats(run)
    del said.settings["filter"]
    said.model["pipeline"] |= {"distance": "cosine", "flip": True}
    said.settings["unit_length"] = False
    expected = "A overrides the pipeline of its model: filter bilinear (the model's: bicubic), "
    expected += "flip no (the model's: yes), unit length no (the model's: yes), "
    expected += "distance euclidean (the model's: cosine)."
    assert expected in caveats(run)


def test_signs_of_broken_or_weak_attacks_are_named():
    assert "one large step (FGSM) harms more" in caveats(run_of("A", fgsm=0.1, ifgsm=0.4))
    assert "FGSM" not in caveats(run_of("A", fgsm=0.4, ifgsm=0.1))
    assert "noise harms more than every attack" in caveats(run_of("A", noise=0.1, fna=0.4))
    weak = run_of("A", fna=0.3)
    later = result(0.5, attack="fna", eps=8.0)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, later)))
    assert "FNA of A harms less at 8/255 (50.0 %) than at 5/255 (30.0 %)" in text
    over = dataclasses.replace(later, largest_change=9.0, unguided=3)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, over)))
    assert "broke its budget: a pixel changed by 9.00/255 at 8/255" in text
    assert "3 of 24 images had no guide" in text
    assert "gradient" not in text
    lost = {"nonfinite_gradients": 2, "first_without_gradient": "0011_c1.jpg"}
    stuck = dataclasses.replace(later, zero_gradients=5, **lost)
    text = caveats(dataclasses.replace(weak, results=(*weak.results, stuck)))
    assert "FNA of A: the gradient was NaN or infinite at 2 of 24 images (0011_c1.jpg for" in text
    assert "FNA of A: the gradient was zero at 5 of 24 images" in text


def test_what_makes_figures_incomparable_is_named():
    one, two = run_of("A", fna=0.3), run_of("B", fna=0.3)
    other = dataclasses.replace(two.folder.provenance, dataset={"name": "market1501"})
    two = dataclasses.replace(two, folder=RunFolder("/nowhere", other))
    assert "different datasets" in caveats(one, two)
    assert "different datasets" not in caveats(one)
    assert "one seed" in caveats(one)
    split = dataclasses.replace(
        one.results[1], scores=scores(0.1) | {"torchreid": scores(0.2)["market1501"]}
    )
    one = dataclasses.replace(one, results=(one.results[0], split))
    assert "10.0 % by Market-1501's and 20.0 % by torchreid's" in caveats(one)
