"""`jaxreid blackbox`, as it is typed, against a model and against a service."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import ended, run, start, working_folder

from jaxreid.records import BlackBox

PAGE = (Path(__file__).parents[2] / "docs" / "blackbox.md").read_text(encoding="utf-8")
# The service that the page shows, and functions that are wrong in some way.
MODULE = (
    re.findall(r"```python\n(# shop\.py\n.*?)```", PAGE, re.DOTALL)[0]
    + """

def log(images):
    with open("asked.txt", "ab") as file:
        for image in images:
            file.write(hashlib.sha256(image.tobytes()).hexdigest().encode() + b"\\n")


def logged(images):
    if os.environ.get("DIE") and Path("asked.txt").exists():
        if len(Path("asked.txt").read_bytes()) > 65 * int(os.environ["DIE"]):
            os.kill(os.getpid(), 9)
    log(images)
    return search(images)


def nonsense(images):
    return [[10**6]] * len(images)


number = 3
"""
)
MODULE = "import hashlib\nimport os\nfrom pathlib import Path\n" + MODULE
TINY = ("--dataset", "synthetic_reid/tiny", "--limit", 3)
SHORT = ("--attacks", "rays,square", "--queries", 12, "--top", 5)


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_data):
    return working_folder(tmp_path, monkeypatch, tiny_data, shop=MODULE)


def test_a_service_is_attacked_by_its_lists(capsys, place):
    words = ("blackbox", "ranker:shop:logged", *TINY, *SHORT, "--out", "out")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    assert "mAP" not in out  # nobody knows the whole ranking
    assert re.search(r"^  rays +rank-1 +\S+ +\S+ +\d+ +$", out, re.M)
    assert "rays: rank-1 100.0 % of clean images" in err
    found = BlackBox.load(place / "out")
    assert [attack.attack for attack in found.attacks] == ["rays", "square"]
    assert found.attacks[0].average_precision is None
    asked = (place / "asked.txt").read_text().splitlines()
    assert len(asked) == len(set(asked)) <= sum(sum(one.asked) for one in found.attacks)
    assert {"blackbox.png", "blackbox.svg", "run.json", "answers.bin"} <= set(
        os.listdir(place / "out")
    )
    settings = json.loads((place / "out" / "run.json").read_text())["settings"]
    assert (settings["top"], settings["sees"], settings["limit"]) == (5, "list", 3)

    # Again: everything is known. More images: only those that are new are asked.
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    assert json.loads(out)["rays"]["checkpoints"] == [1, 12]
    assert (place / "asked.txt").read_text().splitlines() == asked
    code, out, err = run(capsys, *words, "--queries", 1)
    assert code == 0, err
    assert (place / "asked.txt").read_text().splitlines() == asked
    code, out, err = run(capsys, *words, "--queries", 15)
    assert code == 0, err
    more = (place / "asked.txt").read_text().splitlines()
    assert len(more) == len(set(more)) > len(asked)
    # Another service, or other lists, are not mixed with it.
    code, out, err = run(capsys, *words, "--top", 6)
    assert code == 2
    assert "settings top is 5, now 6" in err


def test_the_page_s_python_runs(place, monkeypatch):
    monkeypatch.syspath_prepend(place)
    (block,) = re.findall(r"```python\n(from pathlib.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(block, names)
    found = names["found"]
    assert found.asked[0] <= 50
    change = found.images[-1].astype(int) - names["shop"].pictures[:1]
    assert abs(change).max() <= 5


@pytest.mark.slow
def test_a_kill_loses_no_answer(capsys, place, tiny_data, compiled):
    words = ("blackbox", "ranker:shop:logged", *TINY, *SHORT, "--out")
    surroundings = {"data": tiny_data, "cache": compiled, "cwd": place}
    died = start(*words, "out", variables={"DIE": "20"}, **surroundings)
    code, _, err = ended(died)
    assert code == -signal.SIGKILL, err
    code, _, err = run(capsys, *words, "out")
    assert code == 0, err
    asked = (place / "asked.txt").read_text().splitlines()
    assert len(asked) == len(set(asked)) > 20
    assert run(capsys, *words, "anew")[0] == 0
    assert BlackBox.load(place / "out") == BlackBox.load(place / "anew")


@pytest.mark.slow
def test_a_model_is_ranked_exactly_and_begins_at_other_images(capsys, place):
    (place / "mine.py").write_text(
        "import jax.numpy as jnp\n"
        "def embed(images):\n"
        "    b, h, w, _ = images.shape\n"
        "    return images.reshape(b, 8, h // 8, 4, w // 4, 3).mean((2, 4)).reshape(b, -1)\n"
    )
    words = ("attack", "mine:embed", *TINY, "--attack", "sma", "--out", "adversarial")
    assert run(capsys, *words)[0] == 0
    words = (
        "blackbox",
        "mine:embed",
        *TINY,
        "--attacks",
        "nes",
        "--queries",
        3,
        "--sees",
        "scores",
    )
    code, out, err = run(capsys, *words, "--images", "adversarial", "--out", "out")
    assert code == 0, err
    assert re.search(r"^ +mAP +\S+ +\S+ +$", out, re.M)
    (attack,) = BlackBox.load(place / "out").attacks
    assert len(attack.prior) == 64
    assert np.shape(attack.average_precision) == np.shape(attack.first) == (2, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ranker:shop:search", "--attacks", "squares"), "--attacks"),
        (("ranker:shop:search", "--attacks", ","), "--attacks names none"),
        (("ranker:shop:search", "--eps", "0.5/255"), "--eps must be from 1 to 255"),
        (("ranker:shop:search", "--eps", "0.02"), "--eps is in 1/255"),
        (("ranker:shop",), "expected ranker:module:function"),
        (("ranker:shop:find",), "shop has no 'find'"),
        (("ranker:shop:number",), "is a int; expected images -> lists"),
        (("ranker:shop:search", "--flip"), "--flip and --unit-length are for models"),
        (("ranker:shop:search", "--distance", "cosine"), "--distance is for models"),
        (("ranker:shop:search", "--sees", "scores"), "the ranker gives no scores"),
        (("ranker:shop:nonsense",), "the ranker's list 0 names item 1000000; the gallery has"),
        (("ranker:shop:search", "--images", "nowhere"), "expected a folder of `jaxreid attack`"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(capsys, place, kind, words, said):
    code, out, err = run(capsys, "blackbox", *words, *TINY, "--out", "out")
    assert (code, out) == (2, ""), err
    last = err.strip().splitlines()[-1]
    assert said in last
    kind(f"blackbox {' '.join(words)}", f"exit 2: {last}"[:90])


def test_a_service_has_no_features(capsys, place):
    words = ("evaluate", "ranker:shop:search", *TINY, "--attacks", "clean", "--out", "out")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "gives rank lists and no features: `jaxreid blackbox` attacks it" in err
