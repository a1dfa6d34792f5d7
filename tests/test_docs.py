"""What the pages show works, and what they link to is there."""

import re
import shlex
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_architecture import FLOORS
from toy import random_embed, random_images

from jaxreid import attacks, ranking, training
from jaxreid.cli import COMMANDS, command, main
from jaxreid.models import ARCHITECTURES, ResNetConfig, create
from jaxreid.types import Embedded

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "launch/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def code_of(heading, language="python"):
    section = ARCHITECTURE.split(f"### {heading}\n")[1].split("\n### ")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return block


def anchors(page):
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if ":" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(page):
    if page.name == "CHANGELOG.md":  # which tells of what was
        return
    homes = "jaxreid|tests|benchmarks|configs|launch|docs|examples"
    for path in re.findall(rf"`((?:{homes})/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def commands_of(page):
    """The words after `jaxreid` of every command line that a page shows, in blocks and in text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(
        r"^(?:[A-Z_]+=\S+ )*jaxreid (.*)$|`(?:[A-Z_]+=\S+ )*jaxreid ([^`]*)`", text, re.M
    )
    return [shlex.split(block or inline, comments=True) for block, inline in shown]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_their_options_exist(page):
    for words in commands_of(page):
        if not words or words[0] not in COMMANDS:
            assert words[:1] in ([], ["--help"]), words
            continue
        found = command(words[0])
        if len(words) > 1 and words[1] in getattr(found, "commands", {}):
            found = found.commands[words[1]]
        known = {name for option in found.params for name in (*option.opts, *option.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        unknown = {name for name in used - known if not name.startswith("--config.")}
        assert unknown <= {"--help"}, words


def test_every_room_is_explained():
    rooms = {room for floor in FLOORS for room in floor} - {"__main__"}
    assert rooms <= set(re.findall(r"`([\w.]+)`", ARCHITECTURE))


def test_an_attack(monkeypatch):
    monkeypatch.setattr(attacks, "ATTACKS", dict(attacks.ATTACKS))
    exec(code_of("An attack"), {})
    embed, images = random_embed(), random_images(2)
    features = embed(random_images(4, seed=1)).reshape(2, 2, -1)
    given = attacks.AttackInput(push=features[:, :1], pull=features[:, 1:], steps=2)
    adversarial = attacks.ATTACKS["fna_lion"].run(embed, images, given)
    assert 0 < jnp.abs(adversarial - images).max() <= 2 / 255 + 1e-6


@pytest.mark.slow
def test_a_model(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "resnet26", None)  # so that it goes afterwards
    names = {"images": random_images(2)}
    block = code_of("A model")
    assert "ResNetConfig(depths=(2, 2, 2, 2))" in block
    small = "ResNetConfig(depths=(1,), widths=(8,), stem_width=8)"
    exec(block.replace("ResNetConfig(depths=(2, 2, 2, 2))", small), names)
    assert names["features"].shape == (2, 32)


def test_a_dataset(market_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    market_folder.rename("shop")
    words = shlex.split(code_of("A dataset", "sh").replace("\\\n", " "))
    with pytest.raises(SystemExit) as end:
        main(words[1:])
    assert end.value.code == 0, capsys.readouterr().err
    assert (tmp_path / "data" / "reid_folder" / "shop").is_dir()
    catalogue = (ROOT / "jaxreid" / "data").rglob("*.py")
    line = code_of("A dataset", "text").splitlines()[0]
    assert any(line in path.read_text(encoding="utf-8") for path in catalogue)


@pytest.mark.slow
def test_a_defense():
    shape = ResNetConfig(
        block="basic", depths=(1,), widths=(4,), expansion=1, stem="patch", stem_width=4
    )
    model = create(shape, classes=2, rngs=nnx.Rngs(0))
    images = random_images(4)
    names = {
        "state": training.TrainState.create(model, training.optimizer("adam", lambda _: 1e-3)),
        "batch": training.TrainBatch(
            images=images,
            labels=jnp.array([0, 0, 1, 1]),
            indices=jnp.arange(4),
            push_images=jnp.zeros((4, 0, *images.shape[1:])),
            push_indices=jnp.zeros((4, 0), int),
            push_mask=jnp.zeros((4, 0), bool),
        ),
    }
    exec(code_of("A defense"), names)
    assert int(names["state"].step) == 1
    assert float(names["metrics"]["loss"]) > 0


def test_a_golden_number(golden):
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"np": np, "ranking": ranking, "Embedded": Embedded}
    exec(block, names)
    names["test_map_is_that_of_the_original"](golden)
