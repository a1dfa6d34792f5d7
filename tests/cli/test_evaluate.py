"""`jaxreid evaluate` and `jaxreid attack`, as they are typed."""

import dataclasses
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import EMBEDDING, working_folder
from flax import nnx
from holders import held_elsewhere
from rich.console import Console
from safetensors.numpy import save_file

from jaxreid.attacks import ATTACKS
from jaxreid.cli import main
from jaxreid.cli.model.loading import load_model
from jaxreid.cli.tables import result_line, results_table, spread
from jaxreid.data.prepare import prepare_dataset
from jaxreid.data.source import open_split
from jaxreid.errors import InputError
from jaxreid.evaluation import retrieval, with_match
from jaxreid.evaluation.worst import members
from jaxreid.models import ResNetConfig, create, weights
from jaxreid.records import Condition, Result, RunFolder, Score

MODULE = (
    EMBEDDING
    + """

def broken(images):
    return embed(images) * jnp.nan


def numpy_only(images):
    return np.asarray(images).mean((1, 2))


number = 3
"""
)
TINY = ("--dataset", "synthetic_reid/tiny")
QUICK = ("--steps", 2, "--batch-size", 16)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset("synthetic_reid/tiny", data_dir=folder)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, data_dir):
    """A working directory with a module of the user's; datasets are found without a flag."""
    return working_folder(tmp_path, monkeypatch, data_dir, mymodel=MODULE)


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


@pytest.mark.slow
def test_whoever_comes_second_is_told_who_is_there(place, capsys, kind):
    with held_elsewhere(place / "out"), held_elsewhere(place / "images", beside=True):
        told = [
            run(capsys, *words)
            for words in (
                ("evaluate", "mymodel:embed", *TINY, "--attacks", "noise", "--out", "out"),
                ("attack", "mymodel:embed", *TINY, *QUICK, "--out", "images"),
            )
        ]
    for (code, out, err), folder in zip(told, ("out", "images"), strict=True):
        assert (code, out) == (2, "")
        (line,) = (line for line in err.splitlines() if line.startswith("jaxreid: "))
        assert line.startswith(f"jaxreid: {folder} is in use by process {os.getpid()} of ")
        assert line.endswith("wait for it to end, or name another folder")
    assert sorted(path.name for path in (place / "out").iterdir()) == [".lock"]
    assert not (place / "images").exists()
    kind("two evaluate --out on one folder", told[0][2].splitlines()[-1])


def lines(folder):
    """Results without what differs from run to run."""
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [{**line, "seconds": 0, "compile_seconds": 0} for line in found]


def test_a_sweep_its_table_and_its_folder(capsys, place):
    words = ("evaluate", "mymodel:embed", *TINY, *QUICK, "--attacks", "sma,fna", "--eps", "2,5")
    words += ("--seeds", 2, "--paper", "--rerank", "--title", "mine [bold]", "--examples", 2)
    code, out, err = run(capsys, *words)
    assert code == 0, err
    rows = re.findall(r"^ *(clean|sma|fna) +(\d?) +[\d.]+", out, re.MULTILINE)
    assert rows == [("clean", ""), ("sma", "2"), ("sma", "5"), ("fna", "2"), ("fna", "5")]
    for text in ("re-ranked", "76.02", "11.8", "GOAT 4 push 1 pull", "mine [bold]", "±", " to "):
        assert text in out
    assert "run folder: runs/embed-synthetic_reid" in out
    assert "sma, eps 5, seed 1: mAP" in err
    folder = RunFolder.open(place / "runs" / "embed-synthetic_reid")
    assert len(folder.results()) == 7
    said = folder.provenance
    assert said.title == "mine [bold]"
    assert said.command.startswith("jaxreid evaluate mymodel:embed --dataset synthetic_reid/tiny")
    assert said.settings["size"] == [64, 32]
    assert said.settings["rerank"] is True
    assert len(list((folder.path / "examples").iterdir())) == 2
    # The same again is read, not run.
    code, again, err = run(capsys, *words)
    assert code == 0
    assert "mAP" not in err
    assert again == out
    # Other settings do not mix.
    code, _, err = run(capsys, *words[:2], *TINY, "--limit", 3)
    assert code == 2
    assert "settings limit is None, now 3" in err


