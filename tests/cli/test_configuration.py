"""Presets and files load, overrides are typed, and every mistake is named in one line."""

import sys
from pathlib import Path

import pytest

from jaxreid.cli.configuration import (
    describe_fields,
    describe_fields_as_markdown,
    load,
    preset_folder,
)
from jaxreid.errors import InputError
from jaxreid.models import ARCHITECTURES
from jaxreid.training.config import TrainConfig
from jaxreid.training.fields import fields_of

ROOT = Path(__file__).parents[2]

DERIVED = """
from jaxreid.training.config import GoatConfig, TrainConfig
from jaxreid.training.presets import paper

def get_config(arg=""):
    config = TrainConfig()
    {}
    return config
"""


@pytest.fixture
def preset(tmp_path):
    """Writes a file of one's own, with one line in the middle."""

    def write(line="pass", name="mine.py"):
        path = tmp_path / name
        path.write_text(DERIVED.format(line), encoding="utf-8")
        return str(path)

    return write


def message(config, *overrides):
    with pytest.raises(InputError) as error:
        load(config, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_bare_name_and_its_path_are_the_same():
    assert load("synthetic", []) == load(str(preset_folder() / "synthetic.py"), [])
    words = "goat=fna,reference"
    path = f"{preset_folder() / 'market1501.py'}:{words}"
    assert load(f"market1501:{words}", []) == load(path, [])


def test_budgets_in_a_file_need_a_word_below_one_grey_level(preset):
    told = message(preset("GoatConfig(eps=5 / 255)"))
    assert "mine.py, line 7: goat.eps is in 1/255 of the pixel range" in told
    assert "write 5/255" in told
    small = load(preset("config = config.replace({'goat.eps': '0.5/255'})"), ["--config.seed=1"])
    assert small.goat.eps == 0.5
    # What was said once is not asked for again.
    assert small.replace({"goat.push": 4}).goat.eps == 0.5
    assert load(preset("config = config.replace({'goat.eps': 1})"), []).goat.eps == 1.0


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--config.epochs=20"], "epochs", 20),
        (["--config.epochs", "20"], "epochs", 20),
        (["--config.epochs=3", "--config.epochs=4"], "epochs", 4),
        (["--config.optimizer.learning_rate=1"], "optimizer.learning_rate", 1.0),
        (["--config.optimizer.learning_rate=1e-3"], "optimizer.learning_rate", 1e-3),
        (["--config.loss.margin", "-2"], "loss.margin", -2.0),
        (["--config.goat.enabled"], "goat.enabled", True),
        (["--config.goat.enabled", "--config.epochs=3"], "goat.enabled", True),
        (["--config.dataset.cache=False"], "dataset.cache", False),
        (["--config.dataset.cache", "false"], "dataset.cache", False),
        (["--config.dataset.size=(256, 128)"], "dataset.size", (256, 128)),
        (["--config.dataset.size=256,128"], "dataset.size", (256, 128)),
        (["--config.schedule.boundaries=[3, 4.5]"], "schedule.boundaries", (3, 4.5)),
        (["--config.schedule.boundaries=()"], "schedule.boundaries", ()),
        (["--config.model.start_from=a=b"], "model.start_from", "a=b"),
        (["--config.goat.eps=5/255"], "goat.eps", 5.0),
        (["--config.goat.step_size=0.5/255"], "goat.step_size", 0.5),
        (["--config.evaluation.attack_eps", "8/255"], "evaluation.attack_eps", 8.0),
    ],
)
def test_overrides_have_the_type_of_the_field(words, field, value):
    found = load("synthetic", words)
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value
    assert isinstance(found, type(value))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (
            "optimizer.lerning_rate=1",
            "no field optimizer.lerning_rate; did you mean 'optimizer.learning_rate'?",
        ),
        ("learning_rate=1", "no field learning_rate; did you mean 'optimizer.learning_rate'?"),
        ("schedul.name=cosine", "no field schedul.name; did you mean 'schedule.name'?"),
        ("quux=1", "no field quux; `jaxreid train --help-config` lists them all"),
        ("goat=1", "goat is a group of fields; name one of them, such as goat."),
        ("epochs", "--config.epochs needs a value: --config.epochs=VALUE"),
        ("epochs=2.5", "epochs must be a whole number, from 1 to 1000000; got '2.5'"),
        ("epochs=0", "epochs must be a whole number, from 1 to 1000000; got 0"),
        ("goat.eps=256", "goat.eps must be a number, from 0 to 255; got 256.0"),
        ("goat.eps=300/255", "goat.eps must be a number, from 0 to 255; got 300.0"),
        ("goat.eps=five/255", "goat.eps must be a number or a fraction such as 5/255"),
        ("goat.eps=0.0196", "goat.eps is in 1/255 of the pixel range, and 0.0196 would be less"),
        ("goat.step_size=0.004", "goat.step_size is in 1/255 of the pixel range, and 0.004"),
        ("evaluation.attack_eps=0.03", "evaluation.attack_eps is in 1/255 of the pixel range"),
        ("goat.clean_fraction=-0.1", "goat.clean_fraction must be a number, from 0 to 1; got -0.1"),
        ("goat.enabled=maybe", "goat.enabled must be true or false; got 'maybe'"),
        ("loss.margin=nan", "loss.margin must be a number; got nan"),
        ("batch.sampler=random", "batch.sampler must be one of shuffled, identities; got 'random'"),
        ("dataset.size=64x32", "dataset.size must be (height, width) in pixels"),
        ("dataset.size=64", "dataset.size must be (height, width) in pixels"),
        ("schedule.boundaries=40,20", "schedule.boundaries must be epochs that grow"),
        ("model.architecture=resnet51", "model.architecture must be one of resnet18, resnet34,"),
        ("model.head=triplet", "loss.name cross_entropy needs model.head classification"),
        ("schedule.warmup_epochs=12", "schedule.warmup_epochs must be less than epochs; got 12"),
    ],
)
def test_a_wrong_override_is_named(word, told):
    assert message("synthetic", f"--config.{word}").startswith(told)


