"""MODEL on the command line: what it is, what size it was made for, why it is refused."""

import json
import textwrap

import pytest
from flax import nnx

from jaxreid import models
from jaxreid.cli.model.loading import default_size, load_model
from jaxreid.errors import InputError
from jaxreid.models import weights

RESNET = models.ResNetConfig(depths=(1,), widths=(4,), stem_width=4)


@pytest.fixture(scope="module")
def model():
    return models.create(RESNET, head="none", rngs=nnx.Rngs(0))


def test_the_training_size_is_the_default(tmp_path, model):
    path = tmp_path / "best.safetensors"
    weights.save(model, path)
    loaded = load_model(str(path))
    assert (loaded.size, loaded.facts.get("training_size")) == (None, None)
    assert default_size("market1501", loaded) == (256, 128)
    assert default_size("synthetic_reid/tiny", loaded) == (64, 32)
    weights.save(model, path, training_size=(48, 24))
    for spec in (path, tmp_path):
        loaded = load_model(str(spec))
        assert default_size("market1501", loaded) == (48, 24)
        assert loaded.facts["training_size"] == [48, 24]
    # What the training says itself counts more: weights of old do not know.
    (tmp_path / "config.json").write_text(json.dumps({"dataset": {"size": [384, 128]}}))
    assert load_model(str(tmp_path)).size == (384, 128)


@pytest.mark.parametrize(
    "content",
    [
        "[",
        "[" * 100_000,
        "[]",
        '{"dataset": 1}',
        '{"dataset": {"size": 1}}',
        '{"dataset": {"size": [1]}}',
        '{"dataset": {"size": ["64", "32"]}}',
        '{"dataset": {"size": [64.5, 32]}}',
        '{"dataset": {"size": [true, 1]}}',
        '{"dataset": {"size": [0, 1]}}',
        '{"dataset": {"size": [100000, 1]}}',
    ],
)
def test_a_damaged_configuration_is_named(tmp_path, model, content):
    weights.save(model, tmp_path / "best.safetensors")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json.*dataset\.size.*use --size"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "spec", "message"),
    [
        ("import sys; sys.exit(3)", "m:f", "importing m failed: SystemExit: 3"),
        ("raise GeneratorExit", "m:f", "importing m failed: GeneratorExit"),
        ("1 / 0", "m:f", "importing m failed: ZeroDivisionError"),
        ("def f(", "m:f", "importing m failed: SyntaxError"),
        ("import jax_reid_missing", "m:f", "needs a module that is missing"),
        ("def embed(x): return x", "m:embedd", "did you mean 'embed'?"),
        ("f = 3", "m:f", "m:f is a int; expected images -> features"),
        ("def f(x): return x", "m:", "m has no ''"),
        (
            "class A:\n    @property\n    def f(self): raise RuntimeError('no')\na = A()",
            "m:a.f",
            "reading 'f' failed: RuntimeError: no",
        ),
        ("", ":f", "importing  failed: ValueError"),
        ("", ".m:f", "failed: TypeError"),
        ("", "nowhere:f", "no such file, and no module 'nowhere'"),
    ],
)
def test_a_module_that_fails_is_bad_input(tmp_path, monkeypatch, source, spec, message, kind):
    name = f"m{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module, _, function = spec.partition(":")
    named = f"{module.replace('m', name) if module in ('m', '.m') else module}:{function}"
    with pytest.raises(InputError) as said:
        load_model(named)
    assert message in str(said.value).replace(name, "m")
    kind("evaluate module:function whose import fails", f"exit 2: {message}")


def test_a_module_prints_beside_the_results_and_an_interruption_stays_one(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "prints_a_line.py").write_text("print('hello')\ndef f(x): return x")
    (tmp_path / "is_interrupted.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    load_model("prints_a_line:f")
    assert capsys.readouterr() == ("", "hello\n")
    with pytest.raises(KeyboardInterrupt):
        load_model("is_interrupted:f")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("x" * 300, "File name too long"),
        ("/dev/null", "no regular file"),
        ("nowhere.safetensors", "no such file"),
        ("hf:a/b/../../x", "is no path inside a repository"),
    ],
)
def test_paths_that_cannot_be_are_bad_input(spec, message, kind):
    with pytest.raises(InputError, match=message) as said:
        load_model(spec)
    kind("MODEL that is no file", f"exit 2: {str(said.value)[-90:]}")