@pytest.mark.slow
def test_the_worst_case_beside_an_attack(capsys, place, monkeypatch):
    # A few steps in place of the ensemble's own, which take a minute to compile.
    few = members.MemberSpec("smooth ap", stages=(members.Stage("smooth_ap", 3),))
    for knowledge in ("gallery", "guides"):
        monkeypatch.setitem(members._TABLES, ("worst-1-quick", knowledge), (few,))
    words = ("evaluate", "mymodel:embed", *TINY, *QUICK, "--attacks", "sma,worst", "--eps", 5)
    words += ("--seeds", 1, "--quick", "--knowledge", "gallery,guides", "--examples", 1)
    code, out, err = run(capsys, *words, "--out", "run")
    assert code == 0, err
    assert "worst-1-quick, eps 5: smooth ap on " in err
    assert "ensemble-1-quick knowing guides" in out
    assert re.search(r"smooth ap +\d+ +\d+ +\d+", out)
    clean, single, worst, guides = RunFolder.open(place / "run").results()
    assert [one.condition.knowledge for one in (worst, guides)] == ["gallery", "guides"]
    scores = [one.scores["market1501"].mean_average_precision for one in (worst, clean)]
    assert scores[0] < scores[1]
    assert worst.worst.members[0].passes == 4 * worst.worst.members[0].images
    assert single.worst is None
    # The same command has nothing left to do.
    assert run(capsys, *words, "--out", "run")[1] == out


@pytest.mark.slow
def test_images_are_written_and_ranked_as_evaluate_ranks_them(capsys, place):
    options = (*QUICK, "--side", "gallery", "--guides", "query", "--distance", "cosine")
    code, out, err = run(
        capsys, "attack", "mymodel:embed", *TINY, *options, "--eps", 3, "--out", "images"
    )
    assert code == 0, err
    assert "images: 44 images, changed by at most 2/255" in out
    assert len(list((place / "images").glob("*.png"))) == 44
    batch = ("--batch-size", 16)
    code, _, err = run(
        capsys, "evaluate", "mymodel:embed", "--images", "images", "--out", "a", *batch
    )
    assert code == 0, err
    direct = ("--attacks", "fna", "--eps", 3, "--eight-bit", "--out", "b")
    assert run(capsys, "evaluate", "mymodel:embed", *TINY, *options, *direct)[0] == 0
    assert lines(place / "a") == lines(place / "b")
    assert lines(place / "a")[1]["condition"]["eight_bit"] is True
    again = run(capsys, "attack", "mymodel:embed", *TINY, "--out", "images")
    assert again[0] == 2
    assert "not an empty folder" in again[2]
    # Another model may be tried on them, in a folder of its own.
    (place / "mymodel.py").write_text(MODULE + "\n# trained again\n")
    other = run(capsys, "evaluate", "mymodel:embed", "--images", "images", "--out", "c", *batch)
    assert other[0] == 0
    assert "a transfer attack" in other[2]
    assert run(capsys, "evaluate", "mymodel:embed", "--images", "images", "--out", "a")[0] == 2