@pytest.mark.parametrize(
    "field",
    [
        "dataset.split",
        "dataset.filter",
        "model.head",
        "model.dtype",
        "loss.name",
        "optimizer.name",
        "schedule.name",
        "goat.batch_norm",
        "goat.eps_unit",
        "evaluation.distance",
    ],
)
def test_enumerations_are_checked(field):
    assert message("synthetic", f"--config.{field}=other").startswith(f"{field} must be one of ")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("epochs", 10**30, f"epochs must be a whole number, from 1 to 1000000; got {10**30}"),
        ("batch.size", 10**12, "from 1 to 1048576; got 1000000000000"),
        ("dataset.size", "(100000,128)", "up to 4096; got (100000, 128)"),
        ("dataset.workers", 1000, "from 0 to 512; got 1000"),
        ("goat.replays", 10**6, "from 1 to 10000; got 1000000"),
        ("checkpoint.keep", 2**31, "from 1 to 1000000; got 2147483648"),
        ("optimizer.learning_rate", "1e300", "learning_rate must be at most 3e+38; got 1e+300"),
        ("schedule.boundaries", "(20,inf)", "epochs that grow, such as (20, 40); got (20, inf)"),
        ("seed", "9" * 30, f"seed must be a whole number, from 0 to 4294967295; got {'9' * 30}"),
        ("goat.steps", "9" * 5000, f"whole number, from 1 to 1000000; got '{'9' * 56}..."),
        ("optimizer.learning_rate", "nan", "must be a number, more than 0; got nan"),
    ],
)
def test_what_no_machine_can_do_is_refused(field, value, told, kind):
    with pytest.raises(InputError) as refused:
        load("synthetic", [f"--config.{field}={value}"])
    assert str(refused.value).endswith(told)
    kind(f"train --config.{field}={value!s:.40}", str(refused.value))


def test_fields_that_must_agree():
    words = ["--config.batch.sampler=identities", "--config.batch.size=30"]
    assert "multiple of batch.images_per_identity" in message("synthetic", *words)
    assert "goat.push must be 1 or more" in message(
        "synthetic", "--config.goat.enabled", "--config.goat.guide_bank"
    )


