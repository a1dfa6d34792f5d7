"""`jaxreid universal`, and `evaluate --perturbation`, as they are typed."""

import numpy as np
import pytest
from commands import EMBEDDINGS, run, working_folder

from jaxreid.evaluation import load_perturbation
from jaxreid.evaluation.universal import unfinished
from jaxreid.evaluation.universal.perturbation import CHANGE
from jaxreid.records import RunFolder

DATA = ("--dataset", "synthetic_reid/tiny")
WORDS = ("universal", "learnable:first", *DATA, "--people", 2, "--images", 2, "--epochs", 2)
RANK = ("evaluate", "learnable:second", *DATA, "--limit", 6, "--examples", 0, "--out", "out")


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, learnable=EMBEDDINGS)


@pytest.fixture
def one_device(monkeypatch):
    """Batches of four images split over the four devices of the tests, too; one compiles sooner."""
    import jax

    monkeypatch.setattr(jax, "local_devices", lambda *_, **__: jax.devices()[:1])


@pytest.mark.slow
def test_learned_drawn_and_laid_on_another_model(capsys, place, one_device):
    code, out, err = run(capsys, *WORDS, "--eps", 8, "--out", "one.safetensors")
    assert code == 0, err
    assert out.split() == ["one.safetensors", "one.png", "one.svg"]
    assert all((place / name).stat().st_size > 0 for name in out.split())
    found = load_perturbation(place / "one.safetensors")
    assert (found.recipe.eps, found.recipe.objective, found.recipe.epochs) == (8, "ap", 2)
    assert found.provenance.command.startswith("jaxreid universal learnable:first")
    assert found.made_on.startswith("first-")
    assert f"{found.name}: eps 8/255, 64x32" in err
    assert sorted(path.suffix for path in place.glob("one*")) == [".png", ".safetensors", ".svg"]
    # What is there is not learned again.
    code, again, err = run(capsys, *WORDS, "--eps", "8/255", "--out", "one.safetensors")
    assert (code, again) == (0, out), err
    code, out, err = run(capsys, *RANK, "--perturbation", "one.safetensors", "--eight-bit")
    assert code == 0, err
    clean, laid = (result.condition for result in RunFolder.open(place / "out").results())
    assert clean.attack == "clean"
    assert (laid.attack, laid.eps, laid.surrogate) == ("universal", 8, found.name)
    assert laid.eight_bit
    assert f"universal, from {found.name}" in out.replace("\n", "")
    # Of another size it is resized, which is said.
    code, _, err = run(
        capsys, *RANK[:-1], "wide", "--perturbation", "one.safetensors", "--size", "32x16"
    )
    assert code == 0, err
    assert "was learned from images of 64x32, and is laid on those of 32x16: resized" in err


@pytest.mark.slow
def test_an_interruption_goes_on(capsys, place, one_device, monkeypatch):
    keep = unfinished.Unfinished.keep

    def killed(self, state, epochs):
        keep(self, state, epochs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(unfinished.Unfinished, "keep", killed)
        code, _, err = run(capsys, *WORDS, "--out", "cut.safetensors")
    assert code == 1
    assert "interrupted" in err
    assert (place / "cut.unfinished.safetensors").exists()
    code, _, err = run(capsys, *WORDS, "--seed", 1, "--out", "cut.safetensors")
    assert code == 2
    assert "another perturbation: its seed is 0, now 1; remove it" in err
    code, _, err = run(capsys, *WORDS, "--out", "cut.safetensors")
    assert code == 0, err
    assert not (place / "cut.unfinished.safetensors").exists()
    code, _, err = run(capsys, *WORDS, "--out", "whole.safetensors")
    assert code == 0, err
    cut, whole = (load_perturbation(place / f"{name}.safetensors") for name in ("cut", "whole"))
    np.testing.assert_array_equal(cut.tensors[CHANGE], whole.tensors[CHANGE])
    code, _, err = run(capsys, *WORDS, "--seed", 1, "--out", "cut.safetensors")
    assert code == 2
    assert "holds a perturbation that was learned otherwise; name another file" in err
    second = ("universal", "learnable:second", *WORDS[2:])
    code, _, err = run(capsys, *second, "--out", "cut.safetensors")
    assert code == 2
    assert "was learned on first-" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "one.npz"), "expected the name of a .safetensors file"),
        (("--out", "nowhere/one.safetensors"), "there is no folder nowhere"),
        (("--eps", 0), "eps must be above 0"),
        (("--eps", "0.02"), "--eps"),
        (("--objective", "map"), "--objective"),
        (("--objective", "sma", "--smoothness", 1), "smoothness is of objective ap"),
        (("--smoothness", "nan"), "expected a number from 0"),
        (("--people", 1), "--people"),
        (("--images", "many"), "--images"),
        (("--replays", 0), "--replays"),
        (("--people", 500), "identities per batch must be"),
        (("--split", "query"), "no training labels"),
        (("--split", "nothing"), "nothing"),
        (("--dataset", "nothing"), "nothing"),
    ],
)
def test_what_is_refused(capsys, place, words, said):
    code, _, err = run(capsys, *WORDS, "--out", "one.safetensors", *words)
    assert code == 2, err
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--perturbation", "nowhere.safetensors"), "nowhere.safetensors: no such file"),
        (("--perturbation", "learnable.py"), "learnable.py"),
        (("--perturbation", "x", "--norm", "l2"), "--norm l2 cannot be given with --perturbation"),
        (("--perturbation", "x", "--goal", "impersonate"), "--goal impersonate cannot be given"),
        (("--perturbation", "x", "--images", "y"), "--perturbation cannot be given with --images"),
        (("--perturbation", "x", "--eps", 5), "clean images are not attacked"),
        (("--attacks", "clean", "--eight-bit"), "--eight-bit is of attacks"),
    ],
)
def test_evaluations_that_are_refused(capsys, place, words, said):
    code, _, err = run(capsys, *RANK, *words)
    assert code == 2, err
    assert said in err