@pytest.mark.slow
def test_the_folder_of_a_training(capsys, place):
    work = place / "work"
    work.mkdir()
    shape = ResNetConfig(depths=(1,), widths=(4,), stem_width=4)
    model = create(shape, head="linear", classes=3, rngs=nnx.Rngs(0))
    weights.save(model, work / "best.safetensors")
    (work / "config.json").write_text(json.dumps({"dataset": {"size": [32, 16]}}))
    words = ("--attacks", "noise", "--eps", 1, "--limit", 4, "--flip", "--out", "r")
    code, _, err = run(capsys, "evaluate", "work", *TINY, *words)
    assert code == 0, err
    said = RunFolder.open(place / "r").provenance
    assert said.settings == {
        "size": [32, 16],
        "flip": True,
        "dtype": "float32",
        "limit": 4,
        "rerank": False,
    }
    assert said.model["architecture"] == "custom"
    assert said.title == "work on synthetic_reid/tiny"
    file = load_model("work/best.safetensors")
    assert file.facts["sha256"] == said.model["sha256"]
    assert file.size is None
    (work / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json does not say dataset\.size"):
        load_model("work")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.safetensors", *TINY), "nowhere.safetensors: no such file"),
        (("alien.safetensors", *TINY), "named by none of the known libraries"),
        (("nomodule:embed", *TINY), "no module 'nomodule'"),
        (("mymodel:embd", *TINY), "did you mean 'embed'"),
        (("mymodel:number", *TINY), "is a int; expected images -> features"),
        (("mymodel:broken", *TINY), "NaN or infinity for 22 of 22 images"),
        (("mymodel:numpy_only", *TINY), "must be a JAX function"),
        (("syntax:embed", *TINY), "importing syntax failed: SyntaxError"),
        (("needs:embed", *TINY), "needs a module that is missing"),
        ((".", *TINY), "holds no best.safetensors"),
        (("mymodel:embed", "--dataset", "market1501"), "jaxreid data prepare market1501"),
        (("mymodel:embed", *TINY, "--query-split", "qury"), "has no split 'qury'"),
        (("mymodel:embed",), "Missing option '--dataset'"),
        (("mymodel:embed", *TINY, "--attacks", "fnaa"), "did you mean 'fna'"),
        (("mymodel:embed", *TINY, "--eps", "256"), "eps must be from 0 to 255"),
        (("mymodel:embed", *TINY, "--eps", "many"), "expected numbers"),
        (("mymodel:embed", *TINY, "--eps", ","), "expected numbers"),
        (("mymodel:embed", *TINY, "--eps", "1,0.0196"), "of the pixel range write 5/255"),
        (("mymodel:embed", *TINY, "--step-size", "0.0039"), "step_size is in 1/255"),
        (("mymodel:embed", *TINY, "--step-size", "nan"), "expected numbers"),
        (("mymodel:embed", *TINY, "--step-size", "0"), "step_size is 0, with which no image moves"),
        (("mymodel:embed", *TINY, "--eps", "300/255"), "eps must be from 0 to 255"),
        (("mymodel:embed", *TINY, "--attacks", "FNA_pull"), "fna_without_push (FNA without push)"),
        (("mymodel:embed", *TINY, "--restarts", 10**30), "'--restarts': 1"),
        (("mymodel:embed", *TINY, "--steps", 10**30), "'--steps': 1"),
        (("mymodel:embed", *TINY, "--title", "two\nlines"), "one line of printable UTF-8 text"),
        (("mymodel:embed", *TINY, "--title", "bytes \udcff"), "one line of printable UTF-8 text"),
        (("mymodel:embed", *TINY, "--title", "x" * 300), "at most 200 characters"),
        (("mymodel:embed", *TINY, "--out", "/dev/null"), "cannot write to /dev/null"),
        (("mymodel:embed", *TINY, "--out", "/dev/null/run"), "cannot write to /dev/null/run"),
        (("mymodel:embed", *TINY, "--out", "x" * 300), "File name too long"),
        (("mymodel:embed", *TINY, "--seeds", "0"), "expected a count"),
        (("mymodel:embed", *TINY, "--norm", "l2"), "--norm l2 needs --eps"),
        (("mymodel:embed", *TINY, "--size", "64"), "expected HEIGHTxWIDTH"),
        (("mymodel:embed", *TINY, "--dtype", "bfloat16"), "--dtype is for networks"),
        (("mymodel:embed", *TINY, "--out", "/proc/nothing/run"), "cannot write to /proc/nothing"),
        (("mymodel:embed", *TINY, "--quick"), "--quick is of the worst case"),
        (("mymodel:embed", *TINY, "--attacks", "clean", "--eps", 5), "--eps is of attacks"),
        (("mymodel:embed", *TINY, "--knowledge", "self"), "--knowledge is of the worst case"),
        (
            ("mymodel:embed", *TINY, "--attacks", "worst", "--quick", "--step-size", 2),
            "--step-size is of single attacks",
        ),
        (("mymodel:embed", *TINY, "--side", "both"), "noise attacks one side, query or gallery"),
        (
            ("mymodel:embed", *TINY, "--attacks", "worst", "--knowledge", "all"),
            "knowledge must be",
        ),
        (("mymodel:embed", "--images", "."), "expected a folder of `jaxreid attack`"),
        (("mymodel:embed", *TINY, "--corruption", "fogg:2"), "unknown 'fogg'; did you mean 'fog'"),
        # Before a model is looked for.
        (("nowhere.pth", *TINY, "--corruption", "fogg"), "unknown 'fogg'; did you mean 'fog'"),
        (("mymodel:embed", *TINY, "--corruption", "fog:6"), "severity must be 1 to 5, got '6'"),
        (("mymodel:embed", "--images", ".", "--corruption", "fog"), "those were clean"),
        (("mymodel:embed", "--images", ".", "--eps", "3"), "--eps cannot be given with --images"),
    ],
)
def test_wrong_input_is_one_line_and_two(capsys, place, words, message):
    save_file({"x": np.zeros(3, np.float32)}, place / "alien.safetensors")
    (place / "syntax.py").write_text("def embed(:")
    (place / "needs.py").write_text("import surely_not_installed")
    code, out, err = run(capsys, "evaluate", *words)
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""