def test_other_words_are_no_overrides():
    assert message("synthetic", "epochs=3").startswith("unexpected 'epochs=3'")


def test_names_that_are_not_there(tmp_path):
    assert message("synthetik").startswith("no preset synthetik; did you mean 'synthetic'?")
    assert "for a bundled preset, did you mean 'synthetic'?" in message("elsewhere/synthetik.py")
    assert message(str(tmp_path / "qqqqqqq.py")) == f"no config file {tmp_path / 'qqqqqqq.py'}"
    assert message("qqqqqqq").startswith("no preset qqqqqqq; there are dukemtmc_reid, market1501,")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("gaot=fna", "no word 'gaot'; did you mean 'goat'?"),
        ("fna", "no word 'fna'; did you mean 'goat=fna'?"),
        (
            "qqq",
            "there are goat=sma|fna|nna|fast, "
            "defense=recommended|trades|hm|act|est|amd|catride|ranking|universal|awp|"
            "fnes, "
            "head=classification|triplet, dtype=float32|bfloat16",
        ),
        ("goat=fnaa", "expected goat=sma|fna|nna|fast, got 'goat=fnaa'; did you mean 'fna'?"),
        ("goat", "expected goat=sma|fna|nna|fast, got 'goat'"),
        ("goat=fna,bank=yes", "expected bank alone, got 'bank=yes'"),
        ("goat=fna,goat=sma", "goat comes twice"),
        ("reference", "reference is for adversarial training, as goat=fna is"),
        ("goat=sma,bank", "goat.push must be 1 or more"),
    ],
)
def test_words_of_a_preset(words, told):
    assert told in message(f"market1501:{words}")


def test_a_file_of_ones_own(preset):
    before, path = set(sys.modules), list(sys.path)
    more = "config = paper('market1501', 'goat=fna').replace({'epochs': 77})"
    config = load(preset(more), ["--config.seed=5"])
    assert (config.epochs, config.seed, config.goat.push) == (77, 5, 4)
    assert set(sys.modules) == before
    assert sys.path == path
    given = f"{preset('config = config.replace(dict(epochs=int(arg)))')}:6"
    assert load(given, []).epochs == 6


def test_mistakes_in_a_file_name_the_file(preset, tmp_path):
    path = preset("config = config.replace({'optimiser': 3})")
    assert message(path).startswith(f"{path}, line 7: no field optimiser; did you mean 'optimizer.")
    assert "epochs must be a whole number" in message(preset("TrainConfig(epochs=0)"))
    assert "dataset.cache must be" in message(preset("config.replace({'dataset.cache': 1})"))
    assert "goat must be a GoatConfig; got 3" in message(preset("TrainConfig(goat=3)"))
    assert "line 7: ZeroDivisionError: division by zero" in message(preset("1 / 0"))
    assert "line 7: FrozenInstanceError" in message(preset("config.epochs = 3"))
    assert "line 7: SystemExit: stop" in message(preset("raise SystemExit('stop')"))
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config(:\n", encoding="utf-8")
    assert message(str(broken)).startswith(f"{broken}, line 1: SyntaxError: ")
    broken.write_bytes(b"\x00\xff\x00")
    assert message(str(broken)).startswith(str(broken))
    broken.write_text("x = 1\n", encoding="utf-8")
    assert "expected get_config(), which returns a TrainConfig" in message(str(broken))
    broken.write_text("def get_config():\n    return {}\n", encoding="utf-8")
    assert "must return a jaxreid.training.config.TrainConfig; got dict" in message(str(broken))


def test_all_fields_fit_a_terminal():
    text = describe_fields()
    assert max(map(len, text.splitlines())) < 80
    for name in fields_of(TrainConfig):
        assert f"--config.{name}=" in text
    assert (
        "  synthetic: a small network on 2 CPU cores.\n      goat=sma goat=fna goat=nna goat=fast"
        in text
    )


def test_the_documentation_is_up_to_date(monkeypatch):
    for name in ("tiny", "narrow", "tiny_vit"):  # of other tests
        monkeypatch.delitem(ARCHITECTURES, name, raising=False)
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == describe_fields_as_markdown()