# A code of 0 would read as success.
@pytest.mark.parametrize("code", [0, 7])
def test_an_embedding_that_ends_the_process_is_one_line_and_two(capsys, place, code):
    source = f"import sys\n\n\ndef embed(images):\n    sys.exit({code})\n"
    (place / f"leaving{code}.py").write_text(source)
    found, _, err = run(capsys, "evaluate", f"leaving{code}:embed", *TINY, "--attacks", "clean")
    assert found == 2
    assert err.splitlines()[-1] == (
        f"jaxreid: {place / f'leaving{code}.py'}:5 ends the process: SystemExit: {code}"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TINY, "--attack", "fgsn", "--out", "x"), "did you mean 'fgsm'"),
        ((*TINY, "--attack", "paper", "--out", "x"), "--attack paper names several attacks"),
        ((*TINY, "--attack", "worst", "--out", "x"), "--attack worst names several attacks"),
        ((*TINY, "--eps", "300", "--out", "x"), "eps must be from 0 to 255"),
        ((*TINY, "--eps", "0.0196", "--out", "x"), "of the pixel range write 5/255"),
        ((*TINY, "--seed", 10**30, "--out", "x"), "'--seed': 1"),
        ((*TINY, *QUICK, "--out", "/dev/null"), "/dev/null"),
        ((*TINY, "--norm", "l2", "--out", "x"), "--norm l2 needs --eps"),
        ((*TINY,), "Missing option '--out'"),
        (("--out", "x"), "Missing option '--dataset'"),
        ((*TINY, *QUICK, "--out", "/proc/nothing/x"), "cannot write to /proc/nothing"),
    ],
)
def test_wrong_input_of_attack(capsys, place, words, message):
    code, _, err = run(capsys, "attack", "mymodel:embed", *words)
    assert code == 2, err
    assert message in err
    assert not (place / "x").exists()


def test_where_nothing_can_be_found_nothing_is_written(capsys, place, monkeypatch):
    monkeypatch.setattr(retrieval, "with_match", lambda query, *_: np.zeros(len(query), bool))
    code, _, err = run(capsys, "evaluate", "mymodel:embed", *TINY, *QUICK, "--out", "x")
    assert code == 2
    assert "no query has a match" in err
    assert not (place / "x").exists()


@pytest.mark.slow
def test_the_installed_command(place):
    def typed(*words):
        script = "from jaxreid.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )

    (place / "old").mkdir()
    (place / "old" / "run.json").write_text('{"schema": 0}')
    words = ("--attacks", "noise", "--eps", "0", "--out")
    wrong = typed("evaluate", "mymodel:embed", *TINY, *words, "old")
    assert wrong.returncode == 2
    assert "has schema 0, and this version of jaxreid reads" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
    done = typed("evaluate", "mymodel:embed", *TINY, *words, "new")
    assert done.returncode == 0
    assert "run folder: new" in done.stdout


@pytest.mark.parametrize("command", ["evaluate", "attack"])
def test_help_names_every_attack_in_80_columns(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    for name, attack in ATTACKS.items():
        assert re.search(rf"^  {name} +{re.escape(attack.title)}$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
def test_without_cameras_and_as_the_paper(capsys, place, data_dir, kind):
    words = ("evaluate", "mymodel:embed", *TINY, *QUICK, "--examples", 0, "--eps", "2/255,5")
    words += ("--attacks", "noise,sma,odfa", "--cameras", "ignore", "--as-paper", "--out", "r")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "guides and signs as the paper's code" in out
    folder = RunFolder.open(place / "r")
    assert folder.provenance.settings["cameras"] == "ignore"
    conditions = [result.condition for result in folder.results()]
    # Three seeds of noise, and of the random attack at the largest budget.
    assert [(c.attack, c.eps, c.seed, c.as_paper) for c in conditions] == [
        ("clean", 0, 0, False),
        *(("noise", eps, seed, False) for eps in (2, 5) for seed in (0, 1, 2)),
        ("sma", 2, 0, False),
        *(("sma", 5, seed, False) for seed in (0, 1, 2)),
        ("odfa", 2, 0, True),
        ("odfa", 5, 0, True),
    ]
    # Figures with and without cameras do not mix.
    code, _, err = run(capsys, *words[:4], "--out", "r")
    assert code == 2
    assert "settings cameras is 'ignore', now None" in err
    sources = [open_split(TINY[1], part, data_dir=data_dir) for part in ("query", "gallery")]
    assert with_match(*sources).tolist() == 22 * [True]


def test_corrupted_queries_lower_clean_figures_and_have_a_folder_of_their_own(capsys, place):
    words = ("evaluate", "mymodel:embed", *TINY, "--attacks", "clean", "--out")
    figures = {}
    for out, more in {"clean": (), "noisy": ("--corruption", "gaussian_noise:5")}.items():
        code, text, err = run(capsys, *words, out, *more)
        assert code == 0, err
        (only,) = RunFolder.open(place / out).results()
        assert only.condition == Condition()
        figures[out] = only.scores["market1501"]
    assert "query images corrupted by gaussian_noise:5" in text
    assert figures["noisy"].mean_average_precision < figures["clean"].mean_average_precision
    settings = RunFolder.open(place / "noisy").provenance.settings
    assert (settings["corruption"], settings["corrupted"]) == ("gaussian_noise:5", "query")
    code, _, err = run(capsys, *words, "noisy", "--corruption", "gaussian_noise:4")
    assert code == 2
    assert "settings corruption is 'gaussian_noise:5', now 'gaussian_noise:4'" in err


def test_queries_without_a_match_are_told(capsys, place, monkeypatch):
    options = (*QUICK, "--attacks", "noise", "--eps", 0, "--examples", 0, "--out", "r")
    splits = ("--query-split", "gallery")
    code, _, err = run(capsys, "evaluate", "mymodel:embed", *TINY, *splits, *options)
    assert code == 0, err
    assert re.search(r"note: \d+ of \d+ queries have no match in the gallery", err)


def test_a_manifest_of_another_form_is_named(capsys, place):
    words = ("mymodel:embed", *TINY, *QUICK, "--attack", "noise", "--out", "images")
    assert run(capsys, "attack", *words)[0] == 0
    path = place / "images" / "manifest.json"
    intact = json.loads(path.read_text())
    for field, value in (
        ("dataset.name", 5),
        ("dataset.config", None),
        ("dataset.splits", []),
        ("dataset.splits", {"query": 1, "gallery": "gallery"}),
        ("settings.size", [10**9, 10**9]),
        ("settings.size", "64x32"),
        ("settings.size", [64, True]),
        ("settings.limit", "all"),
        ("settings.limit", 0),
    ):
        group, name = field.split(".")
        path.write_text(json.dumps({**intact, group: {**intact[group], name: value}}))
        code, _, err = run(capsys, "evaluate", "mymodel:embed", "--images", "images")
        assert code == 2, (field, err)
        assert f"images/manifest.json is damaged: {field} is" in err


def test_budgets_below_one_level_are_told_with_their_unit():
    condition = Condition("sma", 0.5, as_paper=False)
    score = Score(0.25, 0, 0, 0, 0)
    result = Result(condition, dict.fromkeys(("market1501", "torchreid"), score))
    assert result_line(result).startswith("sma, eps 0.5/255, seed 0: mAP 25.0 %")
    console = Console(width=100, file=io.StringIO())
    console.print(results_table([result, dataclasses.replace(result, condition=Condition())]))
    assert "0.5/255" in console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_narrow_terminal_cuts_no_number_and_no_name(width):
    score = Score(0.123, 1, 1, 1, 0.5)
    scores = dict.fromkeys(("market1501", "torchreid"), score)
    condition = Condition("worst-1-quick", 5.0, side="gallery", eight_bit=True)
    console = Console(width=width, file=io.StringIO())
    console.print(results_table([Result(condition, scores, scores)], paper=True))
    text = console.file.getvalue()
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("12.3") == 4
    for word in ("worst-1-", "gallery", "rank-1"):
        assert word in text


def test_a_folder_may_lack_a_protocol():
    result = Result(Condition("sma", 1.0), {"market1501": Score(0.25, 0.5, 0, 0, 0)})
    table = results_table([result])
    assert [list(column.cells) for column in table.columns[2:]] == [["25.0"], ["50.0"], [""], [""]]


def test_spread_over_seeds():
    assert spread([0.123]) == "12.3"
    assert spread([0.10, 0.12, 0.14]) == "12.0 ±2.0\n10.0 to 14.0"
